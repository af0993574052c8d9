"""``jepa-rl benchmark sb3``: every task, variant and seed, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.grid import Backend, Cell, GridError, check_folder, result_file, run_grid
from jepa_rl.scripts.grid_args import GridArgs
from jepa_rl.scripts.minigrid_benchmark.tasks import EPISODES, QUICK_EPISODES
from jepa_rl.scripts.options import split_agent_options
from jepa_rl.scripts.sb3_benchmark.measure import pretrain, train_and_measure
from jepa_rl.scripts.sb3_benchmark.page import render, terminal_table
from jepa_rl.scripts.sb3_benchmark.summary import Results
from jepa_rl.scripts.sb3_benchmark.tasks import QUICK, SEEDS, SLUGS, TASKS, cells, pretraining, task

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/sb3")
PAGE = Path("docs/sb3_benchmark.md")


@dataclass(frozen=True, kw_only=True)
class SB3Args(GridArgs):
    """What the encoder, its co-training and the imagined environment buy Stable-Baselines3's PPO.

    PPO on DoorKey-5x5 and on the counting environment, with a fresh encoder of its own, with that of a pre-trained agent,
    frozen or trained on, with a fresh one that JEPAAuxiliaryCallback trains as well, and trained in the imagined
    environment alone. Every environment step counts, those of the pre-training too. One agent is pre-trained per task and
    seed and kept in OUT/agents. A run that is finished is not run again, so that the command can be stopped and started.
    Each writes its curve to NAME-seedN.csv as it goes and its result to NAME-seedN.json. Any setting of the agents can be
    changed, as in --agent.training.batch-size 32.

    The whole grid is estimated at an hour and a half on two quiet cores: 45 runs of one to eight minutes of one core, and
    the pre-training of ten agents.

    Examples:
      jepa-rl benchmark sb3 --quick
      jepa-rl benchmark sb3 --tasks Counting --variants plain imagined --seeds 3 --out runs/dyna
      jepa-rl benchmark sb3 --render
    """

    tasks: tuple[str, ...] = tuple(each.name for each in TASKS)
    """Tasks, by their ids or as here."""
    variants: tuple[str, ...] = SLUGS
    """Variants to run."""
    seeds: int = SEEDS
    """Seeds of every task and variant."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """One seed and 9,000 to 12,000 steps: under five minutes on two cores."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    rest, agent_options = split_agent_options(arguments)
    args = tyro.cli(SB3Args, prog="jepa-rl benchmark sb3", args=rest)
    out, page = args.places(RESULTS, PAGE)
    if not args.render:
        grid = cells(
            QUICK if args.quick else [task(name) for name in args.tasks],
            args.variants,
            1 if args.quick else args.seeds,
            episodes=QUICK_EPISODES if args.quick else EPISODES,
            extra=agent_options,
        )
        if not grid:
            raise ValueError(f"none of --variants {' '.join(args.variants)} is run on the chosen tasks")
        run_all(grid, out, args.jobs, args.backend)
    written = render(out, page)
    print(f"{terminal_table(Results.load(out))}\n\nwrote {written}")


def run_all(grid: Sequence[Cell], out: Path, jobs: int, backend: Backend) -> None:
    """Pre-train what the missing cells begin with, so that no two of them do it at once, then run them."""
    check_folder(out, grid, VERSION)
    agents, measure = out / "agents", functools.partial(train_and_measure, out=out.resolve())
    missing = [cell for cell in grid if not result_file(out, cell).exists()]
    before = {(each["name"], each["seed"]): each for each in map(pretraining, missing) if each is not None}
    if before:
        train_agent = functools.partial(pretrain, agents=agents.resolve())
        try:
            run_grid([*before.values()], train_agent, agents, jobs, backend, VERSION)
        except GridError:
            run_grid([cell for cell in grid if _can_begin(cell, agents)], measure, out, jobs, backend, VERSION)
            raise
    run_grid(grid, measure, out, jobs, backend, VERSION)


def _can_begin(cell: Cell, agents: Path) -> bool:
    """Whether the agent that the cell begins with, if any, is trained."""
    needed = pretraining(cell)
    return needed is None or result_file(agents, needed).exists()
