"""One cell of the benchmark: the agent that it begins with, PPO's training, and its success along the way."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from jepa_rl.agent import (
    AgentConfig,
    JEPAAgent,
    JEPAAuxiliaryCallback,
    JEPAFeaturesExtractor,
    LatentEnv,
    LatentObservation,
    vectorize,
)
from jepa_rl.agent.config import from_dict
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.minigrid_benchmark.measure import Contender, Curve, Factory, follow, heldout_episodes, our_contender
from jepa_rl.scripts.sb3_benchmark.tasks import IMAGINED, pretraining
from jepa_rl.scripts.trained_agents import kept_or_trained


class TransferCurve(Curve):
    """Success against all environment steps; of them ``own_steps`` are PPO's, and ``imagined_steps`` cost none."""

    figures = ("own_steps", "imagined_steps", *Curve.figures)

    @property
    def _imagined(self) -> bool:
        return bool(self.cell["algo"] == IMAGINED)

    def env_steps(self) -> int:
        """Those of the pre-training, which everything that uses its agent has to answer for, and PPO's own."""
        before: int = self.cell["earlier_steps"]
        return before if self._imagined else before + self.num_timesteps

    def evaluate(self) -> dict[str, float]:
        """Figures of the held-out episodes, and PPO's own steps."""
        own, imagined = (0, self.num_timesteps) if self._imagined else (self.num_timesteps, 0)
        return {"own_steps": own, "imagined_steps": imagined, **super().evaluate()}


COLUMNS = TransferCurve.columns()


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train PPO as the cell says, with its curve in ``out``/NAME-seedN.csv; its last evaluation.

    ``pretraining`` has the figures of the agent that it began with, kept in ``out``/agents and trained there if need be.
    """
    factory = functools.partial(make_env, cell["env_id"])
    before = pretraining(cell)
    agent = None if before is None else pretrained(before, out / "agents")
    who = contender(cell, factory, agent, out / "agents")
    wrap = None
    if cell["algo"] == IMAGINED:
        assert agent is not None
        wrap = functools.partial(LatentObservation, agent=agent)
    figures = None if agent is None else agent.attachments["pretraining"]
    clock = cell | {"env_steps": cell["own_steps"], "earlier_steps": figures["env_steps"] if figures else 0}
    found = follow(clock, who, heldout_episodes(cell, factory, wrap), out, TransferCurve)
    auxiliary = sum(each.updates for each in who.callbacks if isinstance(each, JEPAAuxiliaryCallback))
    return found | {"auxiliary_updates": auxiliary, "pretraining": figures}


def contender(cell: Cell, factory: Factory, agent: JEPAAgent | None, agents: Path) -> Contender:
    """The cell's PPO, untrained; ``agent`` is the pre-trained one, whose file lies in ``agents``."""
    settings, seed = cell["settings"], cell["seed"]
    given = dict(settings["ppo"])
    policy: dict[str, Any] = {"net_arch": given.pop("net_arch")}
    n_envs = given.pop("n_envs")
    venv: VecEnv
    if cell["algo"] == IMAGINED:
        assert agent is not None
        venv = LatentEnv(agent, n_envs=n_envs, horizon=settings["horizon"])
    else:
        venv = vectorize(factory, n_envs)
        policy |= {
            "features_extractor_class": JEPAFeaturesExtractor,
            "features_extractor_kwargs": _encoder(cell, agents),
        }
    model = PPO("MlpPolicy", venv, policy_kwargs=policy, seed=seed, device="cpu", **given)
    callbacks = (_auxiliary(cell),) if cell["algo"] == "auxiliary" else ()
    return Contender(model=model, policy=model, repeatable=True, callbacks=callbacks)


def _encoder(cell: Cell, agents: Path) -> dict[str, Any]:
    """Arguments of the features extractor."""
    before = pretraining(cell)
    if before is None:
        return {"config": from_dict(AgentConfig, cell["settings"]["agent"]).model}
    return {"run": str(_file(before, agents)), "trainable": cell["algo"] != "frozen"}


def _auxiliary(cell: Cell) -> JEPAAuxiliaryCallback:
    """The world model's losses as the preset has them, at the benchmark's pace."""
    config = from_dict(AgentConfig, cell["settings"]["agent"])
    training = dataclasses.replace(config.training, updates_per_step=cell["settings"]["updates_per_step"])
    return JEPAAuxiliaryCallback(training=training, replay=config.replay, seed=cell["seed"])


def pretrain(cell: Cell, agents: Path) -> dict[str, Any]:
    """Train and keep the agent of a pre-training's cell; its figures."""
    figures: dict[str, Any] = pretrained(cell, agents).attachments["pretraining"]
    return figures


def pretrained(cell: Cell, agents: Path) -> JEPAAgent:
    """The agent of a pre-training's cell, kept in ``agents`` with its replay, or trained and kept there."""
    factory = functools.partial(make_env, cell["env_id"])
    return kept_or_trained(cell, _file(cell, agents), lambda: _train(cell, factory), factory)


def _train(cell: Cell, factory: Factory) -> JEPAAgent:
    agent = JEPAAgent(from_dict(AgentConfig, cell["settings"]["agent"]), factory, seed=cell["seed"], device="cpu")
    agent.learn(cell["env_steps"])
    held, repeatable = heldout_episodes(cell, factory), our_contender(agent).repeatable
    sampled, greedy = (
        held.run(agent, deterministic=deterministic, repeatable=repeatable) for deterministic in (False, True)
    )
    agent.attachments["pretraining"] = {
        "env_steps": agent.num_timesteps,
        "updates": agent._n_updates,
        "wall_seconds": agent.wall_seconds,
        "success_sampled": sampled.success,
        "success_greedy": greedy.success,
    }
    return agent


def _file(cell: Cell, agents: Path) -> Path:
    return agents / f"{cell['name']}-seed{cell['seed']}.zip"
