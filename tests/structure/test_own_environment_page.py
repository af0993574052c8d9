"""The page on environments of one's own: its code and its commands run, and what it names exists."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from jepa_rl.agent import AgentConfig
from jepa_rl.scripts import report
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.reporting import drawing

PAGE = (Path(__file__).parents[2] / "docs" / "own_environment.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^jepa-rl .*", PAGE, re.MULTILINE)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the page's environment in it, which is forgotten afterwards."""
    (tmp_path / "corridor.py").write_text(BLOCKS[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    gym.registry.pop("Corridor-v0", None)
    sys.modules.pop("corridor", None)


def test_the_blocks_run_in_order(folder):
    namespace = {"__name__": "page"}
    for block in BLOCKS:
        # The same lines with fewer steps: what is tested is that they work together.
        exec(re.sub(r"total_timesteps=([\d_]+)000", r"total_timesteps=\g<1>00", block), namespace)
    assert len(BLOCKS[0].strip().splitlines()) <= 32
    assert namespace["agent"].num_timesteps == 600
    assert 0 <= namespace["mean"] <= 1
    assert namespace["action"] in (0, 1)
    assert list(Path("runs/tensorboard").iterdir())


def test_the_commands_run_and_the_log_has_what_the_page_looks_for(folder, monkeypatch):
    monkeypatch.setattr(drawing, "DPI", 40)
    monkeypatch.setattr(report, "TRANSITIONS", 32)
    short = {
        "doctor": ["--steps", "60"],
        "train": shlex.split(
            "--total-timesteps 160 --log-interval 40 --training.starts 60 --exploration.warmup 60 "
            "--exploration.epsilon-start 0 --exploration.epsilon-end 0"
        ),
        "evaluate": ["--episodes", "2"],
        "report": [],
    }
    assert [command[0] for command in COMMANDS] == list(short)
    for name, *options in COMMANDS:
        quiet = ["--quiet", "--episodes", "2"] if name == "train" else []
        assert run([name, *options, *short[name], *quiet]) == 0, name
    assert Path("runs/corridor/report.html").is_file()
    with Path("runs/corridor/progress.csv").open() as file:
        columns = set(csv.DictReader(file).fieldnames)
    named = set(re.findall(r"`((?:replay|collapse|train|plan|rollout|time)/[a-z_]+)`", PAGE))
    assert len(named) > 10
    assert named <= columns


def test_every_setting_on_the_page_is_one():
    sections = "exploration|model|training|replay|planner"
    names = set(re.findall(rf"`(?:--)?((?:{sections})\.[a-z_.-]+|discount|n_envs)", PAGE))
    assert len(names) > 15
    for name in names:
        value = AgentConfig()
        for part in name.replace("-", "_").split("."):
            value = getattr(value, part)


def test_the_console_command_finds_a_module_in_its_folder_as_python_itself_would_not(folder):
    command = [sys.executable, "-P", "-c", "from jepa_rl.scripts.cli import main; main()"]
    for env_id, message in (
        ("corridor:Corridor-v1", "unknown environment 'corridor:Corridor-v1'; near ones: Corridor-v0"),
        (
            "hallway:Corridor-v0",
            "the module 'hallway' of 'hallway:Corridor-v0' is not found; run in the folder that holds it",
        ),
    ):
        done = subprocess.run(
            [*command, "train", "default", "--env-id", env_id], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not Path("runs").exists()


def test_the_environment_is_as_the_page_says(folder):
    namespace = {"__name__": "page"}
    exec(BLOCKS[0], namespace)
    env = gym.make("Corridor-v0")
    observation, _ = env.reset(seed=0)
    place, light = np.round(9 * observation).astype(int)
    rewards = [env.step(int(light > place))[1] for _ in range(abs(light - place))]
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
