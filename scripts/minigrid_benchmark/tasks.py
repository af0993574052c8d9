"""What is run: tasks with their budgets, algorithms, and the cells of the grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, get_args

from jepa_rl.agent import AgentConfig
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.benchmark_results import ComparedTask
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.minigrid_benchmark.baselines import BASELINES

Algorithm = Literal["jepa", "ppo", "dqn"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

PREFIX, SUFFIX = "MiniGrid-", "-v0"
EPISODES = 50  # held-out ones per evaluation and way of acting
SEEDS = 3
QUICK_EPISODES = 20


class _Named(Protocol):
    @property
    def env_id(self) -> str: ...
    @property
    def name(self) -> str: ...


NamedTask = TypeVar("NamedTask", bound=_Named)


def short_name(env_id: str) -> str:
    """The id without what MiniGrid's ids share, and without a namespace."""
    return env_id.rpartition("/")[2].removeprefix(PREFIX).removesuffix(SUFFIX)


@dataclass(frozen=True)
class Task(ComparedTask):
    """An environment with its budgets; default actions, step limit and rewards."""

    @property
    def name(self) -> str:
        """As in tables."""
        return short_name(self.env_id)

    def for_ours(self) -> Task:
        """The task with our agent's budget as the only one."""
        ours = self.budget("jepa")
        return Task(self.env_id, ours.env_steps, ours.eval_every)


# Until a task is solved, the sampled half of an evaluation acts for 50 step limits (100 to 640 steps): as long as thousands
# of training steps. Hence no more than 25 evaluations. A step of our agent takes as long as tens of PPO's, because there is
# an update in each. FourRooms alone is judged after as many steps as PPO has.
TASKS = (
    Task("MiniGrid-Empty-8x8-v0", 40_000, 2_000, ours=(4_000, 500)),
    Task("MiniGrid-DoorKey-5x5-v0", 60_000, 2_500, ours=(6_000, 500)),
    Task("MiniGrid-DoorKey-6x6-v0", 200_000, 8_000, ours=(12_000, 1_000)),
    Task("MiniGrid-DoorKey-8x8-v0", 400_000, 20_000, ours=(40_000, 4_000)),
    Task("MiniGrid-SimpleCrossingS9N1-v0", 150_000, 6_000, ours=(12_000, 1_000)),
    Task("MiniGrid-Dynamic-Obstacles-5x5-v0", 150_000, 6_000, ours=(12_000, 1_000)),
    Task("MiniGrid-FourRooms-v0", 300_000, 12_000, ours=(300_000, 20_000)),
)
# From other families of MiniGrid: no setting of our preset was chosen by a run on these.
UNSEEN_TASKS = tuple(
    Task(f"MiniGrid-{name}-v0", 200_000, 10_000, ours=(20_000, 2_000))
    for name in (
        "Empty-Random-6x6",
        "DistShift1",
        "LavaGapS7",
        "LavaCrossingS9N1",
        "MultiRoom-N2-S4",
        "Unlock",
        "UnlockPickup",
        "RedBlueDoors-6x6",
        "KeyCorridorS3R1",
        "MemoryS7",
    )
)
ONE_START = frozenset({"MiniGrid-Empty-8x8-v0", "MiniGrid-DistShift1-v0"})  # every episode begins alike
QUICK = Task("MiniGrid-DoorKey-5x5-v0", 9_000, 1_500)
DEFAULT_BUDGET = 200_000, 10_000


def task(name: str) -> Task:
    """The task of an id, or of its short name such as DoorKey-5x5; one that is not listed here gets the default budget.

    Raises ValueError for an id that is not registered, naming near ones.
    """
    env_id = name if name.startswith(PREFIX) else f"{PREFIX}{name}{SUFFIX}"
    for known in (*TASKS, *UNSEEN_TASKS):
        if known.env_id == env_id:
            return known
    make_env(env_id).close()
    return Task(env_id, *DEFAULT_BUDGET)


def known_task(name: str, tasks: Sequence[NamedTask]) -> NamedTask:
    """The one of ``tasks`` with this id or short name; ValueError where there is none."""
    for known in tasks:
        if name in (known.env_id, known.name):
            return known
    raise ValueError(f"unknown task {name!r}; known are {', '.join(each.name for each in tasks)}")


def cells(
    tasks: Sequence[Task],
    algorithms: Sequence[Algorithm],
    seeds: int,
    *,
    preset: str,
    agent: AgentConfig | None,
    episodes: int,
    env: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> list[Cell]:
    """One cell per task, algorithm and seed; the first seed of everything comes first.

    Only "jepa" needs ``agent``; ``env``, keyword arguments of the environment, and ``device`` are its own too.
    """
    settings: dict[str, dict[str, Any]] = {name: BASELINES[name].settings for name in BASELINES}
    if agent is not None:
        settings["jepa"] = {"preset": preset, "agent": dataclasses.asdict(agent)}
        settings["jepa"] |= ({"env": dict(env)} if env else {}) | ({"device": device} if device != "cpu" else {})
    return [
        {
            "name": f"{chosen.name}-{algorithm}",
            "seed": seed,
            "env_id": chosen.env_id,
            "algo": algorithm,
            "env_steps": chosen.budget(algorithm).env_steps,
            "eval_every": chosen.budget(algorithm).eval_every,
            "episodes": episodes,
            "settings": settings[algorithm],
        }
        for seed in range(seeds)
        for chosen in tasks
        for algorithm in algorithms
    ]


def agent_cells(
    tasks: Sequence[Task],
    slugs: Sequence[str],
    seeds: int,
    *,
    episodes: int,
    settings: Callable[[Task, str], dict[str, Any]],
) -> list[Cell]:
    """One cell of our agent per task, slug and seed; the first seed of everything comes first.

    A slug names a way to set the agent up, is the "algo" of its curves, and ``settings`` says what it is on a task.
    """
    return [
        {
            "name": f"{each.name}-{slug}",
            "seed": seed,
            "env_id": each.env_id,
            "algo": slug,
            "env_steps": each.env_steps,
            "eval_every": each.eval_every,
            "episodes": episodes,
            "settings": settings(each, slug),
        }
        for seed in range(seeds)
        for each in tasks
        for slug in slugs
    ]
