"""One cell of the alignment study: train, look at the gradients early and late, measure the final weights."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.agent import AgentConfig, JEPAAgent, preset
from jepa_rl.agent.config import from_dict
from jepa_rl.agent.replay import SequenceReplay
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.alignment_study.auxiliaries import AUXILIARIES
from jepa_rl.scripts.alignment_study.rows import PHASES, Phase
from jepa_rl.scripts.counting_study.rows import TARGET
from jepa_rl.scripts.evaluate import HELDOUT_SEED, evaluate_agent, heldout_latents
from jepa_rl.scripts.grid import Cell
from jepa_rl.world_model import diagnostics, loss_weights
from jepa_rl.world_model.alignment import encoder_pulls, gradient_shares, standard_error

EPISODES = 100
IMAGES = 2_000
# Moments of each phase, one batch at each: a cosine swings from -0.9 to 0.9 within a few updates, and more batches at the
# same moment would not tell.
LOOKS = 36
WINDOWS = 32  # of each batch
HELDOUT_TRANSITIONS = 2_048
WINDOW_SEED = 6 * HELDOUT_SEED  # apart from those of evaluation and reports

SLUGS = {each.target: each.slug for each in AUXILIARIES}


def train_and_measure(cell: Cell) -> dict[str, Any]:
    """Train the cell's agent, and return every figure of the study."""
    factory = functools.partial(make_env, preset("counting").env_id, {"target": TARGET})
    config = from_dict(AgentConfig, cell["agent"])
    agent = JEPAAgent(config, factory, seed=cell["seed"], device="cpu")
    windows = heldout_windows(config, factory, cell["seed"])
    probe = GradientProbe(windows, config.training.updates_by(cell["steps"]))
    agent.learn(cell["steps"], callback=probe)
    held = heldout_latents(agent, factory, IMAGES, seed=cell["seed"])
    assert held is not None
    return {
        "updates": agent._n_updates,
        "train_seconds": agent.wall_seconds,
        "accuracy": diagnostics.heldout_accuracy(held.latent, held.count),
        "count_probe": linear_probe(held.latent, held.count),
        "effective_rank": diagnostics.effective_rank(held.latent),
        "success": evaluate_agent(agent, factory, episodes=EPISODES, seed=0).success_rate,
        "phases": {name: summarised(looks) for name, looks in probe.looks.items()},
        "looks": {name: cosines_of(looks) for name, looks in probe.looks.items()},
    }


def heldout_windows(config: AgentConfig, factory: functools.partial[gym.Env[Any, Any]], seed: int) -> SequenceReplay:
    """Transitions of episodes that training does not see, with the labels of the same tasks."""
    training = dataclasses.replace(config.training, starts=HELDOUT_TRANSITIONS)  # so that no update comes due
    collector = JEPAAgent(dataclasses.replace(config, training=training), factory, seed=WINDOW_SEED + seed, device="cpu")
    return collector.learn(HELDOUT_TRANSITIONS).replay


class GradientProbe(BaseCallback):
    """Looks at the encoder's gradients at a few moments of two phases, without touching the run.

    Every run of a seed is looked at on the same windows; each look has windows of its own.
    """

    def __init__(self, windows: SequenceReplay, updates: int) -> None:
        super().__init__()
        self.windows = windows
        self.due = [
            (name, index, share * updates)
            for name, (begin, end) in PHASES.items()
            for index, share in enumerate(np.linspace(begin, end, LOOKS))
        ]
        self.looks: dict[Phase, list[dict[str, Any]]] = {name: [] for name in PHASES}

    def _on_step(self) -> bool:
        agent = self.model
        assert isinstance(agent, JEPAAgent)
        while self.due and agent._n_updates >= self.due[0][2]:
            phase, index, _ = self.due.pop(0)
            self.looks[phase].append(self._look(agent, np.random.default_rng((list(PHASES).index(phase), index))))
        return True

    def _on_training_end(self) -> None:
        self._on_step()  # the last updates come after the last step

    def _look(self, agent: JEPAAgent, rng: np.random.Generator) -> dict[str, Any]:
        config = agent.config.model
        found = encoder_pulls(
            agent.model,
            agent.learner.ema,
            [self.windows.sample(WINDOWS, agent.config.training.transitions, rng)],
            config,
            discount=agent.config.discount,
            generator=torch.Generator().manual_seed(int(rng.integers(2**32))),
        )
        norms = {name: pull.norm for name, pull in found.items()}
        shares = gradient_shares(norms, loss_weights(config) | agent.learner.learned_weights(), config)
        losses = {
            SLUGS.get(name, name): {"cosine": pull.cosine, "norm": pull.norm, "share": shares[name]}
            for name, pull in found.items()
        }
        return {"update": agent._n_updates, "losses": losses}


def summarised(looks: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each loss over the looks of a phase: mean cosine with its standard error, mean share and norm, batches."""
    found = {}
    for name in looks[0]["losses"]:
        seen = [look["losses"][name] for look in looks]
        cosines = [each["cosine"] for each in seen if each["cosine"] is not None]
        found[name] = {
            "cosine": statistics.fmean(cosines) if cosines else None,
            "standard_error": standard_error(cosines),
            "share": statistics.fmean(each["share"] for each in seen),
            "norm": statistics.fmean(each["norm"] for each in seen),
            "batches": len(looks),
        }
    return found


def cosines_of(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """When a phase was looked at, and each loss's cosine at each look."""
    return {
        "updates": [look["update"] for look in looks],
        "cosines": {name: [look["losses"][name]["cosine"] for look in looks] for name in looks[0]["losses"]},
    }


def linear_probe(latent: np.ndarray, count: np.ndarray) -> float:
    """Accuracy of linear discriminants of the count, fitted on one half and scored on the other.

    Within-class scatter is divided out, so that a count which has a cluster for each shape is read as well, where the
    nearest of nine centroids is not.
    """
    half = len(latent) // 2
    train, test = diagnostics.standardize(latent[:half], latent[:half], latent[half:])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(train, count[:half])
    return float((model.predict(test) == count[half:]).mean())
