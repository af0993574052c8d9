"""The examples run, are short, and say what they found."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ARGUMENTS = {
    "train_and_evaluate": (["--timesteps", "200"], r"return \d+\.\d .* after 200 steps; the agent is in agent\.zip"),
    "ppo_with_jepa_encoder": (["--timesteps", "1024"], r"return \d+\.\d .* after 52 updates of the world model"),
    "plan_by_hand": (["--timesteps", "1056"], r"step 0  action \d+  reward .* latent off by \d+\.\d+, moved by \d+\.\d+"),
}


def test_every_example_is_tried_and_short():
    found = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert found.keys() == ARGUMENTS.keys()
    assert max(found.values()) <= 40


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    arguments, expected = ARGUMENTS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert re.search(expected, capsys.readouterr().out)
