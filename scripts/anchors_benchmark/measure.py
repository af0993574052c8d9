"""One cell: train a variant, follow its success, and ask its final encoder which states it merges."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_rl.agent import JEPAAgent
from jepa_rl.envs.make import make_env
from jepa_rl.envs.tabular import counting_table, minigrid_table
from jepa_rl.scripts.counting_study.factors import counting_images
from jepa_rl.scripts.evaluate import HELDOUT_SEED
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.minigrid_benchmark.measure import follow_agent
from jepa_rl.scripts.minigrid_benchmark.tasks import PREFIX
from jepa_rl.scripts.trained_agents import latents_of
from jepa_rl.world_model.bisimulation import separation_depth
from jepa_rl.world_model.diagnostics import effective_rank
from jepa_rl.world_model.merging import Pairs

LAYOUT_SEED = HELDOUT_SEED  # of the reset whose layout the table is of
IMAGES = 900  # of the counting environment, whose states have any number of observations
MERGE_FRACTIONS = (0.05, 0.1, 0.2)  # of the mean distance; the certificate's is 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Situations:
    """Observations of known states."""

    observation: np.ndarray  # [N, ...]
    state: np.ndarray  # int[N]
    depth: np.ndarray  # int[S, S]; -1 also where two states look the same, which no encoder can tell apart
    states: int  # S
    alike: int  # pairs of states that are not equivalent, but look the same


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's variant, with its curve in ``out``/NAME-seedN.csv; the last evaluation and the representation."""
    agent, followed = follow_agent(cell, out)
    return followed | {"representation": representation(agent, situations(cell["env_id"]))}


def representation(agent: JEPAAgent, known: Situations) -> dict[str, Any]:
    """How many directions the latents of ``known`` span, and which states of it they merge.

    ``merged_pairs`` and ``merged_states`` (states with at least one partner that they should be told from) are by the share
    of the mean distance that counts as near.
    """
    latent = latents_of(agent, known.observation)
    pairs = Pairs(latent.astype(np.float64), known.state, known.depth)
    merged = {fraction: pairs.merged_states(pairs.threshold(fraction)) for fraction in MERGE_FRACTIONS}
    return {
        "effective_rank": effective_rank(latent),
        "states": known.states,
        "alike_pairs": known.alike,
        "separable_pairs": int((pairs.state_depth >= 0).sum()),
        "merged_pairs": {f"{fraction:g}": len(found) for fraction, found in merged.items()},
        "merged_states": {f"{fraction:g}": len(np.unique(np.array(found))) for fraction, found in merged.items()},
    }


@functools.cache
def situations(env_id: str) -> Situations:
    """Of MiniGrid: every state that can be reached in one layout, once. Of counting: held-out images of every count."""
    env = make_env(env_id)
    try:
        if not env_id.startswith(PREFIX):
            table = counting_table(env)
            images = counting_images(functools.partial(make_env, env_id), IMAGES, seed=LAYOUT_SEED)
            depth = separation_depth(table.transition, table.label)
            return Situations(
                observation=images.observation, state=images.count, depth=depth, states=len(table.label), alike=0
            )
        table = minigrid_table(env, seed=LAYOUT_SEED)
    finally:
        env.close()
    assert table.observation is not None
    depth = separation_depth(table.transition, table.label)
    flat = table.observation.reshape(len(table.observation), -1)
    look = np.unique(flat, axis=0, return_inverse=True)[1].reshape(-1)
    alike = (look[:, None] == look) & (depth >= 0)
    return Situations(
        observation=table.observation,
        state=np.arange(len(look)),
        depth=np.where(alike, -1, depth),
        states=len(look),
        alike=int(alike.sum()) // 2,
    )
