"""``jepa-rl benchmark minigrid``: every task, algorithm and seed, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.agent import preset
from jepa_rl.agent.algorithm import existing_device
from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.grid_args import GridArgs
from jepa_rl.scripts.minigrid_benchmark.measure import train_and_measure
from jepa_rl.scripts.minigrid_benchmark.page import render, terminal_table
from jepa_rl.scripts.minigrid_benchmark.summary import Results
from jepa_rl.scripts.minigrid_benchmark.tasks import (
    ALGORITHMS,
    EPISODES,
    QUICK,
    QUICK_EPISODES,
    SEEDS,
    TASKS,
    UNSEEN_TASKS,
    Algorithm,
    cells,
    task,
)
from jepa_rl.scripts.options import split_agent_options
from jepa_rl.scripts.train import overridden

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
# Of the documentation: the folder of the raw results, the page.
PLACES = Path("docs/results/minigrid"), Path("docs/minigrid.md")
PIXEL_PLACES = Path("docs/results/minigrid_pixels"), Path("docs/minigrid_pixels.md")
UNSEEN_PLACES = Path("docs/results/minigrid_unseen"), Path("docs/minigrid_unseen.md")


@dataclass(frozen=True, kw_only=True)
class MiniGridArgs(GridArgs):
    """Our agent, PPO and n-step DQN on MiniGrid: steps and seconds until a success rate holds, on held-out episodes.

    A run that is finished is not run again, so that the command can be stopped and started; a run of our agent that was
    killed goes on from its last evaluation, which is kept in NAME-seedN.checkpoint.zip, others begin anew. Each writes its
    curve to NAME-seedN.csv as it goes and its result to NAME-seedN.json. Any setting of our agent can be changed, as in
    --agent.planner.horizon 4.

    Examples:
      jepa-rl benchmark minigrid --quick
      jepa-rl benchmark minigrid --tasks DoorKey-5x5 Empty-8x8 --algos ppo dqn --seeds 5 --out runs/baselines
      jepa-rl benchmark minigrid --unseen --seeds 1
      jepa-rl benchmark minigrid --preset minigrid-pixels --tasks DoorKey-5x5 --device cuda
      jepa-rl benchmark minigrid --render
    """

    tasks: tuple[str, ...] | None = None
    """Ids of MiniGrid, in full or short; by default those of the benchmark, or with --unseen the others. Tasks of neither
    get 200,000 steps with an evaluation every 10,000."""
    unseen: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Tasks on which no setting of our preset was chosen, with results and a page of their own."""
    algos: tuple[Algorithm, ...] | None = None
    """Algorithms to run; by default all, and jepa alone with minigrid-pixels, whose pictures the baselines do not read."""
    seeds: int = SEEDS
    """Seeds of every task and algorithm."""
    preset: str = "minigrid"
    """Settings of our agent."""
    device: str = "cpu"
    """Where our agent trains and acts: cpu, cuda or auto. The baselines always take the CPU."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """DoorKey-5x5 alone, one seed, 9,000 steps: a few minutes on two cores."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    rest, agent_options = split_agent_options(arguments)
    args = tyro.cli(MiniGridArgs, prog="jepa-rl benchmark minigrid", args=rest)
    env = preset(args.preset).env
    if args.quick and args.unseen:
        raise ValueError("--quick runs one task of the benchmark's own, none of --unseen; give one of the two")
    if env and args.unseen:
        raise ValueError(f"--unseen has no page for the pictures of the preset {args.preset}: name the tasks with --tasks")
    kept, described = PIXEL_PLACES if env else UNSEEN_PLACES if args.unseen else PLACES
    out, page = args.places(kept, described)
    names = args.tasks or tuple(each.name for each in (UNSEEN_TASKS if args.unseen else TASKS))
    algorithms = args.algos or (("jepa",) if env else ALGORITHMS)
    if env and set(algorithms) != {"jepa"}:
        raise ValueError(f"the baselines do not read the pictures of the preset {args.preset}; --algos must be jepa alone")
    if not args.render:
        grid = cells(
            [QUICK] if args.quick else [task(name) for name in names],
            algorithms,
            1 if args.quick else args.seeds,
            preset=args.preset,
            agent=overridden(preset(args.preset).agent, agent_options) if "jepa" in algorithms else None,
            episodes=QUICK_EPISODES if args.quick else EPISODES,
            env=env,
            device=str(existing_device(args.device).type),
        )
        measure = functools.partial(train_and_measure, out=out.resolve())
        run_grid(grid, measure, out, args.jobs, args.backend, VERSION)
    written = render(out, page)
    print(f"{terminal_table(Results.load(out))}\n\nwrote {written}")
