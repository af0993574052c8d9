"""Grids on a local Ray with two workers: the numbers of local processes, and no cell is lost with its worker."""

import logging
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import ray
import torch

from jepa_rl.scripts.grid import GridError, run_grid


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    ray.init(num_cpus=2, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


def cells_of(*seeds, tries, deadly=(), always=False):
    settings = {"tries": str(tries), "deadly": list(deadly), "always": always}
    return [{"name": "a", "seed": seed, **settings} for seed in seeds]


def numbers(cell):
    """A few numbers of the seed; kills its process first if the cell says so."""
    seed, tries = cell["seed"], Path(cell["tries"])
    tries.mkdir(exist_ok=True)
    first = not list(tries.glob(f"{seed}-*"))
    (tries / f"{seed}-{time.time_ns()}").touch()
    if seed in cell["deadly"] and (first or cell["always"]):
        os.kill(os.getpid(), signal.SIGKILL)
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(32, 32, generator=generator)
    return {"norm": torch.linalg.matrix_norm(matrix @ matrix).item(), "threads": torch.get_num_threads()}


def tries_of(folder, seed):
    return len(list(folder.glob(f"{seed}-*")))


def test_ray_gives_the_numbers_of_local_processes(tmp_path, capsys):
    cells = cells_of(0, 1, 2, tries=tmp_path / "tries")
    jobs = max(2, os.cpu_count() or 1)
    there = run_grid(cells, numbers, tmp_path / "ray", jobs=jobs, backend="ray", version=4)
    assert "3/3" in capsys.readouterr().err
    assert there == run_grid(cells, numbers, tmp_path / "local", jobs=jobs, version=4)
    assert len({result["norm"] for result in there}) == 3
    assert sorted(path.name for path in (tmp_path / "ray").iterdir()) == [f"a-seed{seed}.json" for seed in range(3)]


def test_a_killed_ray_workers_cell_is_run_again_and_one_that_always_dies_fails_alone(tmp_path):
    cells = [
        *cells_of(0, 1, 2, tries=tmp_path / "tries", deadly=[1]),
        *({**cell, "name": "b"} for cell in cells_of(7, tries=tmp_path / "tries", deadly=[7], always=True)),
    ]
    with pytest.raises(GridError, match=r"1 of 4 cells failed[\s\S]*b-seed7.error.txt: Its worker was killed twice"):
        run_grid(cells, numbers, tmp_path / "out", jobs=2, backend="ray")
    assert [tries_of(tmp_path / "tries", seed) for seed in (0, 1, 2, 7)] == [1, 2, 1, 2]
    files = [*(f"a-seed{seed}.json" for seed in range(3)), "b-seed7.error.txt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files


def test_a_single_job_does_not_run_in_this_process_and_its_traceback_comes_back(tmp_path):
    def fail(cell):
        raise RuntimeError(f"not in {os.getpid()}")

    with pytest.raises(GridError, match="RuntimeError: not in") as caught:
        run_grid(cells_of(0, tries=tmp_path), fail, tmp_path / "out", jobs=1, backend="ray")
    assert str(os.getpid()) not in str(caught.value).rsplit("not in", 1)[1]


def test_without_ray_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "jepa_rl.scripts.ray_tasks", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'jepa-rl\[ray\]'"):
        run_grid(cells_of(0, tries=tmp_path), numbers, tmp_path / "out", jobs=2, backend="ray")
