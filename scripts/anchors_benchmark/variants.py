"""What is run: who trains the encoder, on which tasks, and the cells of the grid."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jepa_rl.agent import AgentConfig, preset
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY
from jepa_rl.scripts.grid import Cell, require_known
from jepa_rl.scripts.minigrid_benchmark.tasks import PREFIX, Task, agent_cells, known_task
from jepa_rl.scripts.train import overridden

SEEDS = 5
TASKS = (
    Task("MiniGrid-DoorKey-5x5-v0", 6_000, 1_000),
    Task("MiniGrid-DoorKey-6x6-v0", 12_000, 2_000),
    Task("MiniGrid-SimpleCrossingS9N1-v0", 9_000, 1_500),
    Task("jepa_rl/Counting-v0", 50_000, 5_000),
)
QUICK_TASK = Task("MiniGrid-DoorKey-5x5-v0", 4_500, 1_500)
QUICK = ("joint", "dynamics-only", "auxiliaries-only")

# The target branch is the minigrid preset's, on every task, and there are no further auxiliary tasks but a variant's own.
# Plans rest on what is imagined alone, by the weights as trained: an encoder that serves them badly cannot hide behind Q at
# the root. Everything else is the preset of the task.
SETTING = (
    *("--model.dynamics.target", "ema", "--model.auxiliaries"),
    *("--planner.trace", "1", "--acting-weights", "online"),
)
TASK_HEADS = ("reward", "value", "termination")
OPEN = tuple(f"--model.{head}.trains-encoder" for head in TASK_HEADS)
RANDOM = ("--model.auxiliaries", "random_linear:size=64")
CLOSED = tuple(f"--model.{head}.no-trains-encoder" for head in TASK_HEADS)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One answer to who trains the encoder."""

    slug: str  # names the files of its results, and is the "algo" of its curves
    name: str  # as in tables
    about: str
    options: tuple[str, ...]  # on top of the preset and SETTING


VARIANTS = (
    Variant(
        slug="joint",
        name="(a) joint",
        about="dynamics, reward, value and termination train the encoder together",
        options=OPEN,
    ),
    Variant(
        slug="dynamics-only",
        name="(b) dynamics only",
        about="L_dyn with an EMA target trains the encoder; all heads read detached latents",
        options=CLOSED,
    ),
    Variant(
        slug="vicreg",
        name="(c) dynamics + VICReg",
        about="as (b), but that both branches of a plain L_dyn are trained, and VICReg's variance and covariance penalties "
        "keep the latents apart, with the published ratio of weights 25 : 25 : 1",
        options=(
            *CLOSED,
            *("--model.dynamics.target", "same", "--model.dynamics.no-scale-free", "--model.dynamics.weight", "1"),
            *("--model.regularizer.variance", "1", "--model.regularizer.covariance", "0.04"),
        ),
    ),
    Variant(
        slug="auxiliaries-only",
        name="(d) auxiliaries only",
        about="reward, value and termination train the encoder; the dynamics are learned on detached latents, so that "
        "none of the tasks trains it through imagined ones",
        options=(*OPEN, "--model.dynamics.no-trains-encoder"),
    ),
    Variant(
        slug="random-auxiliary",
        name="(e) random auxiliary",
        about="as (a), but that 64 frozen random linear functions of the observation stand in for reward, value and "
        "termination, whose heads read detached latents",
        options=(*CLOSED, *RANDOM),
    ),
    Variant(
        slug="constant-label",
        name="(f) constant label",
        about="as (e), with a label that is 1 everywhere",
        options=(*CLOSED, "--model.auxiliaries", "constant"),
    ),
    Variant(
        slug="no-planner",
        name="(g) no planner",
        about="trained as (a), acting by argmax Q(z, a), in training as in evaluation",
        options=(*OPEN, "--planner.kind", "value", "--planner.horizon", "1"),
    ),
    Variant(
        slug="both",
        name="(h) joint + random",
        about="as (a), with the random auxiliary of (e) beside the others, as in the minigrid preset",
        options=(*OPEN, *RANDOM),
    ),
)
NAMES = {variant.slug: variant.name for variant in VARIANTS}


def task(name: str) -> Task:
    """The task of an id or of its short name; ValueError for one that is not among ``TASKS``."""
    return known_task(name, TASKS)


def preset_of(task: Task) -> str:
    """The preset whose settings the variants change."""
    return "minigrid" if task.env_id.startswith(PREFIX) else "counting"


@functools.cache
def agent_config(preset_name: str, options: tuple[str, ...]) -> AgentConfig:
    """A preset with a variant's options."""
    return overridden(preset(preset_name).agent, (*SETTING, *options))


def cells(
    tasks: Sequence[Task], slugs: Sequence[str], seeds: int, *, episodes: int, extra: Sequence[str] = ()
) -> list[Cell]:
    """One cell per task, variant and seed; the first seed of everything comes first. ``extra`` options go to all.

    Raises ValueError for a slug that is no variant's.
    """
    require_known("variant", slugs, list(NAMES))
    options = {variant.slug: (*variant.options, *extra) for variant in VARIANTS if variant.slug in slugs}

    def settings(chosen: Task, slug: str) -> dict[str, Any]:
        name = preset_of(chosen)
        before = BEFORE_NOVELTY if name == "minigrid" else ()
        return {"preset": name, "agent": dataclasses.asdict(agent_config(name, (*before, *options[slug])))}

    return agent_cells(tasks, list(options), seeds, episodes=episodes, settings=settings)
