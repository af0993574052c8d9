"""The runs of the alignment study: which losses train the encoder, and with which weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jepa_rl.agent import AgentConfig
from jepa_rl.scripts.alignment_study.auxiliaries import AUXILIARIES, REWARD, Auxiliary, auxiliary
from jepa_rl.scripts.counting_study.rows import PLAIN, SETTING, agent_config
from jepa_rl.scripts.grid import Cell
from jepa_rl.world_model.config import Weighting

Loss = Literal["plain", "free"]
"""plain: L_dyn as in the paper; free: divided by the variance of the latents (scale-free)."""

Tasks = Mapping[str, float]
"""The auxiliaries that train the encoder, by slug, and their weights c_p."""

Phase = Literal["early", "late"]

PHASES: dict[Phase, tuple[float, float]] = {"early": (0.01, 0.1), "late": (0.9, 0.99)}  # shares of the updates
SEEDS = 3
BASE_SEEDS = 5  # of the runs that all others are set against
UPDATES = 2_200  # a quarter of the counting study's: the whole grid takes under three hours on two cores
UPDATES_PER_STEP = 0.19
STARTS = 1_000  # environment steps before the first update
STEP = 16  # environments that step at once

WITH_REWARD: dict[str, float] = {REWARD.slug: 1.0}


@dataclass(frozen=True, kw_only=True)
class Base:
    """What an auxiliary is added to, and so what its gain is measured against."""

    slug: str
    name: str
    loss: Loss
    tasks: Tasks
    weights: tuple[float, ...]  # c_p that each auxiliary is added with

    @property
    def added(self) -> tuple[Auxiliary, ...]:
        """The auxiliaries that are added to it, one at a time."""
        return tuple(each for each in AUXILIARIES if each.slug not in self.tasks)

    def with_task(self, slug: str, weight: float) -> Tasks:
        """Its tasks and one more."""
        return {**self.tasks, slug: weight}


# The gradient of the scale-free loss is stronger, so that its weights are higher.
PLAIN_ALONE = Base(slug="plain", name="alone, plain L_dyn", loss="plain", tasks={}, weights=(0.01, 0.1, 1.0, 10.0))
FREE_ALONE = Base(slug="free", name="alone, scale-free L_dyn", loss="free", tasks={}, weights=(1.0, 10.0, 100.0))
BESIDE = Base(
    slug="beside",
    name="beside the reward, scale-free L_dyn",
    loss="free",
    tasks=WITH_REWARD,
    weights=(0.1, 1.0, 10.0, 100.0),
)
BASES = (PLAIN_ALONE, FREE_ALONE, BESIDE)
LOSABLE = (FREE_ALONE, BESIDE)  # where there is something that an auxiliary can harm
# Neither of them the reward: a pair that shares its factor, one that does not, and one half of which says nothing.
PAIRS = (("dense", "parity"), ("count", "position"), ("count", "noise"))
# Beside the reward, with weights that are found instead of given.
AUTOMATIC: tuple[Weighting, ...] = ("uncertainty", "pcgrad")
WEIGHTED = ("count", "position", "color", "network", "shuffled", "noise")
# What dynamics do alone and with the reward, an auxiliary that tells the count, and two that do not.
QUICK: tuple[tuple[Loss, Tasks], ...] = (
    ("plain", {}),
    ("plain", {"count": 1.0}),
    ("plain", {"noise": 1.0}),
    ("free", WITH_REWARD),
    ("free", {**WITH_REWARD, "position": 10.0}),
    ("free", {**WITH_REWARD, "noise": 10.0}),
)


def cell(
    loss: Loss,
    tasks: Tasks,
    seed: int,
    *,
    weighting: Weighting = "fixed",
    watched: bool = False,
) -> Cell:
    """The grid's entry for one training run.

    ``watched``: the heads of all other auxiliaries are trained as well, without a gradient to the encoder.
    """
    losses = [f"{slug}{weight:g}" for slug, weight in tasks.items()] or ["alone"]
    marks = [weighting] * (weighting != "fixed") + ["watched"] * watched
    return {
        "name": "-".join([loss, *losses, *marks]),
        "seed": seed,
        "loss": loss,
        "tasks": dict(tasks),
        "weighting": weighting,
        "watched": watched,
        "steps": STARTS + -(-int(UPDATES / UPDATES_PER_STEP) // STEP) * STEP,
        "agent": dataclasses.asdict(_agent(loss, tasks, weighting, watched)),
    }


def _agent(loss: Loss, tasks: Tasks, weighting: Weighting, watched: bool) -> AgentConfig:
    """The counting study's setting; the reward always has a head, because the planner needs it."""
    setting = agent_config((*SETTING, *(PLAIN if loss == "plain" else ())))
    training = dataclasses.replace(setting.training, updates_per_step=UPDATES_PER_STEP, starts=STARTS)
    reward = dataclasses.replace(
        setting.model.reward, weight=tasks.get(REWARD.slug, 1.0), trains_encoder=REWARD.slug in tasks
    )
    chosen = [auxiliary(slug).config(weight) for slug, weight in tasks.items() if slug != REWARD.slug]
    if watched:
        others = [each for each in AUXILIARIES if each is not REWARD and each.slug not in tasks]
        chosen += [each.config(1.0, trains_encoder=False) for each in others]
    model = dataclasses.replace(setting.model, reward=reward, auxiliaries=tuple(chosen), weighting=weighting)
    return dataclasses.replace(setting, training=training, model=model)


def quick_cells() -> list[Cell]:
    """Six cells of the grid."""
    return [cell(loss, tasks, 0) for loss, tasks in QUICK]


def cells(seeds: int) -> list[Cell]:
    """The whole grid: bases, watched bases, auxiliaries alone, beside the reward, in pairs, automatic weights."""
    grid = [cell(base.loss, base.tasks, seed) for seed in range(max(seeds, BASE_SEEDS)) for base in BASES]
    for seed in range(seeds):
        grid += [cell(base.loss, base.tasks, seed, watched=True) for base in BASES]
        added = [
            (base.loss, base.with_task(each.slug, weight))
            for base in BASES
            for each in base.added
            for weight in base.weights
        ]
        # The reward alone with weight 1 is a base of its own.
        grid += [cell(loss, tasks, seed) for loss, tasks in added if (loss, tasks) != (BESIDE.loss, BESIDE.tasks)]
        grid += [cell(PLAIN_ALONE.loss, dict.fromkeys(pair, 1.0), seed) for pair in PAIRS]
        grid += [
            cell(BESIDE.loss, BESIDE.with_task(slug, 1.0), seed, weighting=weighting)
            for slug in WEIGHTED
            for weighting in AUTOMATIC
        ]
    return grid
