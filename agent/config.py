"""Everything that defines an agent, in one frozen tree; the command line is generated from it."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import ModelConfig
from jepa_rl.world_model.validation import require, require_fields, require_share

ExplorationKind = Literal["planner", "random", "novelty"]
Schedule = Literal["constant", "cosine"]
Rewards = Literal["plain", "sign"]
ActingWeights = Literal["online", "ema"]


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """What is remembered and how it is drawn."""

    capacity: int = 100_000
    """Rows over all environments; an episode of L steps takes L + 1."""
    rewards: Rewards = "plain"
    """sign: remember, and so learn and plan with, the sign of each reward, as DQN does on Atari (arXiv:1312.5602). What
    MiniGrid pays falls with the time taken, which no observation shows; the discount already prefers sooner."""
    prioritised_fraction: float = 0.0
    """Share of each batch drawn from windows that contain a reward other than 0; the rest is uniform."""

    def __post_init__(self) -> None:
        require_fields("replay.", self)
        require(self.capacity >= 3, "replay.capacity", "at least 3", self.capacity)
        require_share("replay.prioritised_fraction", self.prioritised_fraction)


@dataclass(frozen=True, kw_only=True)
class ExplorationConfig:
    """How actions are chosen while collecting."""

    kind: ExplorationKind = "planner"
    """planner: the agent's own planner, with random actions mixed in; random: uniform actions throughout; novelty: the
    planner's, with steps mixed in that seek what the episode has not seen; until a reward was positive all of them do. It
    needs Discrete actions."""
    random_share: float = 0.0
    """novelty: the share of those draws after which seeking steps take uniform actions instead. An action that the model
    expects to change nothing is hardly ever tried for its novelty; where the first reward is for such a one, as for opening
    a door that ends the episode, only chance comes by it."""
    novelty_steps: int = 20
    """novelty: mean number of environment steps between two draws of who acts, the planner or novelty; it is also drawn
    where an episode begins. Changing within episodes lets one of the two go on from where the other came to
    (arXiv:2108.11811)."""
    warmup: int = 1_000
    """Environment steps of a call of ``learn`` with random actions only, before the planner takes over; they are counted
    from 0 again unless it is called with ``reset_num_timesteps=False``. novelty has no such phase."""
    epsilon_start: float = 1.0
    """Share of random actions right after the warm-up. With novelty, the share of seeking steps once a reward was
    positive; it falls as more episodes have one."""
    epsilon_end: float = 0.1
    """Share of random actions at the end of the schedule and after; with novelty, the least share of seeking steps."""
    epsilon_steps: int = 5_000
    """Environment steps over which that share falls linearly; with novelty it falls with success instead."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise on the planner's Box actions, in action units (the box is [-1, 1], which the sum
    is clipped to); other actions take none."""
    repeat: int = 1
    """Steps for which a random action is repeated, also across the end of an episode; it is taken in every step of the
    warm-up, and later in the steps that explore. Without effect under novelty."""

    def __post_init__(self) -> None:
        require_fields("exploration.", self)
        require(self.warmup >= 0, "exploration.warmup", "at least 0 environment steps", self.warmup)
        require_share("exploration.epsilon_start", self.epsilon_start)
        require_share("exploration.epsilon_end", self.epsilon_end)
        require_share("exploration.random_share", self.random_share)
        require(self.novelty_steps >= 1, "exploration.novelty_steps", "at least 1 environment step", self.novelty_steps)
        require(self.epsilon_steps >= 1, "exploration.epsilon_steps", "at least 1 environment step", self.epsilon_steps)
        require(0 <= self.noise < math.inf, "exploration.noise", "at least 0 action units", self.noise)
        require(self.repeat >= 1, "exploration.repeat", "at least 1 step", self.repeat)

    def epsilon(self, timestep: int) -> float:
        """The share of random actions after ``timestep`` environment steps."""
        if self.kind == "random" or timestep < self.warmup:
            return 1.0
        progress = min((timestep - self.warmup) / self.epsilon_steps, 1.0)
        return self.epsilon_start + progress * (self.epsilon_end - self.epsilon_start)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The update and its pace."""

    updates_per_step: float = 0.25
    """Gradient updates per environment step, counted over all environments."""
    starts: int = 500
    """Environment steps before the first update."""
    batch_size: int = 64
    """Windows per update."""
    transitions: int = 3
    """Transitions per window, K: the latent dynamics are rolled out over this many steps."""
    learning_rate: float = 1e-3
    """Of AdamW."""
    encoder_rate: float = 1.0
    """Factor on the learning rate for the encoder."""
    schedule: Schedule = "constant"
    """cosine: the learning rate falls to 0 at the last environment step of ``learn``."""
    weight_decay: float = 0.0
    """Of AdamW; on every parameter, biases and learned loss weights included."""
    max_gradient_norm: float = 10.0
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        require_fields("training.", self)
        positive = ("updates_per_step", "batch_size", "transitions", "learning_rate", "encoder_rate", "max_gradient_norm")
        for name in positive:
            require(getattr(self, name) > 0, f"training.{name}", "positive", getattr(self, name))
        require(self.starts >= 0, "training.starts", "at least 0 environment steps", self.starts)
        require(self.weight_decay >= 0, "training.weight_decay", "at least 0", self.weight_decay)

    def updates_by(self, timestep: int) -> int:
        """How many updates are to have been taken after ``timestep`` environment steps."""
        return math.floor(max(timestep - self.starts, 0) * self.updates_per_step)

    def rate_share(self, progress_remaining: float) -> float:
        """The share of the learning rate that is in force; ``progress_remaining`` falls from 1 to 0 during ``learn``."""
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (1 - progress_remaining)))


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """A JEPAAgent, but for its environment and seed."""

    discount: float = 0.99
    """Per environment step, for planning and for the value targets."""
    n_envs: int = 1
    """Environments collected from in parallel, where the agent makes them itself (from an id or a factory)."""
    acting_weights: ActingWeights = "online"
    """Weights that plans are made with. ema: those of the slow copy, a mean over the last 1 / model.ema_rate updates or so;
    where the values of actions are close, a policy read off the online weights changes from one update to the next."""
    model: ModelConfig = field(default_factory=ModelConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        require_fields("", self)
        require(0 < self.discount <= 1, "discount", "in (0, 1]", self.discount)
        require(self.n_envs >= 1, "n_envs", "at least 1", self.n_envs)
        if self.acting_weights == "ema" and not self.model.needs_ema:
            raise ValueError(
                "acting_weights ema needs a slow copy of the model: a value head (model.value.weight above 0), "
                "model.dynamics.target ema, or masked prediction"
            )


Config = TypeVar("Config")


def from_dict(kind: type[Config], data: dict[str, Any], path: str = "") -> Config:
    """Rebuild a config dataclass from ``dataclasses.asdict`` that went through JSON; unknown keys are a ValueError."""
    if not isinstance(data, dict):
        raise ValueError(f"{path or 'the configuration'} must be a mapping, got {data!r}")
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    known = {entry.name for entry in fields}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ValueError(f"unknown option {path}{unknown[0]!s}; known are {', '.join(sorted(known))}")
    for entry in fields:
        if entry.default is entry.default_factory is dataclasses.MISSING and entry.name not in data:
            raise ValueError(f"the option {path}{entry.name} is missing")
    return kind(**{name: _revive(hints[name], value, f"{path}{name}") for name, value in data.items()})


def _revive(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast("type[Any]", hint), value, f"{path}.")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path} must be a list, got {value!r}")
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_revive(each, entry, path) for each, entry in zip(inner, value, strict=True))
    if origin in (Literal, types.UnionType):  # choices are checked by the configuration that has them
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, origin or hint):
        raise ValueError(f"{path} must be {(origin or hint).__name__}, got {value!r}")
    return value
