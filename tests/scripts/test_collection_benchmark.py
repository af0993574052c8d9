"""The collection benchmark: what is timed, against what, and what is told of it."""

import dataclasses
import functools
import json
import os

import pytest
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.collection_benchmark import command, measure
from jepa_rl.scripts.collection_benchmark.measure import DUMMY, ONE, SUBPROC, collecting, summary, table
from jepa_rl.scripts.collection_benchmark.sleeping import SleepingEnv


def test_ratios_are_those_of_the_medians():
    rates = {ONE.name: [190.0, 200.0, 10.0], DUMMY.name: [100.0, 170.0, 900.0], SUBPROC.name: [900.0, 950.0, 100.0]}
    found = summary(rates)
    assert [each["median"] for each in found["steps_per_second"].values()] == [190, 170, 900]
    assert found["ratios"] == {ONE.name: 900 / 190, DUMMY.name: 900 / 170}
    lines = table(found).splitlines()
    assert lines[1:] == [
        "1 environment                   190  4.74 times as fast",
        "8 in DummyVecEnv                170  5.29 times as fast",
        "8 in SubprocVecEnv              900",
    ]


def test_every_action_is_planned_and_nothing_is_learned():
    agent = JEPAAgent(collecting(), functools.partial(SleepingEnv, 0.0), seed=0).learn(20)
    assert agent._n_updates == 0
    assert agent.config.exploration.epsilon(0) == 0.0


def test_the_sleeping_environment_is_one_of_gymnasiums():
    check_env(SleepingEnv(0.0))


@pytest.fixture
def two(monkeypatch):
    """Two environments instead of eight, in processes that begin at once."""
    fork = functools.partial(SubprocVecEnv, start_method="fork")
    ways = (ONE, dataclasses.replace(DUMMY, n_envs=2), dataclasses.replace(SUBPROC, n_envs=2, make=fork))
    monkeypatch.setattr(measure, "WAYS", ways)


def test_eight_environments_are_compared_in_one_process_and_in_eight():
    assert [(way.n_envs, way.make) for way in measure.WAYS] == [(1, DummyVecEnv), (8, DummyVecEnv), (8, SubprocVecEnv)]


def test_nobody_is_faster_than_sleep_and_what_is_written_is_what_is_shown(two, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "measure", functools.partial(measure.measure, steps=4))
    monkeypatch.setattr(os, "getloadavg", lambda: (5.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert run(["benchmark", "collection", "--sleep-ms", "50", "--rounds", "1", "--out", str(tmp_path / "new")]) == 0
    found = json.loads((tmp_path / "new" / "collection.json").read_text())
    rates = {name: each["median"] for name, each in found["steps_per_second"].items()}
    # One after the other, two environments make no more steps than one; side by side, twice as many at best.
    assert 0 < rates[ONE.name] <= 20
    assert 0 < rates[DUMMY.name] <= 20
    assert 0 < rates[SUBPROC.name] <= 40
    assert found["ratios"][DUMMY.name] == rates[SUBPROC.name] / rates[DUMMY.name]
    assert (found["sleep_ms"], len(found["steps_per_second"][ONE.name]["rounds"])) == (50, 1)
    printed = capsys.readouterr().out
    assert f"{found['ratios'][ONE.name]:.2f} times as fast" in printed
    assert "the machine was busy (load 5.0)" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--sleep-ms", "-1"], "--sleep-ms must be at least 0, got -1"), (["--rounds", "0"], "--rounds must be at least 1")],
)
def test_bad_input_is_explained_and_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["benchmark", "collection", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
