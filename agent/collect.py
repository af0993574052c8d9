"""One step of all environments: choose actions, act, remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from jepa_rl.agent.config import AgentConfig
from jepa_rl.agent.env_faults import naming_dead_processes, successors
from jepa_rl.agent.episode_memory import EpisodeMemory
from jepa_rl.agent.exploration import Explorer, RandomActions, noisy
from jepa_rl.agent.familiarity import Familiarity
from jepa_rl.agent.novelty import NoveltySeeking, Successes
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.agent.open_episodes import OpenEpisodes
from jepa_rl.agent.random_streams import RandomStreams
from jepa_rl.agent.replay import SequenceReplay
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.agent.task_targets import TargetReader, reward_labels
from jepa_rl.planners import Plan

Decide = Callable[[np.ndarray, np.ndarray, np.ndarray, list[EpisodeMemory] | None], Plan]
"""Maps packed observations [n, ...], previous plans [n, H, ...], warm bool[n] and the n episodes' memories, where they are
kept, to the new plans."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the m environments that planned in a step decided."""

    plan: Plan  # of m rows
    kept: np.ndarray  # bool, of those with a previous plan: whether the action is the one that it had for this step


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorStep:
    """What one step of n environments gave; where done, ``observation`` begins the next episode already."""

    action: np.ndarray  # [n, ...], as the environments took it
    observation: VecEnvObs  # as the environments gave it
    reward: np.ndarray  # [n]
    done: np.ndarray  # bool[n]
    info: list[dict[str, Any]]
    decision: Decision | None  # None where every action was random


class Collector:
    """Acts in a VecEnv and fills the replay; keeps what is needed to rebuild the open episodes.

    An exception out of ``step``, from the environments or because they returned something that is not finite, leaves the
    collector, the replay and the random streams as they were before the step.
    """

    def __init__(
        self,
        *,
        venv: VecEnv,
        replay: SequenceReplay,
        target_reader: TargetReader,
        observations: ObservationAdapter,
        actions: ActionAdapter,
        explorer: Explorer,
        streams: RandomStreams,
        decide: Decide,
        horizon: int,
        familiarity: Familiarity | None = None,
        noise: float = 0.0,
    ) -> None:
        self.venv = venv
        self.replay = replay
        self.episodes = OpenEpisodes(venv, observations.pack)
        self._target_reader = target_reader
        self._observations = observations
        self._actions = actions
        self.explorer = explorer
        self._streams = streams
        self._decide = decide
        self._noise = noise  # standard deviation on planned actions, which must be those of a Box
        n_envs = venv.num_envs
        self.observation = np.zeros((n_envs, *observations.shape), observations.dtype)  # packed; what to act on next
        self.plan = np.zeros((n_envs, horizon, *actions.shape), actions.dtype)
        self.warm = np.zeros(n_envs, bool)
        self._familiarity = familiarity
        self.memories: list[EpisodeMemory] = []  # of the open episodes, where there is a familiarity

    def connect(self, venv: VecEnv) -> None:
        """Act in these environments from now on."""
        self.venv = venv
        self.episodes.connect(venv)

    def plan_ahead(self, horizon: int) -> None:
        """Plans have this many steps from now on; those of another number are dropped."""
        if self.plan.shape[1] != horizon:
            self.plan = np.zeros((len(self.plan), horizon, *self.plan.shape[2:]), self.plan.dtype)
            self.warm[:] = False

    def remember_with(self, familiarity: Familiarity | None) -> None:
        """Keep memories of the open episodes, of those that are open already from here on; None: no longer."""
        if familiarity is None:
            self.memories = []
        elif self._familiarity is None and self.episodes.begun:
            self.memories = familiarity.begin(self.observation)
        self._familiarity = familiarity

    def begin(self, observation: VecEnvObs) -> None:
        """Start from the n observations of a vector reset; an exception leaves everything as it was."""
        streams = self._streams.state()
        try:
            packed = self._observations.pack(observation)
            self.replay.begin(packed, self._target_reader(packed, self._reset_infos()))
        except BaseException:
            self._streams.load_state(*streams)
            raise
        self.observation = packed
        self.warm[:] = False
        self.episodes.begin()
        if self._familiarity is not None:
            self.memories = self._familiarity.begin(packed)
        self.explorer.begin(self._streams.exploration)

    def step(self, timestep: int) -> VectorStep:
        """Act once in every environment, after ``timestep`` environment steps in total."""
        streams = self._streams.state()
        try:
            explores, chosen = self.explorer.choose(timestep, self._streams.exploration)
            plan, decision = self._choose_planned(~explores)
            wanted = noisy(plan[:, 0], self._noise, self._streams.exploration)
            action = np.where(explores.reshape(-1, *[1] * (chosen.ndim - 1)), chosen, wanted)
            env_action = self._actions.to_env(action)
            with naming_dead_processes(self.venv):
                self.episodes.astray = True
                # A copy: what an environment does to its action must not reach what is remembered.
                following, reward, done, infos = self.venv.step(env_action.copy())
            result = VectorStep(
                action=env_action, observation=following, reward=reward, done=done, info=infos, decision=decision
            )
            packed = self._observations.pack(following)
            self._store(action, packed, result)
        except BaseException:
            self._streams.load_state(*streams)
            raise
        self.episodes.step(env_action, done)
        self.observation = packed
        self.plan, self.warm = plan, ~explores & ~done
        if self._familiarity is not None:
            self._familiarity.learn(self.memories, action, packed, done)
        self.explorer.note(chosen, reward, done, self._streams.exploration)
        return result

    def outcome_visits(self, which: np.ndarray) -> np.ndarray:
        """How often the open episodes of the environments ``which`` bool[n] have been where each action leads, [m, A]."""
        assert self._familiarity is not None
        return self._familiarity.outcome_visits(self._remembered(which)).cpu().numpy()

    def _remembered(self, which: np.ndarray) -> list[EpisodeMemory]:
        return [self.memories[env] for env in np.flatnonzero(which)]

    def _choose_planned(self, planned: np.ndarray) -> tuple[np.ndarray, Decision | None]:
        """Plans [n, H, ...], renewed where ``planned``, and how."""
        if not planned.any():
            return self.plan, None
        previous, warm = self.plan[planned], self.warm[planned]
        memories = self._remembered(planned) if self.memories else None
        decided = self._decide(self.observation[planned], previous, warm, memories)
        actions = decided.actions.cpu().numpy()
        # A plan of one step holds nothing for the next.
        foreseen = previous[warm, 1:2]
        kept = (actions[warm, :1] == foreseen).reshape(len(foreseen), -1).all(1) if foreseen.size else np.zeros(0, bool)
        plan = self.plan.copy()
        plan[planned] = actions
        return plan, Decision(plan=decided, kept=kept)

    def _store(self, action: np.ndarray, observation: np.ndarray, result: VectorStep) -> None:
        reached = successors(observation, result.done, result.info, self._observations.pack)
        # Where an episode ended, the step's info is that of its final observation, and the next one's came with the reset.
        next_targets = self._target_reader(reached.observation, result.info)
        reset_infos, ended = self._reset_infos(), np.flatnonzero(result.done)
        begun = self._target_reader(observation[ended], [reset_infos[env] for env in ended])
        self.replay.add(
            action=action,
            reward=result.reward,
            terminated=reached.terminated,
            truncated=reached.truncated,
            next_observation=reached.observation,
            reset_observation=observation,
            label=self._labels(result.info),
            next_targets=next_targets,
            reset_targets=begun.spread(result.done),
        )

    def _labels(self, infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Those of the observations before the step, in the unit of the rewards, which VecNormalize may have scaled."""
        labels, normalize = reward_labels(infos), unwrap_vec_normalize(self.venv)
        return labels if normalize is None else normalize.normalize_reward(labels)

    def _reset_infos(self) -> list[dict[str, Any]]:
        # A wrapper around vector environments has a list of its own, which nobody fills.
        infos: list[dict[str, Any]] = self.venv.unwrapped.reset_infos
        return infos


def make_collector(
    config: AgentConfig,
    *,
    venv: VecEnv,
    observations: ObservationAdapter,
    actions: ActionAdapter,
    streams: RandomStreams,
    decide: Decide,
    familiarity: Familiarity | None,
    successes: Successes,
) -> Collector:
    """The collector of an agent in ``venv``, with an empty replay.

    It keeps memories of the open episodes with ``familiarity``, where exploration needs them; for a planner that does, see
    ``Collector.remember_with``. ``successes`` are the agent's to keep.

    Raises ValueError where exploration needs ``familiarity`` and there is none.
    """
    target_reader = TargetReader(config.model, observations, streams)
    replay = SequenceReplay(
        capacity=config.replay.capacity,
        n_envs=venv.num_envs,
        observation_shape=observations.shape,
        observation_dtype=observations.dtype,
        action_shape=actions.shape,
        action_dtype=actions.dtype,
        prioritised_fraction=config.replay.prioritised_fraction,
        rewards=config.replay.rewards,
        discount=config.discount,
        target_sizes=target_reader.sizes,
        partial=target_reader.partial,
        first_visits=config.model.value.novelty > 0,
    )
    seeks = config.exploration.kind == "novelty"
    if seeks and familiarity is None:
        raise ValueError(
            f"exploration.kind novelty imagines every action: it needs a Discrete action space, got {actions.space}"
        )
    explorer: Explorer
    if seeks:
        explorer = NoveltySeeking(config.exploration, venv.num_envs, actions.counts[0], successes)
    else:
        explorer = RandomActions(config.exploration, actions, venv.num_envs)
    collector = Collector(
        venv=venv,
        replay=replay,
        target_reader=target_reader,
        observations=observations,
        actions=actions,
        explorer=explorer,
        streams=streams,
        decide=decide,
        horizon=config.planner.horizon,
        familiarity=familiarity if seeks else None,
        noise=0.0 if actions.counts else config.exploration.noise,
    )
    if isinstance(explorer, NoveltySeeking):
        explorer.outcome_visits = collector.outcome_visits
    return collector
