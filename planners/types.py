"""The seams of planning: what a planner asks of a model, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


class LatentModel(Protocol):
    """The questions a planner asks; anything that answers them can be planned with, a table as well as a network."""

    def step(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map latents [N, D] and actions [N, ...] to next latents [N, D], rewards [N], continuation probabilities [N]."""
        ...

    def value(self, latent: Tensor) -> Tensor:
        """Map latents [N, D] to state values [N]."""
        ...


@runtime_checkable
class ProposingModel(LatentModel, Protocol):
    """A model that also says what it would do, for planners with ``PlannerConfig.proposals``."""

    def propose(self, latent: Tensor, generator: torch.Generator) -> Tensor:
        """Draw an action for each of the latents [N, D]: [N, ...], in the form of the planner's actions."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The outcome of one search per observation. B = observations, H = horizon."""

    actions: Tensor  # [B, H, ...], the chosen sequence; its first action is the one to take
    value: Tensor  # [B], what that sequence was judged by: its imagined return, less what its first action costs
    spread: Tensor  # [B], standard deviation of the imagined returns, no cost taken off, that the search began with

    @property
    def action(self) -> Tensor:
        """The action to take now, [B, ...]."""
        return self.actions[:, 0]


class Planner(Protocol):
    """Searches action sequences in imagination."""

    def plan(
        self,
        model: LatentModel,
        latent: Tensor,
        *,
        generator: torch.Generator,
        warm_start: Tensor | None = None,
        warm: Tensor | None = None,
        proposals: Tensor | None = None,
        first_cost: Tensor | None = None,
        deterministic: bool = True,
    ) -> Plan:
        """Plan from each of the latents [B, D] separately.

        ``warm_start`` [B, H, ...] is the previous plan's ``actions``, to be shifted by the step that was taken; rows where
        ``warm`` bool[B] is False (an episode just began) ignore it. ``proposals`` [B, P, H, ...] are candidate sequences
        from elsewhere (a policy, a value head) that compete with the sampled ones. ``first_cost`` [B, A], for Discrete
        actions, is subtracted from the return of every sequence that begins with each action. With ``deterministic`` False
        the plan is drawn among the good ones instead of being the best.

        Raises FloatingPointError when an imagined return or a cost is not finite, and ValueError or TypeError where an
        argument, or what the model answers, has another form than is said here.
        """
        ...
