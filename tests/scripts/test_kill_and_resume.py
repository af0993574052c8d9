"""SIGKILL at any moment, resume, and nothing tells the run from one that was never stopped."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from jepa_rl.agent.checkpoint import read_checkpoint

OPTIONS = [
    *("--total-timesteps", "1600", "--log-interval", "160", "--checkpoint-interval", "160", "--episodes", "2", "--quiet"),
    *("--training.starts", "160", "--training.updates-per-step", "0.1", "--training.batch-size", "8"),
    *("--exploration.warmup", "320", "--exploration.epsilon-steps", "320", "--replay.capacity", "1000"),
]


def start(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from jepa_rl.scripts.cli import main; main()", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_killed_three_times_equals_one_that_never_stopped(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start("train", "counting", "--out", str(whole), *OPTIONS))

    chance = random.Random(0)
    process = start("train", "counting", "--out", str(killed), *OPTIONS)
    wait_for(killed / "config.json", process)
    pauses = []
    for _ in range(3):
        pauses.append(chance.uniform(0.0, 1.5))
        wait_for(killed / "progress.csv", process)
        time.sleep(pauses[-1])
        if (killed / "result.json").exists():  # a fast machine is through already
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (killed / "progress.csv").unlink()  # so that the next process is seen to have begun
        process = start("resume", str(killed), "--quiet")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert len(pauses) > 1, "the run was through before the first kill: make it longer"

    one, two = (read_checkpoint(folder / "checkpoint" / "agent.zip") for folder in (whole, killed))
    assert one.tensors.keys() == two.tensors.keys()
    for name, value in one.tensors.items():
        assert value.equal(two.tensors[name]), (name, pauses)
    for name, value in one.arrays.items():
        assert np.array_equal(value, two.arrays[name]), (name, pauses)
    assert log_of(whole) == log_of(killed), pauses


def log_of(folder: Path) -> list[dict[str, str]]:
    """The log but for what a clock decides."""
    timed = ("time/seconds", "time/steps_per_second", "time/updates_per_second")
    with (folder / "progress.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in timed} for row in csv.DictReader(file)]
