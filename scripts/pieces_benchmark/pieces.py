"""What is run: the pieces of the minigrid preset, tasks, and the cells of the grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from jepa_rl.agent import preset
from jepa_rl.scripts.grid import Cell, require_known
from jepa_rl.scripts.minigrid_benchmark.tasks import Task, agent_cells
from jepa_rl.scripts.train import overridden

SEEDS = 3
PRESET = "minigrid"
TASKS = (
    Task("MiniGrid-DoorKey-5x5-v0", 6_000, 1_000),
    Task("MiniGrid-SimpleCrossingS9N1-v0", 9_000, 1_500),
)
QUICK_TASK = Task("MiniGrid-DoorKey-5x5-v0", 4_000, 1_000)
QUICK = ("preset", "no-memory")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of the preset and what takes its place."""

    slug: str  # names the files of its results, and is the "algo" of its curves
    name: str  # as in tables
    instead: str  # what the agent does without it
    options: tuple[str, ...]  # on top of the preset


PIECES = (
    Piece(slug="preset", name="the preset", instead="", options=()),
    Piece(
        slug="no-memory",
        name="memory in planning",
        instead="plans may lead back to what the episode has seen",
        options=("--planner.revisit-cost", "0"),
    ),
    Piece(
        slug="no-novelty",
        name="novelty in imagination",
        instead="random actions, whose share falls from 1 to 0.1 from step 1,000 to 5,000",
        options=(
            *("--exploration.kind", "planner", "--exploration.warmup", "1000"),
            *("--exploration.epsilon-start", "1", "--exploration.epsilon-steps", "4000"),
        ),
    ),
    Piece(
        slug="values-of-reward-alone",
        name="values that count what is new",
        instead="values of the environment's reward alone",
        options=("--model.value.novelty", "0"),
    ),
    Piece(
        slug="more-seeking",
        name="plans that explore",
        instead="up to eight tenths of the steps seek novelty also after the first reward, fewer as more episodes succeed",
        options=("--exploration.epsilon-start", "0.8"),
    ),
    Piece(
        slug="no-random-auxiliary",
        name="random auxiliary",
        instead="reward, value, termination and dynamics alone train the encoder",
        options=("--model.auxiliaries",),
    ),
    Piece(
        slug="no-search",
        name="search",
        instead="the action of the highest Q",
        options=("--planner.kind", "value", "--planner.horizon", "1"),
    ),
    Piece(
        slug="leaves-alone",
        name="plans judged at every depth",
        instead="the value of the last latent alone closes a plan",
        options=("--planner.trace", "1"),
    ),
    Piece(
        slug="weights-as-trained",
        name="plans with the slow copy",
        instead="the model as trained acts",
        options=("--acting-weights", "online"),
    ),
    Piece(
        slug="no-outcomes",
        name="values of at least an episode's outcome",
        instead="lambda-returns alone",
        options=("--model.value.no-at-least-outcome",),
    ),
    Piece(slug="no-gap", name="action gap", instead="plain targets", options=("--model.value.gap", "0")),
    Piece(
        slug="rewarded-windows",
        name="uniform batches",
        instead="a quarter of each batch for windows with a reward",
        options=("--replay.prioritised-fraction", "0.25"),
    ),
    Piece(
        slug="rewards-as-paid",
        name="sign of the reward",
        instead="MiniGrid's reward, which falls with the time taken",
        options=("--replay.rewards", "plain"),
    ),
    Piece(
        slug="fewer-updates",
        name="an update per step",
        instead="one in four steps",
        options=("--training.updates-per-step", "0.25"),
    ),
    Piece(
        slug="convolutions",
        name="perceptron over symbols",
        instead="embeddings and two convolutions",
        options=("--model.encoder.grid-encoder", "convolutional"),
    ),
)
SLUGS = tuple(piece.slug for piece in PIECES)


def cells(
    tasks: Sequence[Task], slugs: Sequence[str], seeds: int, *, episodes: int, extra: Sequence[str] = ()
) -> list[Cell]:
    """One cell per task, piece and seed; the first seed of everything comes first. ``extra`` options go to all.

    Raises ValueError for a slug that is no piece's.
    """
    require_known("piece", slugs, SLUGS)
    agents = {
        piece.slug: dataclasses.asdict(overridden(preset(PRESET).agent, (*piece.options, *extra)))
        for piece in PIECES
        if piece.slug in slugs
    }
    return agent_cells(
        tasks, list(agents), seeds, episodes=episodes, settings=lambda _, slug: {"preset": PRESET, "agent": agents[slug]}
    )
