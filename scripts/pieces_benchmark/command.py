"""``jepa-rl benchmark pieces``: every piece, task and seed, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from jepa_rl.scripts.grid import Cell, run_grid
from jepa_rl.scripts.grid_args import GridArgs
from jepa_rl.scripts.minigrid_benchmark.measure import follow_agent
from jepa_rl.scripts.minigrid_benchmark.tasks import EPISODES, QUICK_EPISODES, task
from jepa_rl.scripts.options import split_agent_options
from jepa_rl.scripts.pieces_benchmark.page import render, terminal_table
from jepa_rl.scripts.pieces_benchmark.pieces import QUICK, QUICK_TASK, SEEDS, SLUGS, TASKS, cells

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/minigrid_pieces")
PAGE = Path("docs/minigrid_pieces.md")


@dataclass(frozen=True, kw_only=True)
class PiecesArgs(GridArgs):
    """What each piece of the minigrid preset buys: the preset without it, on DoorKey-5x5 and SimpleCrossingS9N1.

    A run that is finished is not run again, so that the command can be stopped and started. Each writes its curve to
    NAME-seedN.csv as it goes and its result to NAME-seedN.json.

    Examples:
      jepa-rl benchmark pieces --quick
      jepa-rl benchmark pieces --tasks DoorKey-6x6 --pieces preset no-memory no-novelty --out runs/pieces
      jepa-rl benchmark pieces --render
    """

    tasks: tuple[str, ...] = tuple(each.name for each in TASKS)
    """Tasks; one that is not among these has the budget that our agent has in ``jepa-rl benchmark minigrid``."""
    pieces: tuple[str, ...] = SLUGS
    """What to switch off; "preset" switches off nothing."""
    seeds: int = SEEDS
    """Seeds of every task and piece."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Two rows on DoorKey-5x5, one seed, 4,000 steps: a few minutes on two cores."""


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's agent, with its curve in ``out``/NAME-seedN.csv; the last evaluation."""
    return follow_agent(cell, out)[1]


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    rest, agent_options = split_agent_options(arguments)
    args = tyro.cli(PiecesArgs, prog="jepa-rl benchmark pieces", args=rest)
    out, page = args.places(RESULTS, PAGE)
    if not args.render:
        if args.quick:
            grid = cells([QUICK_TASK], QUICK, 1, episodes=QUICK_EPISODES, extra=agent_options)
        else:
            own = {name: each for each in TASKS for name in (each.name, each.env_id)}
            chosen = [own[name] if name in own else task(name).for_ours() for name in args.tasks]
            grid = cells(chosen, args.pieces, args.seeds, episodes=EPISODES, extra=agent_options)
        run_grid(grid, functools.partial(train_and_measure, out=out.resolve()), out, args.jobs, args.backend, VERSION)
    written = render(out, page)
    print(f"{terminal_table(out)}\n\nwrote {written}")
