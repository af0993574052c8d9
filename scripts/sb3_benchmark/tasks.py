"""What is run: tasks with their budgets, the ways in which PPO gets an encoder, and the cells of the grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jepa_rl.agent import preset
from jepa_rl.scripts.benchmark_results import Budget
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY
from jepa_rl.scripts.grid import Cell, require_known
from jepa_rl.scripts.minigrid_benchmark.baselines import PPO_SETTINGS
from jepa_rl.scripts.minigrid_benchmark.tasks import known_task, short_name
from jepa_rl.scripts.train import overridden

SEEDS = 5
# Those of the MiniGrid benchmark, but for its network: here one layer follows the encoder, whichever it is.
PPO: dict[str, Any] = {name: value for name, value in PPO_SETTINGS.items() if name != "features"} | {"net_arch": [64]}
AUXILIARY_PACE = 0.1  # updates of the world model per environment step: 102 for each of PPO's rollouts of 1,024 steps


@dataclass(frozen=True, kw_only=True)
class Task(Budget):
    """An environment with its budget of environment steps, of which pre-training is a part where there is any."""

    preset: str  # of the agent that is pre-trained, and of every encoder's architecture
    options: tuple[str, ...] = ()  # on top of the preset
    pretraining_steps: int  # environment steps
    imagined_steps: int = 0  # of PPO in the imagined environment; 0 where it is not trained in one
    horizon: int = 1  # steps of an imagined episode

    @property
    def name(self) -> str:
        """As in tables."""
        return short_name(self.env_id)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pretraining_steps", "imagined_steps"):
            steps = getattr(self, name)
            if steps % self.eval_every:
                raise ValueError(f"{self.env_id}: {name} must be a multiple of the evaluation interval, got {steps}")
        if not 0 < self.pretraining_steps < self.env_steps:
            raise ValueError(
                f"{self.env_id}: pretraining_steps must lie between 0 and {self.env_steps}, got {self.pretraining_steps}"
            )


TASKS = (
    Task("MiniGrid-DoorKey-5x5-v0", 60_000, 3_000, preset="minigrid", options=BEFORE_NOVELTY, pretraining_steps=6_000),
    Task(
        "jepa_rl/Counting-v0",
        100_000,
        5_000,
        preset="counting",
        pretraining_steps=20_000,
        imagined_steps=100_000,
        horizon=4,
    ),
)
QUICK = (
    dataclasses.replace(TASKS[0], env_steps=9_000, eval_every=1_500, pretraining_steps=3_000),
    dataclasses.replace(TASKS[1], env_steps=12_000, eval_every=2_000, pretraining_steps=6_000, imagined_steps=12_000),
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Where PPO's features come from, and what it trains in."""

    slug: str  # names the files of its results, and is the "algo" of its curves
    about: str
    pretrained: bool = False  # whether it begins with the agent of the task's pre-training
    imagined: bool = False  # whether it trains in that agent's LatentEnv alone


VARIANTS = (
    Variant(slug="plain", about="a fresh encoder of the same architecture, trained by PPO's loss alone"),
    Variant(slug="frozen", about="the pre-trained agent's encoder, which stays as it is", pretrained=True),
    Variant(slug="fine-tuned", about="the pre-trained agent's encoder, which PPO's loss trains on", pretrained=True),
    Variant(
        slug="auxiliary",
        about="a fresh encoder, trained by PPO's loss and, from PPO's own rollouts, by the world model's "
        "(`JEPAAuxiliaryCallback`)",
    ),
    Variant(
        slug="imagined",
        about="PPO on latents, trained in the pre-trained agent's imagined environment (`LatentEnv`) and in nothing else",
        pretrained=True,
        imagined=True,
    ),
)
PLAIN, IMAGINED = VARIANTS[0].slug, VARIANTS[-1].slug
OTHERS = tuple(variant.slug for variant in VARIANTS[1:-1])  # what is compared with plain along the way
SLUGS = tuple(variant.slug for variant in VARIANTS)


def task(name: str) -> Task:
    """The task of an id or of its short name; ValueError for one that is not among ``TASKS``."""
    return known_task(name, TASKS)


def cells(
    tasks: Sequence[Task], slugs: Sequence[str], seeds: int, *, episodes: int, extra: Sequence[str] = ()
) -> list[Cell]:
    """One cell per task, variant that it has, and seed; the first seed of everything comes first.

    ``extra`` options change the agents' presets. Raises ValueError for a slug that is no variant's.
    """
    require_known("variant", slugs, SLUGS)
    agents = {each: dataclasses.asdict(overridden(preset(each.preset).agent, (*each.options, *extra))) for each in tasks}
    return [
        _cell(each, variant, seed, episodes, agents[each])
        for seed in range(seeds)
        for each in tasks
        for variant in VARIANTS
        if variant.slug in slugs and (each.imagined_steps or not variant.imagined)
    ]


def _cell(chosen: Task, variant: Variant, seed: int, episodes: int, agent: dict[str, Any]) -> Cell:
    before = chosen.pretraining_steps if variant.pretrained else 0
    settings: dict[str, Any] = {"preset": chosen.preset, "agent": agent, "ppo": PPO, "pretraining_steps": before}
    if variant.slug == "auxiliary":
        settings["updates_per_step"] = AUXILIARY_PACE
    if variant.imagined:
        settings["horizon"] = chosen.horizon
    return {
        "name": f"{chosen.name}-{variant.slug}",
        "seed": seed,
        "env_id": chosen.env_id,
        "algo": variant.slug,
        "env_steps": before if variant.imagined else chosen.env_steps,  # of the environment, pre-training included
        "own_steps": chosen.imagined_steps if variant.imagined else chosen.env_steps - before,  # of PPO
        "eval_every": chosen.eval_every,  # steps of PPO
        "episodes": episodes,
        "settings": settings,
    }


def pretraining(cell: Cell) -> Cell | None:
    """The cell of the agent that a cell begins with: one for all of a task and seed. None where it begins afresh."""
    settings = cell["settings"]
    if not settings["pretraining_steps"]:
        return None
    return {
        "name": f"{cell['name'].removesuffix('-' + cell['algo'])}-pretrained",
        "seed": cell["seed"],
        "env_id": cell["env_id"],
        "env_steps": settings["pretraining_steps"],
        "episodes": cell["episodes"],
        "settings": {"preset": settings["preset"], "agent": settings["agent"]},
    }
