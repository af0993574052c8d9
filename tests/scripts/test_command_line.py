"""The command line as a user meets it: what it makes, and what it says when something is wrong."""

import csv
import json
import os
import shutil
import signal
import sys
from contextlib import nullcontext

import gymnasium as gym
import numpy as np
import pytest
import torch
import wandb
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.monitor import Monitor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jepa_rl.scripts import evaluate as evaluation
from jepa_rl.scripts import resume
from jepa_rl.scripts import train as training
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.evaluate import MOST_COUNTS, heldout_envs, heldout_latents, play
from jepa_rl.scripts.interruption import Interruption
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.world_model import targets

QUICK = [
    *("--total-timesteps", "400", "--log-interval", "100", "--checkpoint-interval", "100", "--episodes", "4", "--quiet"),
    *("--training.starts", "50", "--training.updates-per-step", "0.05", "--training.batch-size", "4"),
    *("--exploration.warmup", "50", "--exploration.epsilon-steps", "100", "--replay.capacity", "500"),
]


def test_a_run_folder_holds_what_it_should(counting_run):
    result = json.loads((counting_run / "result.json").read_text())
    expected = {"env_steps", "updates", "wall_seconds", "peak_rss_mb", "success_rate", "return_mean"}
    expected |= {"heldout_accuracy", "ari", "separation", "effective_rank", "planner_ms", "update_over_bare"}
    assert expected <= set(result)
    assert result["env_steps"] == 400
    assert result["updates"] == int((400 - 50) * 0.05)
    assert result["env"] == {"target": 2}
    config = json.loads((counting_run / "config.json").read_text())
    assert config["agent"]["training"]["batch_size"] == 4
    rows = list(csv.DictReader((counting_run / "progress.csv").open()))
    assert [int(row["time/total_timesteps"]) for row in rows] == [112, 208, 304, 400]
    assert float(rows[-1]["train/dynamics_loss"]) > 0
    assert float(rows[-1]["collapse/effective_rank"]) > 0
    assert float(rows[-1]["plan/return_spread"]) > 0
    assert {"train/encoder_gradient_norm", "train/clipped_share", "replay/rewarded_share"} <= set(rows[-1])
    assert (counting_run / "checkpoint" / "agent.zip").is_file()
    events = EventAccumulator(str(counting_run / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {name for name, value in rows[-1].items() if value}
    for name, value in rows[-1].items():
        assert events.Scalars(name)[-1].value == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("kind", ["cem", "mppi", "exhaustive", "random_shooting"])
def test_the_planner_can_be_swapped_at_evaluation(counting_run, capsys, kind):
    options = ["--planner.kind", kind, "--planner.samples", "16", "--planner.elites", "4", "--planner.iterations", "2"]
    assert run(["evaluate", str(counting_run), "--episodes", "3", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["planner"] == kind
    assert found["episodes"] == 3
    low, high = found["success_interval"]
    assert 0 <= low <= found["success_rate"] <= high <= 1
    assert found["planner_ms"] > 0


def test_evaluation_repeats_itself_and_depends_on_its_seed(counting_run, capsys):
    def measure(seed):
        assert run(["evaluate", str(counting_run), "--episodes", "20", "--json", "--seed", str(seed)]) == 0
        found = json.loads(capsys.readouterr().out)
        return found["success_rate"], found["length_mean"]

    assert measure(0) == measure(0)
    assert len({measure(seed) for seed in range(4)}) > 1


def test_evaluating_shows_how_far_it_is_except_beside_json(counting_run, capsys):
    assert run(["evaluate", str(counting_run), "--episodes", "3"]) == 0
    assert "evaluation: 100%" in capsys.readouterr().err
    assert run(["evaluate", str(counting_run), "--episodes", "3", "--json"]) == 0
    assert not capsys.readouterr().err


def test_resuming_goes_on_to_a_larger_total(counting_run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(counting_run, folder)
    options = ["--total-timesteps", "600", "--quiet"]
    with pytest.warns(UserWarning, match=r"training\.schedule cosine.* as if 600 steps had been planned"):
        assert run(["resume", str(folder), *options]) == 0
    rows = list(csv.DictReader((folder / "progress.csv").open()))
    assert [int(row["time/total_timesteps"]) for row in rows] == [112, 208, 304, 400, 512, 608]
    assert json.loads((folder / "config.json").read_text())["total_timesteps"] == 600


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_is_saved_and_goes_on_to_the_same_end(tmp_path, capfd, monkeypatch, number):
    class Interrupting(gym.Wrapper):
        """In the middle of a step of its tenth episode."""

        episodes, signals = 0, [number]

        def reset(self, **kwargs):
            self.episodes += 1
            return self.env.reset(**kwargs)

        def step(self, action):
            if self.episodes == 10 and self.signals:
                signal.raise_signal(self.signals.pop())
            return self.env.step(action)

    def make():
        return Interrupting(gym.make("CartPole-v1").unwrapped)

    monkeypatch.setitem(gym.registry, "Interrupting-v0", EnvSpec("Interrupting-v0", entry_point=make, max_episode_steps=50))
    options = ["default", "--env-id", "Interrupting-v0", "--total-timesteps", "600", "--quiet", "--episodes", "2"]
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert run(["train", *options, "--out", str(tmp_path / "stopped")]) == 130
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    said = capfd.readouterr().err
    assert "interrupted: saving after this step" in said
    saved = RunFolder.open(tmp_path / "stopped").load_agent()
    assert 0 < saved.num_timesteps < 600
    assert f"the run was saved at step {saved.num_timesteps}; go on with: jepa-rl resume" in said
    assert run(["resume", str(tmp_path / "stopped"), "--quiet"]) == 0
    assert run(["train", *options, "--out", str(tmp_path / "whole")]) == 0
    stopped, whole = (RunFolder.open(tmp_path / name).load_agent() for name in ("stopped", "whole"))
    for first, second in zip(stopped.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(first, second)


def test_an_interruption_ends_after_the_step_where_nobody_reads_the_output_any_more(monkeypatch):
    def closed(descriptor, text):
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", closed)  # Ctrl-C ends what the output was piped to as well
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.asked


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("the simulator is away"), 2), (SystemExit(0), 2), (KeyboardInterrupt(), 130)]
)
def test_an_error_after_training_leaves_a_run_that_can_be_evaluated(tmp_path, capsys, monkeypatch, error, status):
    def fails(*_args, **_kwargs):
        raise error

    folder = tmp_path / "run"
    options = ["--total-timesteps", "40", "--training.starts", "30", "--episodes", "2", "--quiet", "--out", str(folder)]
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_agent", fails)
        assert run(["train", "default", *options]) == status
    assert f"training is complete and saved; to evaluate it: jepa-rl resume {folder}" in capsys.readouterr().err
    assert run(["resume", str(folder), "--quiet"]) == 0
    assert json.loads((folder / "result.json").read_text())["env_steps"] == 40


def test_a_run_without_a_checkpoint_says_that_it_begins_again(counting_run, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(counting_run, folder)
    shutil.rmtree(folder / "checkpoint")
    (folder / "result.json").unlink()
    assert run(["resume", str(folder), "--episodes", "4", "--quiet"]) == 0
    assert "before its first checkpoint: it begins again at step 0" in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("the simulator is away"), SystemExit(3)])
def test_an_error_of_the_environment_is_told_with_its_place_and_the_run_is_saved(tmp_path, capsys, monkeypatch, error):
    class Fails(gym.Env):
        observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
        steps = 0

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(2, np.float32), {}

        def step(self, action):
            self.steps += 1
            if self.steps == 30:
                raise error
            return np.zeros(2, np.float32), 0.0, False, False, {}

    monkeypatch.setitem(gym.registry, "Fails-v0", EnvSpec("Fails-v0", entry_point=Fails, max_episode_steps=10))
    assert run(["train", "default", "--env-id", "Fails-v0", "--out", str(tmp_path / "a"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert f"{type(error).__name__}: {error}" in said
    assert f"in {__file__}, line " in said
    assert "the run was saved at step 29" in said


def test_a_broken_configuration_is_named(counting_run, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(counting_run, folder)
    (folder / "config.json").write_text('{"preset":')
    assert run(["evaluate", str(folder)]) == 2
    assert f"{folder / 'config.json'} is not a run's configuration" in capsys.readouterr().err


def test_wandb_works_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged = []
    log = wandb.Run.log

    def noting(self, data, *args, **kwargs):
        logged.append({**data, "step": kwargs["step"]})
        return log(self, data, *args, **kwargs)

    monkeypatch.setattr(wandb.Run, "log", noting)
    folder = tmp_path / "logged"
    assert run(["train", "counting", "--out", str(folder), "--wandb", "--video-every", "300", *QUICK]) == 0
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    (film,) = (folder / "wandb").rglob("videos/*.gif")
    assert film.read_bytes() == (folder / "videos" / "step-304.gif").read_bytes()
    rows = list(csv.DictReader((folder / "progress.csv").open()))
    last = logged[-1]
    assert last["step"] == int(rows[-1]["time/total_timesteps"]) == 400
    assert {name: str(value) for name, value in last.items() if name != "step"} == rows[-1]
    assert run(["resume", str(folder), "--total-timesteps", "600", "--quiet"]) == 0
    # Both processes went on with one run.
    assert len({path.suffix for path in (folder / "wandb").rglob("run-*.wandb")}) == 1
    identity = (folder / "wandb-id").read_text()
    assert len(list((folder / "wandb").rglob(f"run-{identity}.wandb"))) == 2


def test_the_speed_command_compares_with_the_bare_pass(counting_run, capsys):
    assert run(["speed", str(counting_run)]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    told = {name: float(number) for name, number, *_ in lines[:3]}
    assert told["ratio"] == pytest.approx(told["update"] / told["bare"], abs=0.02)
    assert [rest for name, _, rest in lines[3:] if name == "decision"] == ["ms for 1 environment", "ms for 8 environments"]
    assert all(float(number) > 0 for _, number, _ in lines[3:])


def test_help_teaches(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("train", "evaluate", "resume", "report", "demo"))
    with pytest.raises(SystemExit) as stopped:
        run(["train", "counting", "--help"])
    assert stopped.value.code == 0
    assert "--model.dynamics.target" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["train", "countng"], "unknown preset 'countng'; did you mean counting?"),
        (["train", "--seed", "1", "counting"], "the preset comes first"),
        (["train", "counting", "--env-id", "jepa_rl/Countin-v0"], "jepa_rl/Counting-v0"),
        (["train", "counting", "--env.target", "9"], "target must lie in 0..max_objects=8, got 9"),
        (["train", "counting", "--env.targett", "3"], "it takes actions, episode_length, max_objects, reward, target"),
        (["train", "counting", "--env.target"], "--env.target needs a value"),
        (
            ["train", "counting", "--env.target", "{1, 2}"],
            "--env.target must be made of numbers, texts, booleans, None, lists",
        ),
        (["train", "counting", "--env.target", "{1: 2}"], "dictionaries with texts as keys, got {1: 2}"),
        (["train", "counting", "--total-timesteps", "0"], "--total-timesteps must be at least 1, got 0"),
        (["train", "counting", "--seed", "-1"], "no environment has a held-out seed, got -1"),
        (["train", "counting", "--seed", "999990"], "no environment has a held-out seed, got 999990"),
        (["train", "counting", "--discount", "1.5"], "discount must be in (0, 1], got 1.5"),
        (["train", "default", "--env-id", "FrozenLake-v1", "--planner.horizon", "0"], "horizon must be at least 1"),
        (["train", "default", "--model.encoder.kind", "image"], "model.encoder.kind 'image' needs a Box"),
        (["train", "counting", "--checkpoint-interval", "0"], "--checkpoint-interval must be at least 1, got 0"),
        (["train", "counting", "--log-interval", "0"], "--log-interval must be at least 1, got 0"),
        (["train", "counting", "--episodes", "0"], "--episodes must be at least 1, got 0"),
        (["evaluate", "--json", "nowhere"], "the run comes first: jepa-rl evaluate RUN [OPTIONS]"),
        (["evaluate", "nowhere"], "nowhere is not a run folder"),
        (["resume", "nowhere"], "nowhere is not a run folder"),
        (["speed", "nowhere", "--threads", "-1"], "--threads must be at least 0, got -1"),
        (
            ["ablate", "--steps", "500"],
            "--steps must lie between 1,000, where accuracy is first looked at, and the preset's",
        ),
        (["ablate", "--steps", "60000"], "50,000, got 60,000"),
    ],
)
def test_bad_input_is_explained_in_a_line_or_two_and_leaves_nothing(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = run([*arguments])
    except SystemExit as stopped:  # the parser of options has its own way out
        status = stopped.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("total", ["0", "399"])
def test_a_run_is_not_resumed_to_fewer_steps_than_it_has(counting_run, tmp_path, capsys, total):
    folder = shutil.copytree(counting_run, tmp_path / "run")
    (folder / "result.json").unlink()
    before = (folder / "config.json").read_bytes()
    assert run(["resume", str(folder), "--total-timesteps", total, "--quiet"]) == 2
    assert "--total-timesteps must be" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == before


def test_a_longer_run_has_no_result_until_it_is_evaluated_anew(counting_run, tmp_path, monkeypatch):
    folder = shutil.copytree(counting_run, tmp_path / "run")

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_agent", killed)
        with pytest.raises(KeyboardInterrupt):
            resume.main([str(folder), "--total-timesteps", "450", "--quiet"])
    assert not (folder / "result.json").exists()
    assert run(["resume", str(folder), "--episodes", "8", "--quiet"]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["env_steps"] >= 450
    assert result["episodes"] == 8
    assert RunFolder.open(folder).config().recording.episodes == 8


@pytest.mark.parametrize("count", [lambda _: 3, lambda episode: episode, lambda _: 0.5, {0: 1, 1: 2}.get])
def test_what_is_no_count_of_few_things_is_no_class(counting_run, count):
    class Counts(gym.Env):
        episodes = 0

        def reset(self, **_):
            self.episodes += 1
            return np.zeros((64, 64, 3), np.uint8), {"count": count(self.episodes - 1)}

    agent = RunFolder.open(counting_run).load_agent()
    assert heldout_latents(agent, Counts, MOST_COUNTS + 1, seed=0) is None


def test_an_episode_that_never_ends_is_an_error_that_says_what_to_do(monkeypatch):
    class Forever(gym.Env):
        observation_space, action_space = gym.spaces.Discrete(1), gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            return 0, 0.0, False, False, {}

    class Nothing:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.zeros(len(observation), int), None

    monkeypatch.setattr(evaluation, "LONGEST_EPISODE", 100)
    with pytest.raises(ValueError, match=r"an episode did not end within 100 steps: give the environment a time limit"):
        play(Nothing(), heldout_envs(lambda: Monitor(Forever()), 2, seed=0), 2, deterministic=True)


OWN_MODULE = """
import gymnasium as gym
from jepa_rl.agent import register_auxiliary

register_auxiliary("angle", lambda observation, info: observation[2])
gym.register("Cart-v0", entry_point=lambda: gym.make("CartPole-v1").unwrapped, max_episode_steps=20)
"""


def test_options_name_auxiliary_tasks_that_the_module_of_the_environment_registers(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_cart.py").write_text(OWN_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(targets, "_registered", {})
    options = ["--env-id", "own_cart:Cart-v0", "--model.auxiliaries", "angle", "--total-timesteps", "60", "--episodes", "1"]
    try:
        assert run(["train", "default", *options, "--training.starts", "40", "--quiet", "--out", "run"]) == 0
        targets._registered.clear()  # as in a new process
        del sys.modules["own_cart"]
        assert run(["advise", "run", "--batches", "1", "--json"]) == 0
        assert "angle" in capsys.readouterr().out
    finally:
        gym.registry.pop("Cart-v0", None)
        sys.modules.pop("own_cart", None)


def test_an_agent_s_file_is_not_taken_for_a_run_and_what_serves_it_is_said(counting_run, capsys):
    assert run(["evaluate", str(counting_run / "checkpoint" / "agent.zip")]) == 2
    assert "is a file, not a run folder: an agent that JEPAAgent.save wrote is loaded in Python" in capsys.readouterr().err


@pytest.mark.parametrize("told_at", [(), (True,), (True, False)])
def test_success_that_is_told_of_some_episodes_alone_is_no_rate(told_at):
    class Coin(gym.Env):
        """An episode of one step, which every other time succeeds."""

        observation_space, action_space = gym.spaces.Discrete(1), gym.spaces.Discrete(2)
        episodes = 0

        def reset(self, *, seed=None, options=None):
            self.episodes += 1
            return 0, {}

        def step(self, action):
            success = self.episodes % 2 == 0
            return 0, 0.0, True, False, {"is_success": success} if success in told_at else {}

    class Nothing:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.zeros(len(observation), int), None

    venv = heldout_envs(lambda: Monitor(Coin()), 16, seed=0)
    warned = pytest.warns(UserWarning, match=r"was there at the end of 8 of 16 episodes")
    with warned if told_at == (True,) else nullcontext():
        successes, returns, _ = play(Nothing(), venv, 16, deterministic=True)
    assert len(returns) == 16
    assert len(successes) == (16 if len(told_at) == 2 else 0)


def test_an_existing_run_is_not_overwritten(counting_run, capsys):
    before = (counting_run / "result.json").read_bytes()
    assert run(["train", "counting", "--out", str(counting_run), *QUICK]) == 2
    assert f"jepa-rl resume {counting_run}" in capsys.readouterr().err
    assert (counting_run / "result.json").read_bytes() == before


def test_an_unwritable_folder_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(["train", "counting", "--out", str(tmp_path / "file" / "run"), *QUICK]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named(counting_run, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(counting_run, folder)
    path = folder / "checkpoint" / "agent.zip"
    path.write_bytes(path.read_bytes()[:-1000])
    assert run(["evaluate", str(folder)]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_complete_run_whose_checkpoint_is_gone_is_not_trained_once_more(counting_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(counting_run, folder)
    shutil.rmtree(folder / "checkpoint")
    before = (folder / "progress.csv").read_text()
    assert run(["resume", str(folder), "--quiet"]) == 2
    assert "is complete, and its checkpoint is gone" in capsys.readouterr().err
    assert (folder / "progress.csv").read_text() == before


def test_a_run_that_another_process_trains_is_left_to_it(counting_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(counting_run, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    with RunFolder.open(folder).claimed():
        assert run(["resume", str(folder), "--total-timesteps", "500", "--quiet"]) == 2
    assert f"another process is training {folder}" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", [["evaluate"], ["report"], ["resume", "--total-timesteps", "500"]])
def test_a_run_whose_environment_has_other_spaces_now_is_refused(counting_run, tmp_path, command, capsys):
    folder = shutil.copytree(counting_run, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["env"]["history"] = 2  # as if the environment had come to show two images
    (folder / "config.json").write_text(json.dumps(config))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run([command[0], str(folder), *command[1:]]) == 2
    assert "Observation spaces do not match: the agent's Box" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_failing_environment_leaves_a_run_that_resumes_to_the_same_end(tmp_path, capsys):
    """The environment breaks in the middle, is mended, and the resumed run equals one that never broke."""
    gym.register("Breaking-v0", entry_point=Breaking, order_enforce=False, disable_env_checker=True)
    try:
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        Breaking.fails_at = None
        assert run(["train", "default", "--env-id", "Breaking-v0", "--out", str(whole), *QUICK]) == 0
        Breaking.fails_at = 150
        assert run(["train", "default", "--env-id", "Breaking-v0", "--out", str(broken), *QUICK]) == 2
        error = capsys.readouterr().err
        assert "the bridge is out" in error
        assert f"jepa-rl resume {broken}" in error
        Breaking.fails_at = None
        assert run(["resume", str(broken), "--quiet"]) == 0
        assert without_time(whole / "progress.csv") == without_time(broken / "progress.csv")
    finally:
        del gym.registry["Breaking-v0"]


def without_time(path):
    """The log but for what a clock decides."""
    timed = ("time/seconds", "time/steps_per_second", "time/updates_per_second")
    return [{name: value for name, value in row.items() if name not in timed} for row in csv.DictReader(path.open())]


class Breaking(gym.Env):
    """A walk on 0..9 that ends at either side, in an environment whose bridge may be out."""

    observation_space = gym.spaces.Discrete(10)
    action_space = gym.spaces.Discrete(2)
    fails_at: int | None = None

    def __init__(self):
        self.total = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(1, 9))
        return self.place, {}

    def step(self, action):
        if self.total == self.fails_at:
            raise RuntimeError("the bridge is out")
        self.total += 1
        self.place += 2 * int(action) - 1
        return self.place, float(self.place == 9), self.place in (0, 9), False, {}


@pytest.fixture
def without_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("jepa_rl.scripts.", "matplotlib."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.parametrize("command", [["paper", "noise"], ["benchmark", "control"], ["report"], ["demo"]])
def test_a_command_says_what_its_figures_need(command, capsys, without_matplotlib):
    assert run([*command, "--help"]) == 2
    assert "figures need matplotlib: pip install 'jepa-rl[report]'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["doctor", "train", "evaluate", "resume", "advise", "speed", "ablate"])
def test_what_draws_nothing_needs_no_package_for_figures(command, capsys, without_matplotlib):
    with pytest.raises(SystemExit) as stopped:
        run([command, "--help"])
    assert stopped.value.code == 0
    assert command in capsys.readouterr().out
