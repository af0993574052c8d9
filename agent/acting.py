"""How an agent acts: what it remembers of the episodes, and the search in its latent space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from jepa_rl.agent.algorithm import Algorithm
from jepa_rl.agent.config import AgentConfig
from jepa_rl.agent.episode_memory import EpisodeMemory
from jepa_rl.agent.familiarity import Familiarity
from jepa_rl.agent.learner import Learner
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.agent.random_streams import RandomStreams
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.planners import BoxActions, Plan, Planner, PlannerConfig, make_planner, needs_action_values
from jepa_rl.world_model import WorldModel


class PlanningAlgorithm(Algorithm):
    """A Stable-Baselines3 algorithm whose policy is a planner in the latent space of a world model.

    ``familiarity`` is there for Discrete actions.
    """

    config: AgentConfig
    action_adapter: ActionAdapter
    observation_adapter: ObservationAdapter
    streams: RandomStreams
    learner: Learner
    familiarity: Familiarity | None
    planner: Planner
    planner_config: PlannerConfig
    has_own_planner: bool  # one that ``planner_config`` does not describe

    @property
    def model(self) -> WorldModel:
        """The world model, as trained."""
        return self.learner.model

    @property
    def acting_model(self) -> WorldModel:
        """The world model that plans are made with: that of ``config.acting_weights``."""
        if self.config.acting_weights == "online":
            return self.learner.model
        assert self.learner.ema is not None
        return self.learner.ema

    def set_planner(self, config: PlannerConfig, planner: Planner | None = None) -> None:
        """Plan with other settings from now on; they are saved and loaded with the agent.

        ``planner`` is one of your own, which searches in place of the one that ``config`` describes: its plans have
        ``config.horizon`` steps, and ``config.revisit_cost`` comes to it as ``first_cost``. It is not saved: a loaded agent
        plans as ``config`` says, and warns, until it is set again.

        Raises TypeError for anything but a PlannerConfig and a planner, ValueError for a config that cannot serve the
        actions, or asks what the world model has no head for.
        """
        if not isinstance(config, PlannerConfig):
            raise TypeError(f"config must be a PlannerConfig, got {config!r}")
        if planner is not None and not callable(getattr(planner, "plan", None)):
            raise TypeError(f"planner must have a method plan, as jepa_rl.planners.Planner says, got {planner!r}")
        if config.proposals and not self.model.can_propose:
            needed = "model.value.weight" if self.action_adapter.counts else "model.policy.weight"
            raise ValueError(f"{needed} must be positive with planner.proposals, got 0")
        if config.revisit_cost and self.familiarity is None:
            raise ValueError(f"planner.revisit_cost must be 0 for actions that are not Discrete, got {config.revisit_cost}")
        described = make_planner(config, self.action_adapter.spec, self.config.discount)
        if needs_action_values(described):
            self._require_action_values()
        self.planner_config, self.has_own_planner = config, planner is not None
        self.planner = described if planner is None else planner

    def _require_action_values(self) -> None:
        asked = "planner.kind value, and planner.trace below 1,"
        if not self.config.model.value.weight:
            raise ValueError(f"{asked} need Q: model.value.weight must be positive, got 0")
        spec, listed = self.action_adapter.spec, self.model.listed_actions
        if not isinstance(spec, BoxActions) and listed < spec.joint_count:
            raise ValueError(
                f"{asked} need Q of every action: of the {spec.joint_count} joint actions of {self.action_adapter.space} "
                f"only {listed} candidates have one; use cem, mppi or random_shooting"
            )

    def encode(self, observation: Any) -> np.ndarray:
        """Latents float32 [N, D] of a batch of N observations, as the environments give them or packed.

        The weights are those of ``model``, as trained; plans are made with ``acting_model``, whose latents may be others.
        """
        with torch.no_grad():
            return self.model.encode(self._packed_batch(observation)).cpu().numpy()

    def _packed_batch(self, observation: Any) -> torch.Tensor:
        """N observations as the encoder reads them, on the device; ValueError for a single one."""
        packed = self.observation_adapter.pack(observation)
        if packed.ndim != len(self.observation_adapter.shape) + 1:  # the encoder would read its numbers as observations
            raise ValueError(f"expected a batch [N, ...] of observations, got one of shape {list(packed.shape)}")
        return torch.as_tensor(packed, device=self.device)

    @torch.no_grad()
    def plan(
        self,
        observation: Any,
        *,
        generator: torch.Generator,
        previous: np.ndarray | None = None,
        warm: np.ndarray | None = None,
        memories: Sequence[EpisodeMemory] | None = None,
        deterministic: bool = True,
    ) -> Plan:
        """Search from each of a batch of N observations; see ``planners.types.Planner.plan`` for the other arguments.

        The weights are those of ``acting_model``. With ``memories`` of the N episodes, their latest observation included,
        ``planner.revisit_cost`` is in force.
        """
        model, cost = self.acting_model, None
        latent = model.encode(self._packed_batch(observation))
        if self.planner_config.revisit_cost and memories is not None:
            assert self.familiarity is not None
            cost = self.planner_config.revisit_cost * self.familiarity.outcome_visits(memories)
        plan = self.planner.plan(
            model,
            latent,
            generator=generator,
            warm_start=None if previous is None else torch.as_tensor(previous, device=self.device),
            warm=None if warm is None else torch.as_tensor(warm, device=self.device),
            first_cost=cost,
            deterministic=deterministic,
        )
        expected = len(latent), self.planner_config.horizon, *self.action_adapter.shape
        if tuple(plan.actions.shape) != expected:
            raise ValueError(f"the actions of a plan must have shape {list(expected)}, got {list(plan.actions.shape)}")
        return plan

    def _decide(
        self, observation: np.ndarray, previous: np.ndarray, warm: np.ndarray, memories: list[EpisodeMemory] | None
    ) -> Plan:
        return self.plan(
            observation,
            generator=self.streams.planning,
            previous=previous,
            warm=warm,
            memories=memories,
            deterministic=False,
        )

    def predict(  # the state is the previous plan and, with planner.revisit_cost, what the episodes have seen
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Plan from one observation or a batch of them.

        Args:
            observation: one as the environment gives it, or N: then every array in it has a leading axis.
            state: what the previous call returned: the warm start of the search and, with ``planner.revisit_cost``, what
                the episodes have seen; None at first.
            episode_start: bool[N]; True where an episode just began, so that its state is ignored.
            deterministic: take the best plan found, or draw among the good ones. The best found is not always the same:
                cem, mppi and random_shooting draw the sequences that they try from a stream that goes on from call to call.

        Returns:
            The actions [N, ...] (without N for a single observation) and the state for the next call.

        Raises ValueError where ``state``, or ``episode_start`` beside it, is of another number of observations.
        """
        packed = self.observation_adapter.pack(observation)
        batched = packed.ndim > len(self.observation_adapter.shape)
        observations = packed if batched else packed[None]
        previous = None if state is None else state[0]
        warm = None
        if previous is not None:
            started = np.zeros(len(observations), bool) if episode_start is None else np.asarray(episode_start, bool)
            warm = ~started.reshape(-1)
            for name, given in (("state", previous), ("episode_start", warm)):
                if len(given) != len(observations):
                    raise ValueError(f"{name} must be of the {len(observations)} observations, got one of {len(given)}")
        memories = self.recall(observations, state, warm)
        if previous is not None and previous.shape[1] != self.planner_config.horizon:
            previous = None  # of a planner that was replaced
        plan = self.plan(
            observations,
            generator=self.streams.prediction,
            previous=previous,
            warm=None if previous is None else warm,
            memories=memories,
            deterministic=deterministic,
        )
        actions = self.action_adapter.to_env(plan.action.cpu().numpy())
        return actions if batched else actions[0], state_after(plan, memories)

    def recall(
        self, observations: np.ndarray, state: tuple[np.ndarray, ...] | None, warm: np.ndarray | None
    ) -> list[EpisodeMemory] | None:
        """The memories of N episodes up to the packed ``observations``, of which those that are ``warm`` bool[N] go on.

        ``state`` is that of ``predict``. None where nothing is remembered, because ``planner.revisit_cost`` is 0.
        """
        if not self.planner_config.revisit_cost:
            return None
        assert self.familiarity is not None
        if state is None or warm is None or len(state) < 2:
            return self.familiarity.begin(observations)
        going, begun = np.flatnonzero(warm), np.flatnonzero(~warm)
        memories: dict[int, EpisodeMemory] = {}
        if len(going):
            ahead = self.familiarity.advance(state[1][going].tolist(), state[0][going, 0], observations[going])
            memories |= dict(zip(going.tolist(), ahead, strict=True))
        if len(begun):
            memories |= dict(zip(begun.tolist(), self.familiarity.begin(observations[begun]), strict=True))
        return [memories[number] for number in range(len(observations))]


def state_after(plan: Plan, memories: Sequence[EpisodeMemory] | None) -> tuple[np.ndarray, ...]:
    """What ``predict`` hands on: the actions of the plan [N, H, ...] and, where there are memories, these [N]."""
    actions = plan.actions.cpu().numpy()
    if memories is None:
        return (actions,)
    column = np.empty(len(memories), object)
    column[:] = memories
    return actions, column
