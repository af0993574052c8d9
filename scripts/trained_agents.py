"""The agents of a grid's cells: trained once, kept in a file, and asked for their latents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jepa_rl.agent import JEPAAgent
from jepa_rl.agent.episodes import EnvLike
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.kept_cells import todays_form

ENCODED = 250  # observations at a time


def kept_or_trained(cell: Cell, file: Path, train: Callable[[], JEPAAgent], env: EnvLike | None = None) -> JEPAAgent:
    """The agent that ``file`` keeps if it is this cell's, else what ``train`` gives, kept there.

    The replay is kept only with ``env``, the agent's environments.
    """
    settings = json.loads(json.dumps(cell))  # as a file gives it back: lists for tuples
    if file.exists():
        agent = JEPAAgent.load(file, env, device="cpu")
        # The file of another setting would be measured as this one otherwise.
        if todays_form(agent.attachments["cell"]) == settings:
            return agent
    agent = train()
    agent.attachments["cell"] = settings
    file.parent.mkdir(parents=True, exist_ok=True)
    agent.save(file, exclude={"replay"} if env is None else None)
    return agent


def latents_of(agent: JEPAAgent, observation: np.ndarray) -> np.ndarray:
    """Latents float32[N, D] of observations [N, ...]; FloatingPointError where one is not finite."""
    parts = [agent.encode(observation[start : start + ENCODED]) for start in range(0, len(observation), ENCODED)]
    latent = np.concatenate(parts)
    if not np.isfinite(latent).all():
        raise FloatingPointError("the encoder gives latents that are not finite")
    return latent
