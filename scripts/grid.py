"""Grids of runs: finished cells are skipped, results are written as they come, cells run side by side."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from jepa_rl.scripts.run_folder import write_json

Cell = dict[str, Any]
"""What distinguishes one run from the others: JSON-able, with a "name" and a "seed"."""


def run_grid(
    cells: Sequence[Cell], measure: Callable[[Cell], dict[str, Any]], out: Path, jobs: int
) -> list[dict[str, Any]]:
    """The results of ``measure`` for every cell, in order; each is ``out``/NAME-seedN.json from when it is done.

    ``jobs`` processes run side by side, each with its share of the cores. A cell whose file exists is not run again; one
    whose file describes other settings is a ValueError, so that results of different settings never mix.
    """
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}")
    out.mkdir(parents=True, exist_ok=True)
    missing = [cell for cell in cells if not _finished(out, cell)]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_measure_and_keep)(measure, cell, out, threads) for cell in missing
    )
    for _ in tqdm(results, total=len(missing), unit="run", disable=not missing):
        pass
    return [json.loads(_file(out, cell).read_text()) for cell in cells]


def _measure_and_keep(measure: Callable[[Cell], dict[str, Any]], cell: Cell, out: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    write_json(_file(out, cell), {"cell": cell, **measure(cell)})


def _file(out: Path, cell: Cell) -> Path:
    return out / f"{cell['name']}-seed{cell['seed']}.json"


def _finished(out: Path, cell: Cell) -> bool:
    file = _file(out, cell)
    if not file.exists():
        return False
    if json.loads(file.read_text())["cell"] != json.loads(json.dumps(cell)):
        raise ValueError(f"{file} holds the result of other settings; choose another --out or remove it")
    return True
