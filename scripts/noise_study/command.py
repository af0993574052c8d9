"""``jepa-rl paper noise``: every row of the study at every level, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.grid_args import GridArgs
from jepa_rl.scripts.noise_study.measure import train_and_measure
from jepa_rl.scripts.noise_study.page import render, table_of
from jepa_rl.scripts.noise_study.rows import SEEDS, cells, quick_cells
from jepa_rl.scripts.noise_study.summary import Results

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/noise")
PAGE = Path("docs/noise.md")


@dataclass(frozen=True, kw_only=True)
class NoiseArgs(GridArgs):
    """What is kept of a signal, of fresh noise, of a predictable distractor, and of a bit that decides the reward.

    Trains an encoder in nine ways on the counting environment, on MiniGrid's Empty-Random-5x5 and with an
    exogenous bit, at several levels of a distractor, and sets what the latents keep beside what an untrained encoder holds
    and the order that the linear theory predicts (arXiv:2407.03475, arXiv:2606.30068). A run that is finished is not run
    again, so that the command can be stopped and started. One run takes about a minute on one core.

    Examples:
      jepa-rl paper noise --quick
      jepa-rl paper noise --seeds 3 --jobs 2
      jepa-rl paper noise --render
    """

    seeds: int = SEEDS
    """Seeds of every row, task and level."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """A few rows at the levels that set them apart, one seed, trained half as long: under five minutes on two cores."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(NoiseArgs, prog="jepa-rl paper noise", args=arguments)
    out, page = args.places(RESULTS, PAGE)
    if not args.render:
        grid = quick_cells() if args.quick else cells(args.seeds)
        measure = functools.partial(train_and_measure, out=out.resolve())
        run_grid(grid, measure, out, args.jobs, args.backend, VERSION)
    written = render(out, page)
    print(f"{table_of(Results.load(out))}\n\nwrote {written}")
