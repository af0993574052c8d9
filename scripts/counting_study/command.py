"""``jepa-rl paper counting``: every row of the study, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.counting_study.measure import train_and_measure
from jepa_rl.scripts.counting_study.page import render, table_of
from jepa_rl.scripts.counting_study.rows import SEEDS, cells, quick_cells
from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.grid_args import GridArgs

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/counting")
PAGE = Path("docs/counting.md")


@dataclass(frozen=True, kw_only=True)
class CountingArgs(GridArgs):
    """Remake the experiment of arXiv:2509.12249 with its controls: what anchors a JEPA representation.

    Trains every row of the study with every seed and measures the final weights on held-out images. A run that is
    finished is not run again, so that the command can be stopped and started. One run takes about two minutes on one core.

    Examples:
      jepa-rl paper counting --quick
      jepa-rl paper counting --seeds 5 --jobs 2
      jepa-rl paper counting --render
    """

    seeds: int = SEEDS
    """Seeds of every row; the sweeps have one."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Three rows with one seed, trained half as long, and a table of them: three minutes on two cores. The page holds
    their means and ranges over five seeds."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(CountingArgs, prog="jepa-rl paper counting", args=arguments)
    if args.quick and args.render:
        raise ValueError("--quick and --render exclude each other: the page needs the whole grid")
    out, page = args.places(RESULTS, PAGE)
    if not args.render:
        grid = quick_cells(1) if args.quick else cells(args.seeds)
        (out / "drawings").mkdir(parents=True, exist_ok=True)
        measure = functools.partial(train_and_measure, out=out.resolve())
        results = run_grid(grid, measure, out, args.jobs, args.backend, VERSION)
        print(table_of(results))
    if not args.quick:
        print(f"wrote {render(out, page)}")
