"""``jepa-rl paper noise``: every row of the study at every level, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.grid import Backend, run_grid
from jepa_rl.scripts.noise_study.measure import train_and_measure
from jepa_rl.scripts.noise_study.page import render, table_of
from jepa_rl.scripts.noise_study.rows import SEEDS, cells, complete, quick_cells
from jepa_rl.scripts.noise_study.summary import Results

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/noise")
QUICK_RESULTS = Path("runs/noise-quick")
PAGE = Path("docs/noise.md")


@dataclass(frozen=True, kw_only=True)
class NoiseArgs:
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
    out: Path | None = None
    """Folder of the raw results, one JSON a run: docs/results/noise by default, runs/noise-quick with --quick."""
    jobs: int = 2
    """Runs side by side; the cores are shared among them."""
    backend: Backend = "local"
    """local: processes on this machine; ray: a Ray cluster (pip install "jepa-rl[ray]")."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """A few rows at the levels that set them apart, one seed, trained half as long: under five minutes on two cores."""
    render: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only remake the page and its figures from the results that are there."""
    page: Path | None = None
    """The page to write, its figures go to figures/noise beside it: docs/noise.md for the results of the documentation,
    noise.md beside any others."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(NoiseArgs, prog="jepa-rl paper noise", args=arguments)
    if args.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {args.seeds}")
    out = args.out or (QUICK_RESULTS if args.quick else RESULTS)
    documented = out.resolve() == RESULTS.resolve()
    if args.quick and documented:
        raise ValueError(f"--quick needs an --out other than {RESULTS}, which holds the documentation's results")
    if not args.render:
        grid = quick_cells() if args.quick else cells(args.seeds)
        measure = functools.partial(train_and_measure, out=out.resolve())
        run_grid(grid, measure, out, args.jobs, args.backend, VERSION, complete)
    page = args.page or (PAGE if documented else out / PAGE.name)
    written = render(out, page)
    print(f"{table_of(Results.load(out))}\n\nwrote {written}")
