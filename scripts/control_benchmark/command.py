"""``jepa-rl benchmark control``: every task, algorithm and seed, resumable, and the page that reports it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.agent import preset
from jepa_rl.scripts.control_benchmark.measure import train_and_measure
from jepa_rl.scripts.control_benchmark.page import render, terminal_table
from jepa_rl.scripts.control_benchmark.summary import Results
from jepa_rl.scripts.control_benchmark.tasks import (
    ALGORITHMS,
    EPISODES,
    QUICK,
    QUICK_SEEDS,
    SEEDS,
    TASKS,
    Algorithm,
    Task,
    cells,
    task,
)
from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.grid_args import GridArgs
from jepa_rl.scripts.options import split_agent_options
from jepa_rl.scripts.train import overridden

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/control")
PAGE = Path("docs/control.md")


@dataclass(frozen=True, kw_only=True)
class ControlArgs(GridArgs):
    """Our agent, SAC, PPO and DQN on control from vectors: steps and seconds until a return holds, on held-out episodes.

    A run that is finished is not run again, so that the command can be stopped and started; a run of our agent that was
    killed goes on from its last evaluation, which is kept in NAME-seedN.checkpoint.zip, others begin anew. Each writes its
    curve to NAME-seedN.csv as it goes and its result to NAME-seedN.json. Any setting of our agent can be changed, as in
    --agent.planner.horizon 4. SAC runs where actions are those of a Box, DQN where they are finite.

    Examples:
      jepa-rl benchmark control --quick
      jepa-rl benchmark control --tasks Pendulum CartPole --algos jepa sac dqn --seeds 3 --out runs/control
      jepa-rl benchmark control --render
    """

    tasks: tuple[str, ...] = ()
    """Ids, or those of the benchmark without their version; by default all of it whose packages are installed (pip install
    'jepa-rl[box2d,mujoco]'). Other ids get 50,000 steps with an evaluation every 2,500."""
    algos: tuple[Algorithm, ...] = ALGORITHMS
    """Algorithms to run."""
    seeds: int = SEEDS
    """Seeds of every task and algorithm."""
    preset: str = "control"
    """Settings of our agent."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Pendulum alone, one seed, 5,000 steps: a few minutes on two cores."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    rest, agent_options = split_agent_options(arguments)
    args = tyro.cli(ControlArgs, prog="jepa-rl benchmark control", args=rest)
    out, page = args.places(RESULTS, PAGE)
    if not args.render:
        grid = cells(
            [QUICK] if args.quick else chosen_tasks(args.tasks),
            args.algos,
            QUICK_SEEDS if args.quick else args.seeds,
            preset=args.preset,
            agent=overridden(preset(args.preset).agent, agent_options) if "jepa" in args.algos else None,
            episodes=EPISODES,
        )
        if not grid:
            raise ValueError(f"none of --algos {' '.join(args.algos)} serves the actions of the chosen tasks")
        measure = functools.partial(train_and_measure, out=out.resolve())
        run_grid(grid, measure, out, args.jobs, args.backend, VERSION)
    written = render(out, page)
    print(f"{terminal_table(Results.load(out))}\n\nwrote {written}")


def chosen_tasks(names: Sequence[str]) -> list[Task]:
    """The tasks of these names, or all whose packages are installed, saying which are left out."""
    if names:
        return [task(name) for name in names]
    for package, installation in {each.needs: each.installation for each in TASKS if not each.installed}.items():
        missing = ", ".join(each.name for each in TASKS if each.needs == package)
        print(f"left out without {package} ({installation}): {missing}")
    return [each for each in TASKS if each.installed]
