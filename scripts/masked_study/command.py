"""``jepa-rl paper masked``: every row of the study, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.grid_args import GridArgs
from jepa_rl.scripts.masked_study.measure import train_and_measure
from jepa_rl.scripts.masked_study.page import render, table_of
from jepa_rl.scripts.masked_study.rows import SEEDS, cells, quick_cells
from jepa_rl.scripts.masked_study.summary import Results

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/masked")
PAGE = Path("docs/masked.md")


@dataclass(frozen=True, kw_only=True)
class MaskedArgs(GridArgs):
    """What masked latent prediction keeps, whether it helps control, and whether an auxiliary repairs what it misses.

    Trains a small vision transformer on the counting environment with masked prediction, latent dynamics and the reward,
    alone and together, and measures the final weights on held-out images. A run that is finished is not run again, so that
    the command can be stopped and started. Two side by side take one to four minutes each,
    the grid 40 minutes.

    Examples:
      jepa-rl paper masked --quick
      jepa-rl paper masked --jobs 2
      jepa-rl paper masked --render
    """

    seeds: int = SEEDS
    """Seeds of every row."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Every row with one seed, trained for a fifth of the steps: under five minutes on two cores."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(MaskedArgs, prog="jepa-rl paper masked", args=arguments)
    out, page = args.places(RESULTS, PAGE)
    if not args.render:
        grid = quick_cells() if args.quick else cells(args.seeds)
        measure = functools.partial(train_and_measure, out=out.resolve())
        run_grid(grid, measure, out, args.jobs, args.backend, VERSION)
    results = Results.load(out)
    written = render(results, out, page)
    print(f"{table_of(results)}\n\nwrote {written}")
