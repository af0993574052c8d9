"""What the noise study trains: tasks with their levels of noise, rows, and the cells of the grid."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

from jepa_rl.agent import AgentConfig, preset
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.train import overridden

SEEDS = 3
REFERENCE = "reference"  # in place of a row: what the theory says of a level, and what random actions achieve
QUICK_SHARE = 0.5  # of the environment steps, and so of the updates


@dataclass(frozen=True, kw_only=True)
class Level:
    """What is shown beside the task, and how well its next value can be told from the present one."""

    slug: str  # names the files of its results
    name: str  # as in tables
    env: dict[str, Any]


def _distractor(slug: str, name: str, variance: float, predictability: float) -> Level:
    knobs = {"distractor_variance": variance, "distractor_predictability": predictability}
    return Level(slug=slug, name=name, env={"distractor": "noise", **knobs})


def _bit(slug: str, name: str, predictability: float) -> Level:
    # As loud as one field of the distractor's loudest level: eight times as many pixels, an eighth of its variance.
    knobs = {"bit_other_target": 5, "bit_variance": 0.00625, "bit_predictability": predictability}
    return Level(slug=slug, name=name, env={"bit": "target", **knobs})


@dataclass(frozen=True, kw_only=True)
class Task:
    """An environment, the setting that all of its rows share, and what can be read from its observations."""

    slug: str
    name: str
    env_id: str
    preset: str
    steps: int  # of the environment, over all of those that run in parallel
    levels: tuple[Level, ...]
    options: tuple[str, ...]  # on top of the preset
    signals: tuple[str, ...]  # factors that control needs, all of them classes
    appearance: tuple[str, ...] = ()  # factors that it does not need and that belong to the task's own observation
    distractor: tuple[str, ...] = ()  # the factor that describes what is shown beside it
    env: dict[str, Any] = field(default_factory=dict)
    depth: int  # weight layers of the encoder
    walk: int = 0  # held-out observations come after 0 to this many random actions
    sampled: bool = False  # success is that of drawn plans; of the best ones else

    def level(self, slug: str) -> Level:
        """The level of this slug."""
        return next(each for each in self.levels if each.slug == slug)


# Random actions: all rows of a seed learn from the same observations. A narrow encoder, for speed. The band beside the
# image would rescale the objects if pixels were divided by the image's maximum. Six objects at most, which are counted
# sooner than eight.
_COUNTING = (
    *("--exploration.kind", "random"),
    *("--replay.capacity", "30000", "--replay.prioritised-fraction", "0.25"),
    *("--model.encoder.contrast", "none", "--model.latent-dim", "128"),
    *("--model.encoder.convolutions", *("32", "4", "4", "0"), *("32", "3", "2", "1"), *("32", "3", "1", "1")),
    *("--model.dynamics.weight", "1", "--model.value.weight", "0", "--model.termination.weight", "0"),
    *("--training.updates-per-step", "0.11", "--planner.horizon", "6"),
)
_MINIGRID = (
    # Each row has its own tasks; nothing but its latents decides.
    *("--model.auxiliaries", "--planner.revisit-cost", "0", "--planner.trace", "1", "--acting-weights", "online"),
    *("--exploration.kind", "random", "--n-envs", "8"),
    *BEFORE_NOVELTY,
    *("--model.dynamics.target", "same", "--model.dynamics.scale-free"),
    *("--model.value.no-trains-encoder", "--model.termination.no-trains-encoder"),
    *("--training.updates-per-step", "0.125", "--training.batch-size", "32", "--training.transitions", "3"),
    *("--training.schedule", "cosine"),
)
_APPEARANCE = ("color", "shape", "position")

TASKS = (
    Task(
        slug="counting",
        name="counting",
        env_id="jepa_rl/Counting-v0",
        preset="counting",
        steps=20_000,
        levels=(
            _distractor("none", "none", 0.0, 0.0),
            _distractor("fresh-loud", "fresh 0.05", 0.05, 0.0),
            _distractor("half-loud", "half 0.05", 0.05, 0.5),
            _distractor("frozen-faint", "frozen 0.0015", 0.0015, 1.0),
            _distractor("frozen-middle", "frozen 0.0125", 0.0125, 1.0),
            _distractor("frozen-loud", "frozen 0.05", 0.05, 1.0),
        ),
        options=_COUNTING,
        signals=("count",),
        appearance=_APPEARANCE,
        distractor=("distractor",),
        env={"max_objects": 6, "target": 3},
        depth=4,
    ),
    Task(
        slug="minigrid",
        name="Empty-Random-5x5",
        env_id="MiniGrid-Empty-Random-5x5-v0",
        preset="minigrid",
        steps=16_000,
        levels=(
            _distractor("none", "none", 0.0, 0.0),
            _distractor("fresh-loud", "fresh 0.05", 0.05, 0.0),
            _distractor("half-loud", "half 0.05", 0.05, 0.5),
            _distractor("frozen-faint", "frozen 0.005", 0.005, 1.0),
            _distractor("frozen-loud", "frozen 0.05", 0.05, 1.0),
        ),
        options=_MINIGRID,
        signals=("cell", "direction"),
        distractor=("symbols",),
        env={"max_steps": 20},  # instead of 100, in which chance gets far
        depth=2,
        walk=12,
        sampled=True,
    ),
    Task(
        slug="bit",
        name="exogenous bit",
        env_id="jepa_rl/Counting-v0",
        preset="counting",
        steps=20_000,
        levels=(
            _bit("fresh", "a fresh bit every step", 0.0),
            _bit("persistent", "one bit per episode", 1.0),
        ),
        options=_COUNTING,
        signals=("bit", "count"),
        appearance=_APPEARANCE,
        env={"max_objects": 6, "target": 1},
        depth=4,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to train the encoder. A reward head is there in every row, for the planner."""

    slug: str
    name: str
    about: str
    options: tuple[str, ...] = ()  # on top of the task's


DETACHED = ("--model.reward.no-trains-encoder",)
PLAIN = ("--model.dynamics.no-scale-free",)
ROWS = (
    Row(slug="reward", name="reward 100 %", about="P-JEPA: dynamics and reward train the encoder, all rewards are known"),
    Row(
        slug="reward-10",
        name="reward 10 %",
        about="the reward of a tenth of the observations is known",
        options=("--model.reward.label-fraction", "0.1"),
    ),
    Row(
        slug="reward-2",
        name="reward 2 %",
        about="the reward of a fiftieth is known",
        options=("--model.reward.label-fraction", "0.02"),
    ),
    Row(slug="dynamics", name="reward 0 %", about="dynamics alone: no label trains the encoder", options=DETACHED),
    Row(
        slug="ema",
        name="EMA",
        about="dynamics alone, with an EMA copy of the encoder as target",
        options=(*DETACHED, "--model.dynamics.target", "ema"),
    ),
    Row(
        slug="vicreg",
        name="VICReg",
        about="plain L_dyn with variance and covariance penalties, weights 25, 25, 1 (arXiv:2105.04906)",
        options=(
            *(*DETACHED, *PLAIN, "--model.dynamics.weight", "25"),
            *("--model.regularizer.variance", "25", "--model.regularizer.covariance", "1"),
        ),
    ),
    Row(
        slug="sigreg",
        name="SIGReg",
        about="plain L_dyn with weight 0.95 and SIGReg with 0.05 (arXiv:2511.08544), on 256 random directions per update",
        options=(
            *(*DETACHED, *PLAIN, "--model.dynamics.weight", "0.95"),
            *("--model.regularizer.sigreg", "0.05", "--model.regularizer.sigreg-directions", "256"),
        ),
    ),
    Row(
        slug="inverse",
        name="inverse",
        about="dynamics, and the action between two latents as auxiliary",
        options=(*DETACHED, "--model.auxiliaries", "inverse"),
    ),
    Row(
        slug="reconstruction",
        name="reconstruction",
        about="the encoder learns from reconstructing the observation alone; dynamics and reward read its latents; half "
        "the batch, because the decoder takes most of the time",
        options=(
            *(*DETACHED, "--model.dynamics.no-trains-encoder", "--model.auxiliaries", "reconstruction"),
            *("--training.batch-size", "16"),
        ),
    ),
    Row(
        slug="untrained",
        name="untrained",
        about="no update at all: what can be read from an encoder that has learned nothing",
        options=(*DETACHED, "--training.updates-per-step", "1e-9"),
    ),
)
REWARD_ROWS = ("reward", "reward-10", "reward-2")
REWARD_FREE = ("dynamics", "ema", "vicreg", "sigreg", "inverse")  # predictive, without a label in the encoder

QUICK = (
    *(("counting", level, row) for level in ("fresh-loud", "frozen-loud") for row in ("reward", "ema", "reconstruction")),
    *(("minigrid", "frozen-loud", row) for row in ("reward", "reconstruction")),
    *(("bit", level, row) for level in ("fresh", "persistent") for row in ("reward-2", "ema")),
)


def task(slug: str) -> Task:
    """The task of this slug."""
    return next(each for each in TASKS if each.slug == slug)


def row(slug: str) -> Row:
    """The row of this slug."""
    return next(each for each in ROWS if each.slug == slug)


def cell(chosen: Task, level: Level, how: Row, seed: int, quick: bool = False) -> Cell:
    """The grid's entry for one training run; ``quick`` trains for a part of the time."""
    config = agent_config(chosen.preset, (*chosen.options, *how.options))
    return {
        "name": f"{'quick-' if quick else ''}{chosen.slug}-{level.slug}-{how.slug}",
        "seed": seed,
        "task": chosen.slug,
        "level": level.slug,
        "row": how.slug,
        "env": {**chosen.env, **level.env},
        "steps": int(chosen.steps * (QUICK_SHARE if quick else 1)),
        "quick": quick,
        "agent": dataclasses.asdict(config),
    }


def reference_cell(chosen: Task, level: Level) -> Cell:
    """The entry of a level that trains nothing."""
    return {
        "name": f"{chosen.slug}-{level.slug}-{REFERENCE}",
        "seed": 0,
        "task": chosen.slug,
        "level": level.slug,
        "row": REFERENCE,
        "env": {**chosen.env, **level.env},
        "steps": 0,
        "quick": False,
        "agent": None,
    }


@functools.cache
def agent_config(name: str, options: tuple[str, ...]) -> AgentConfig:
    """A preset with options of the command line."""
    return overridden(preset(name).agent, options)


def cells(seeds: int) -> list[Cell]:
    """The whole grid, the first seed of everything first."""
    grid = [reference_cell(chosen, level) for chosen in TASKS for level in chosen.levels]
    for seed in range(seeds):
        grid += [cell(chosen, level, how, seed) for chosen in TASKS for level in chosen.levels for how in ROWS]
    return grid


def quick_cells() -> list[Cell]:
    """A few rows at the levels that set them apart, one seed, trained for a part of the time."""
    levels = dict.fromkeys((chosen, level) for chosen, level, _ in QUICK)
    grid = [reference_cell(task(chosen), task(chosen).level(level)) for chosen, level in levels]
    return grid + [cell(task(name), task(name).level(level), row(how), 0, quick=True) for name, level, how in QUICK]
