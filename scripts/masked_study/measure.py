"""One cell of the study of masked prediction: train, then measure the final weights on unseen images."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from jepa_rl.agent import AgentConfig, JEPAAgent, preset
from jepa_rl.agent.config import from_dict
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.counting_study.factors import counting_images, probe_factors
from jepa_rl.scripts.counting_study.rows import TARGET
from jepa_rl.scripts.evaluate import HELDOUT_SEED, evaluate_agent
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.trained_agents import kept_or_trained, latents_of
from jepa_rl.world_model import diagnostics

EPISODES = 200
IMAGES = 2_000


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's agent, keep it in ``out``/agents, and return every figure of the study.

    An agent that is kept there is measured without being trained again.
    """
    factory = functools.partial(make_env, preset("counting").env_id, {"target": TARGET})

    def train() -> JEPAAgent:
        agent = JEPAAgent(from_dict(AgentConfig, cell["agent"]), factory, seed=cell["seed"], device="cpu")
        return agent.learn(cell["steps"])

    agent = kept_or_trained(cell, out / "agents" / f"{cell['name']}-seed{cell['seed']}.zip", train)
    images = counting_images(factory, IMAGES, seed=2 * HELDOUT_SEED + cell["seed"])
    latent = latents_of(agent, images.observation)
    probes = probe_factors(latent, images, cell["seed"])
    return {
        "updates": agent._n_updates,
        "env_steps": agent.num_timesteps,
        "train_seconds": agent.wall_seconds,
        "accuracy": diagnostics.heldout_accuracy(latent, images.count),
        "ari": diagnostics.cluster_agreement(latent, images.count, len(np.unique(images.count))),
        "effective_rank": diagnostics.effective_rank(latent),
        "probes": {name: dataclasses.asdict(found) for name, found in probes.items()},
        "success": evaluate_agent(agent, factory, episodes=EPISODES, seed=0).success_rate,
    }
