"""What a trained model imagines, against what happened in held-out episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from jepa_rl.agent import JEPAAgent, vectorize
from jepa_rl.planners import PlannerConfig, make_planner
from jepa_rl.planners.types import LatentModel
from jepa_rl.world_model import WorldModel

ENVS = 16
ENCODED_AT_ONCE = 250
FEWEST_WINDOWS = 20  # an average over fewer says nothing


class Dynamics(Protocol):
    """T, as ``WorldModel.predict``."""

    def predict(self, latent: Tensor, action: Tensor) -> Tensor:
        """Map latents [N, D] and actions [N, ...] to next latents [N, D]."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedEpisodes:
    """Episodes one after another, a row per observation. ``remaining`` transitions follow a row until its episode ends.

    ``action[i]`` was taken at ``observation[i]`` and led to ``observation[i + 1]``, which paid ``reward[i]``. The last row
    of an episode has 0 remaining, and nothing in its other columns means anything.
    """

    observation: np.ndarray  # [M, ...], packed by the agent's ObservationAdapter
    action: np.ndarray  # [M, ...], the agent's, as in ``Batch``
    reward: np.ndarray  # float32[M], environment units
    terminated: np.ndarray  # bool[M]; a time limit is not a termination
    remaining: np.ndarray  # int64[M]

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if (rows := len(getattr(self, name))) != len(self.remaining):
                raise ValueError(f"RecordedEpisodes.{name} must have {len(self.remaining)} rows, got {rows}")

    @property
    def acted(self) -> np.ndarray:
        """The rows that an action was taken at, int64[N]."""
        return np.flatnonzero(self.remaining)


class _OpenEpisode:
    """The rows of one environment's episode so far."""

    def __init__(self, observation: np.ndarray) -> None:
        self.observation = [observation]
        self.action: list[np.ndarray] = []
        self.reward: list[float] = []
        self.terminated: list[bool] = []

    def add(self, action: np.ndarray, reward: float, done: bool, info: dict[str, Any], following: np.ndarray) -> None:
        """One step of a VecEnv, which led to ``following``."""
        self.action.append(action)
        self.reward.append(reward)
        self.terminated.append(done and not info.get("TimeLimit.truncated", False))
        self.observation.append(following)

    def close(self) -> RecordedEpisodes:
        length = len(self.action)
        return RecordedEpisodes(
            observation=np.stack(self.observation),
            action=np.stack([*self.action, np.zeros_like(self.action[0])]),
            reward=np.array([*self.reward, 0.0], np.float32),
            terminated=np.array([*self.terminated, False]),
            remaining=np.arange(length, -1, -1),
        )


def record(
    agent: JEPAAgent,
    factory: Callable[[], gym.Env[Any, Any]],
    *,
    transitions: int,
    seed: int,
    random_share: float = 0.5,
) -> RecordedEpisodes:
    """At least ``transitions`` transitions; ``random_share`` of the actions are random, so that bad states occur as well.

    The others come from a light version of the agent's planner: they need to be sensible, not the best.

    ``seed`` is the first of the environments' base seeds and decides every choice. The agent's own random streams stay
    where they are.
    """
    model = agent.acting_model
    planner = make_planner(_lightened(agent.config.planner), agent.action_adapter.spec, agent.config.discount)
    venv = vectorize(factory, ENVS)
    venv.seed(seed)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pack = agent.observation_adapter.pack
    signs = agent.config.replay.rewards == "sign"  # what the reward head has learned
    observation = pack(venv.reset())
    open_episodes = [_OpenEpisode(first) for first in observation]
    episodes: list[RecordedEpisodes] = []
    for _ in range(-(-transitions // ENVS)):
        action = agent.action_adapter.random(ENVS, rng)
        planned = rng.random(ENVS) >= random_share
        if planned.any():
            plan = planner.plan(model, encode(model, observation[planned]), generator=generator)
            action[planned] = plan.action.cpu().numpy()
        stepped, reward, done, infos = venv.step(agent.action_adapter.to_env(action))
        observation = pack(stepped)
        for env, info in enumerate(infos):
            # Where an episode ended, the VecEnv's observation begins the next one.
            following = pack(info["terminal_observation"]) if done[env] else observation[env]
            paid = float(np.sign(reward[env]) if signs else reward[env])
            open_episodes[env].add(action[env], paid, bool(done[env]), info, following)
            if done[env]:
                episodes.append(open_episodes[env].close())
                open_episodes[env] = _OpenEpisode(observation[env])
    venv.close()
    episodes += [episode.close() for episode in open_episodes if episode.action]
    return RecordedEpisodes(
        **{name: np.concatenate([getattr(episode, name) for episode in episodes]) for name in RecordedEpisodes.__slots__}
    )


def _lightened(planner: PlannerConfig) -> PlannerConfig:
    samples, iterations = min(planner.samples, 32), min(planner.iterations, 2)
    return dataclasses.replace(planner, samples=samples, iterations=iterations, elites=min(planner.elites, 8, samples))


@torch.no_grad()
def encode(model: WorldModel, observation: np.ndarray) -> Tensor:
    """Latents [M, D] of observations [M, ...], in full precision as the planner sees them."""
    device = next(model.parameters()).device
    chunks = torch.as_tensor(observation).split(ENCODED_AT_ONCE)
    return torch.cat([model.encode(chunk.to(device)) for chunk in chunks])


@dataclass(frozen=True, kw_only=True, slots=True)
class OneStep:
    """One imagined step from every observation that was acted upon, and what came. N = transitions."""

    reward: np.ndarray  # [N]
    imagined_reward: np.ndarray  # [N]
    terminated: np.ndarray  # bool[N]
    imagined_termination: np.ndarray  # [N], probability


@torch.no_grad()
def one_step(model: LatentModel, recording: RecordedEpisodes, latent: Tensor) -> OneStep:
    """Imagine one step from each of the ``latent`` [M, D] that was acted upon."""
    rows = recording.acted
    action = torch.as_tensor(recording.action[rows]).to(latent.device)
    _, reward, continuation = model.step(latent[torch.as_tensor(rows)], action)
    return OneStep(
        reward=recording.reward[rows],
        imagined_reward=reward.cpu().numpy(),
        terminated=recording.terminated[rows],
        imagined_termination=1 - continuation.cpu().numpy(),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLoopError:
    """Mean ||z_hat_t - E(o_t)||^2 over the variance of the latents, by horizon: predicting the mean latent scores 1."""

    horizon: np.ndarray  # int[H], environment steps
    model: np.ndarray  # [H], T applied again and again from z_0
    stay: np.ndarray  # [H], z_0 itself as the prediction
    windows: np.ndarray  # int[H], how many the average is over


@torch.no_grad()
def open_loop_error(model: Dynamics, recording: RecordedEpisodes, latent: Tensor, longest: int) -> OpenLoopError:
    """Imagine from every observation along the actions that were taken, without looking again, up to ``longest`` steps.

    Horizons that fewer than 20 windows reach are left out. Raises ValueError where the latents [M, D] do not vary, or no
    horizon is left.
    """
    variance = latent.double().var(0, correction=0).sum().item()
    if variance <= 1e-12:
        raise ValueError("the latents of the held-out observations do not vary")
    action = torch.as_tensor(recording.action).to(latent.device)
    start = torch.as_tensor(recording.acted)
    remaining = torch.as_tensor(recording.remaining)
    imagined = latent[start]
    found = []
    for horizon in range(1, longest + 1):
        reached = remaining[start] >= horizon
        start, imagined = start[reached], imagined[reached.to(imagined.device)]
        if len(start) < FEWEST_WINDOWS:
            break
        imagined = model.predict(imagined, action[start + horizon - 1])
        came = latent[start + horizon]
        errors = [(guess - came).double().square().sum(1).mean().item() / variance for guess in (imagined, latent[start])]
        found.append((horizon, *errors, len(start)))
    if not found:
        raise ValueError(f"fewer than {FEWEST_WINDOWS} held-out transitions")
    columns = [np.array(column) for column in zip(*found, strict=True)]
    return OpenLoopError(horizon=columns[0], model=columns[1], stay=columns[2], windows=columns[3])


@torch.no_grad()
def imagined_rewards(model: LatentModel, latent: Tensor, actions: Tensor) -> np.ndarray:
    """Expected rewards [H] along the action sequence [H, ...] from one latent [D], not discounted.

    Each is weighted by the probability that the episode is still going, as the planner does.
    """
    latent, going, rewards = latent[None], torch.ones(1, device=latent.device), []
    for action in actions.to(latent.device):
        latent, reward, continuation = model.step(latent, action[None])
        rewards.append((going * reward).item())
        going = going * continuation
    return np.array(rewards)
