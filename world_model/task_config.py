"""The tasks on the latent: reward, value, termination, and further ones by the name of their target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jepa_rl.world_model.targets import (
    FUNCTION_TARGETS,
    INFO,
    NUMBER_TARGETS,
    Likelihood,
    environment_target,
    require_target,
)
from jepa_rl.world_model.validation import require, require_fields, require_label_fraction, require_share, require_task

TaskLikelihood = Literal["auto", "gaussian", "bernoulli", "signed_bernoulli", "two_hot"]
RewardInput = Literal["observation", "transition"]
Labels = Literal["all", "acted"]


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A task on the latent: a head, its loss, and whether that loss trains the encoder."""

    weight: float = 0.0
    """Weight c_p of this task's loss; 0 switches the head off."""
    trains_encoder: bool = True
    """Whether the gradient of this task reaches the encoder."""
    hidden: int = 256
    """Width of the head's hidden layer."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TaskConfig):
    """The reward: of the observation, P(z) = p(o), or of the transition, R(z, a)."""

    weight: float = 1.0
    input: RewardInput = "transition"
    """observation: the head reads the latent of the observation that paid (arXiv:2509.12249's p); transition: (z, a)."""
    likelihood: Likelihood = "gaussian"
    """gaussian: squared error; bernoulli: cross-entropy of a reward in [0, 1]; signed_bernoulli: the same for its positive
    and its negative part, in [-1, 1], which begins near 0 as rare rewards do; two_hot: 101 bins of symlog(reward)."""
    labels: Labels = "all"
    """With input observation, which observations are labelled: all of them, or only those that an action was taken at
    (acted), which leaves out the last of each episode and with it most that paid."""
    label_fraction: float = 1.0
    """Share of the observations whose reward this task gets to know, drawn once for each when it is collected (with input
    transition: of the observations reached). The value's returns are made of every reward all the same."""

    def __post_init__(self) -> None:
        require_fields("model.reward.", self)
        require_task("model.reward.", self.weight, self.hidden)
        require_label_fraction("model.reward.label_fraction", self.label_fraction, self.weight)
        if self.labels == "acted":
            require(self.input == "observation", "model.reward.input", "observation with labels acted", self.input)


@dataclass(frozen=True, kw_only=True)
class ValueConfig(TaskConfig):
    """The action value Q, learned from lambda-returns that bootstrap on an EMA copy of its head."""

    likelihood: Likelihood = "gaussian"
    """As for the reward; bernoulli cuts returns to [0, 1], signed_bernoulli to [-1, 1]."""
    critics: int = 1
    """Q heads with weights of their own. Targets bootstrap on the least of them (arXiv:1802.09477), plans and the policy on
    their mean."""
    trace: float = 1.0
    """lambda: 0 bootstraps after one step, 1 at the end of the training window."""
    gap: float = 0.0
    """Widen the gap between the best action and the others by subtracting this share of max Q(z, .) - Q(z, a) from the
    targets (advantage learning, arXiv:1512.04860): the value of the best stays, and an action that changes nothing, worth
    only a discount less, is no longer lost in the error of the head, where a greedy policy would stay for ever."""
    novelty: float = 0.0
    """Reward that returns count besides, for every transition to an observation that its episode had not seen: plans then
    lead on to where there is more to see, as through a door (an episodic bonus, as in arXiv:2002.06038, in the values
    alone). Far below (1 - discount) times what a success is worth, it does not keep the agent from succeeding."""
    at_least_outcome: bool = False
    """Raise targets to the return that the episode then had, where it terminated: the best action is worth no less where
    transitions are deterministic, and one success is credited to all of its steps at once (arXiv:1806.05635)."""

    def __post_init__(self) -> None:
        require_fields("model.value.", self)
        require_task("model.value.", self.weight, self.hidden)
        require(self.critics >= 1, "model.value.critics", "at least 1", self.critics)
        require_share("model.value.trace", self.trace)
        require(0 <= self.gap < 1, "model.value.gap", "in [0, 1)", self.gap)
        require(0 <= self.novelty < math.inf, "model.value.novelty", "at least 0", self.novelty)


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The policy prior pi(a | z) of Box actions, trained towards what Q values most (arXiv:2310.16828).

    Its loss trains it alone: neither the latents nor Q receive a gradient from it. With it, the value of a state is Q at
    the policy's action instead of the maximum over fixed candidates. Finite actions need none: there the best action is
    found by trying all of them, and what proposes plans is a softmax of Q.
    """

    weight: float = 0.0
    """Weight of its loss; 0 switches it off."""
    hidden: int = 256
    """Width of its hidden layer."""
    entropy: float = 1e-3
    """Weight of its entropy, in ranges of Q over the batch (from the 5th to the 95th percentile) per nat."""

    def __post_init__(self) -> None:
        require_fields("model.policy.", self)
        require_task("model.policy.", self.weight, self.hidden)
        require(self.entropy >= 0, "model.policy.entropy", "at least 0", self.entropy)


@dataclass(frozen=True, kw_only=True)
class TerminationConfig(TaskConfig):
    """The probability that the transition into an observation terminated the episode (a time limit does not)."""

    def __post_init__(self) -> None:
        require_fields("model.termination.", self)
        require_task("model.termination.", self.weight, self.hidden)


@dataclass(frozen=True, kw_only=True)
class AuxiliaryConfig(TaskConfig):
    """One more auxiliary task, by the name of its target; docs/auxiliary_tasks.md says what each target is."""

    target: str
    """inverse, next_features, reconstruction, random_linear, random_network, constant, shuffled_reward, noise, info:KEY
    (a number that the environment puts into its info), or a name given to ``register_auxiliary``."""
    weight: float = 1.0
    likelihood: TaskLikelihood = "auto"
    """As for the reward, where the target is numbers: constant, shuffled_reward and noise (auto: gaussian), info:KEY (auto:
    two_hot) and registered ones (auto: as registered). The others have one loss each."""
    label_fraction: float = 1.0
    """Share of the observations that are labelled, drawn once for each when it is collected. Of tasks on transitions: the
    observations reached."""
    size: int = 0
    """Outputs of the random function (0: 256), or numbers under info:KEY (0: 1); of other targets always 0."""

    def __post_init__(self) -> None:
        name = f"the auxiliary task {self.target!r}: "
        require_target(self.target)
        require_fields(name, self)
        require_task(name, self.weight, self.hidden)
        require_label_fraction(f"{name}label_fraction", self.label_fraction, self.weight)
        environment = environment_target(self.target)
        if environment is None and self.target not in NUMBER_TARGETS:
            require(self.likelihood == "auto", f"{name}likelihood", "auto", self.likelihood)
        sized = self.target in FUNCTION_TARGETS or self.target.startswith(INFO)
        require(self.size == 0 or (sized and self.size > 0), f"{name}size", "at least 0" if sized else "0", self.size)

    @property
    def numbers(self) -> int:
        """How many numbers the target of an observation has, where it is numbers."""
        environment = environment_target(self.target)
        if environment is not None:
            return self.size or environment.size
        return self.size or 256 if self.target in FUNCTION_TARGETS else 1

    @property
    def number_likelihood(self) -> Likelihood:
        """The likelihood of a target that is numbers."""
        if self.likelihood != "auto":
            return self.likelihood
        environment = environment_target(self.target)
        return "gaussian" if environment is None else environment.likelihood
