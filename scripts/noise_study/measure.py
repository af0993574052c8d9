"""One cell of the noise study: train, then measure the final weights on observations that training never saw."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from jepa_rl.agent import AgentConfig, JEPAAgent
from jepa_rl.agent.config import from_dict
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.evaluate import HELDOUT_SEED, evaluate_agent
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.noise_study.factors import (
    READERS,
    HeldOut,
    explained_share,
    features_of,
    held_out,
    probe_factor,
    probe_in_noise,
    shown_one_hot,
)
from jepa_rl.scripts.noise_study.prediction import (
    Mode,
    as_observed,
    autoencoded,
    learning_order,
    modes_of,
    random_transitions,
)
from jepa_rl.scripts.noise_study.rows import REFERENCE, Task, task
from jepa_rl.scripts.probes import ProbeKind
from jepa_rl.scripts.trained_agents import kept_or_trained, latents_of
from jepa_rl.world_model import diagnostics, loss_terms

Factory = functools.partial[gym.Env[Any, Any]]

EPISODES = 200
OBSERVATIONS = 3_000
LOSS_WINDOWS = 256  # of the replay, for the loss terms
TRANSITIONS = 6_000  # under random actions, for the theory
NOISES = (0.01, 0.1, 1.0)  # in which the bit is probed as well, in units of the latents' spread
SCALE = 1e-2  # the theory's initial weight; the page says how far the order rests on it
OTHER_SCALES = (1e-1, 1e-3)


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's agent, keep it in ``out``/agents, and return every figure of the study.

    An agent that is kept there is measured without being trained again. The cell of a reference trains nothing.
    """
    chosen = task(cell["task"])
    factory = functools.partial(make_env, chosen.env_id, cell["env"])
    if cell["row"] == REFERENCE:
        return reference(chosen, factory)
    kept = out / "agents" / f"{cell['name']}-seed{cell['seed']}.zip"
    agent = kept_or_trained(cell, kept, lambda: _train(cell, factory))
    held = held_out(factory, READERS[chosen.slug], OBSERVATIONS, chosen.walk, seed=2 * HELDOUT_SEED + cell["seed"])
    latent = latents_of(agent, held.observation)
    success = evaluate_agent(agent, factory, episodes=EPISODES, seed=0, deterministic=not chosen.sampled).success_rate
    return {
        "updates": agent._n_updates,
        "env_steps": agent.num_timesteps,
        "train_seconds": agent.wall_seconds,
        "success": success,
        "losses": agent.attachments["losses"],
        "effective_rank": diagnostics.effective_rank(latent),
        **representation(chosen, held, latent, cell["seed"]),
    }


def representation(chosen: Task, held: HeldOut, latent: np.ndarray, seed: int) -> dict[str, Any]:
    """What latents [N, D] of held-out observations keep.

    ``accuracy``: nearest centroid, by signal. ``probes``: by factor and kind, with chance beside the score; networks for
    the signals and the distractor only. ``bit_in_noise``: a linear probe by how much noise, where there is a bit.
    ``shares`` of the latents' variance: explained by all signals together, by each of them where there are several, by the
    appearance, by the distractor; None where the latents have collapsed.
    """
    groups = {"signal": chosen.signals, "appearance": chosen.appearance, "distractor": chosen.distractor}
    groups |= {name: (name,) for name in chosen.signals if len(chosen.signals) > 1}
    shares = {}
    for group, names in groups.items():
        features = features_of(held, names)
        if features is not None:
            shares[group] = explained_share(latent, features)
    probes = {}
    for name in (*chosen.signals, *chosen.appearance, "distractor"):
        kinds: tuple[ProbeKind, ...] = ("linear",) if name in chosen.appearance else ("linear", "mlp")
        for kind in kinds:
            found = probe_factor(latent, held, name, kind, seed)
            if found is not None:
                probes[f"{name}_{kind}"] = dataclasses.asdict(found)
    in_noise = {}
    for noise in NOISES if "bit" in chosen.signals else ():
        found = probe_in_noise(latent, held, "bit", noise, seed)
        if found is not None:
            in_noise[f"{noise:g}"] = dataclasses.asdict(found)
    accuracy = {name: diagnostics.heldout_accuracy(latent, held.label(name)) for name in chosen.signals}
    kept = {"accuracy": accuracy, "probes": probes, "shares": shares}
    return kept | ({"bit_in_noise": in_noise} if in_noise else {})


def _train(cell: Cell, factory: Factory) -> JEPAAgent:
    agent = JEPAAgent(from_dict(AgentConfig, cell["agent"]), factory, seed=cell["seed"], device="cpu")
    agent.learn(cell["steps"])
    agent.attachments["losses"] = final_losses(agent, cell["seed"])
    return agent


@torch.no_grad()
def final_losses(agent: JEPAAgent, seed: int) -> dict[str, float]:
    """Every term of the objective, unweighted, on windows of the replay; and "one_step", L_dyn over the variance.

    The last is of one step, against the encoder itself whatever the row's target branch, and left out where nothing varies.
    """
    training, model = agent.config.training, agent.model
    batch = agent.replay.sample(LOSS_WINDOWS, training.transitions, np.random.default_rng(seed))
    generator = torch.Generator().manual_seed(seed)
    terms = loss_terms(
        model, agent.learner.ema, batch, agent.config.model, discount=agent.config.discount, generator=generator
    )
    losses = {name: term.item() for name, term in terms.items()}
    alive = batch.alive[:, 0]
    first, following = (model.encode(batch.observation[alive, step]) for step in (0, 1))
    variance = following.var(0, correction=0).mean().item()
    if variance:
        error = (model.predict(first, batch.action[alive, 0]) - following).square().mean().item()
        losses["one_step"] = error / variance
    return losses


def reference(chosen: Task, factory: Factory) -> dict[str, Any]:
    """What the linear theory says of a level, and the success of random actions.

    ``order``: by objective, when each factor is first learned, at ``SCALE``; None is never. JEPA and MAE predict the next
    observation, "autoencoder" is MAE that draws the present one. ``other_scales``: the same at other initial weights.
    ``modes``: the strongest of each factor.
    """
    transitions = random_transitions(factory, READERS[chosen.slug], TRANSITIONS, seed=HELDOUT_SEED)
    if chosen.slug == "minigrid":
        env = factory()
        assert isinstance(env.observation_space, gym.spaces.Box)
        transitions = shown_one_hot(transitions, env.observation_space.high)
        env.close()
    modes = modes_of(as_observed(transitions))
    return {
        "order": _orders(modes, chosen.depth, SCALE),
        "other_scales": {f"{scale:g}": _orders(modes, chosen.depth, scale) for scale in OTHER_SCALES},
        "modes": {
            name: dataclasses.asdict(next(mode for mode in modes if mode.factor == name))
            for name in dict.fromkeys(mode.factor for mode in modes)
        },
        "success": random_success(factory, EPISODES, seed=HELDOUT_SEED),
    }


def _orders(modes: Sequence[Mode], depth: int, scale: float) -> dict[str, dict[str, float | None]]:
    found = {str(objective): order for objective, order in learning_order(modes, depth=depth, scale=scale).items()}
    found["autoencoder"] = learning_order(autoencoded(modes), depth=depth, scale=scale)["mae"]
    return {
        name: {factor: time if math.isfinite(time) else None for factor, time in order.items()}
        for name, order in found.items()
    }


def random_success(factory: Factory, episodes: int, seed: int) -> float:
    """The success rate of uniformly random actions, after each of which an episode may end."""
    env = factory()
    env.action_space.seed(seed)
    successes = 0
    for index in range(episodes):
        env.reset(seed=seed if index == 0 else None)
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            over = terminated or truncated
        successes += bool(info["is_success"])
    env.close()
    return successes / episodes
