"""``jepa-rl benchmark anchors``: every variant, task and seed, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.anchors_benchmark.measure import train_and_measure
from jepa_rl.scripts.anchors_benchmark.page import render, terminal_table
from jepa_rl.scripts.anchors_benchmark.variants import QUICK, QUICK_TASK, SEEDS, TASKS, VARIANTS, cells, task
from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.grid_args import GridArgs
from jepa_rl.scripts.minigrid_benchmark.tasks import EPISODES, QUICK_EPISODES
from jepa_rl.scripts.options import split_agent_options

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/anchors")
PAGE = Path("docs/anchors.md")


@dataclass(frozen=True, kw_only=True)
class AnchorsArgs(GridArgs):
    """Who should train the encoder: dynamics, reward and value, both, or neither; and what planning adds.

    The same agent with other gates on DoorKey, SimpleCrossing and the counting environment: success, steps until it holds,
    effective rank, and how many states that the task tells apart the encoder merges. A run that is finished is not run
    again, so that the command can be stopped and started. Each writes its curve to NAME-seedN.csv as it goes and its result
    to NAME-seedN.json. Any setting of our agent can be changed for all variants, as in --agent.training.batch-size 32.

    Examples:
      jepa-rl benchmark anchors --quick
      jepa-rl benchmark anchors --tasks DoorKey-5x5 --variants joint dynamics-only --seeds 3 --out runs/anchors
      jepa-rl benchmark anchors --render
    """

    tasks: tuple[str, ...] = tuple(each.name for each in TASKS)
    """Tasks, by their ids or as here."""
    variants: tuple[str, ...] = tuple(each.slug for each in VARIANTS)
    """Variants to run."""
    seeds: int = SEEDS
    """Seeds of every task and variant."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Three variants on DoorKey-5x5, one seed, 4,500 steps: a few minutes on two cores."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    rest, agent_options = split_agent_options(arguments)
    args = tyro.cli(AnchorsArgs, prog="jepa-rl benchmark anchors", args=rest)
    out, page = args.places(RESULTS, PAGE)
    if not args.render:
        if args.quick:
            grid = cells([QUICK_TASK], QUICK, 1, episodes=QUICK_EPISODES, extra=agent_options)
        else:
            chosen = [task(name) for name in args.tasks]
            grid = cells(chosen, args.variants, args.seeds, episodes=EPISODES, extra=agent_options)
        measure = functools.partial(train_and_measure, out=out.resolve())
        run_grid(grid, measure, out, args.jobs, args.backend, VERSION)
    written = render(out, page)
    print(f"{terminal_table(out)}\n\nwrote {written}")
