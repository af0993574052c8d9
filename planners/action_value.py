"""No search: the action that the value head ranks highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from jepa_rl.planners.actions import FiniteActions, require_first_cost
from jepa_rl.planners.distributions import boltzmann, draw_categorical
from jepa_rl.planners.rollout import require_latents
from jepa_rl.planners.types import LatentModel, Plan


@runtime_checkable
class ActionValueModel(Protocol):
    """The one question that acting by the value head asks."""

    def action_values(self, latent: Tensor) -> Tensor:
        """Map latents [N, D] to Q(z, a) of every action, [N, A], in the order of ``FiniteActions.enumerate``."""
        ...


def action_values(model: object, latent: Tensor, count: int) -> Tensor:
    """Q [N, count] of every one of ``count`` actions at latents [N, D].

    Raises TypeError for a model without ``action_values``, ValueError for one that does not value every action,
    FloatingPointError for values that are not finite.
    """
    if not isinstance(model, ActionValueModel):
        raise TypeError(f"this planner needs a model with action_values, got {type(model).__name__}")
    value = model.action_values(latent)
    expected = len(latent), count
    if value.shape != expected:
        raise ValueError(f"action values must have shape {list(expected)}, got {list(value.shape)}")
    finite = torch.isfinite(value)
    if not finite.all():
        raise FloatingPointError(f"action values are not finite in {int((~finite).sum())} entries")
    return value.float()  # as imagined returns are, whatever the precision of the model


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionValuePlanner:
    """Act by argmax_a Q(z, a): the control that shows what planning adds to the same model."""

    space: FiniteActions
    temperature: float  # units of return

    @torch.no_grad()
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
        """Choose from each of the latents [B, D] separately; see ``Planner.plan``.

        ``warm_start``, ``warm`` and ``proposals`` change nothing. With ``deterministic`` False the action is drawn with
        weights exp(Q / temperature). Raises what ``action_values`` does.
        """
        require_latents(latent)
        require_first_cost(self.space, first_cost, len(latent))
        value = action_values(model, latent, self.space.joint_count)
        spread = value.std(dim=1, correction=0)
        if first_cost is not None:
            value = value - first_cost
        chosen = (
            value.argmax(dim=1)
            if deterministic
            else draw_categorical(boltzmann(value, self.temperature), 1, generator).squeeze(1)
        )
        actions = self.space.enumerate().to(latent.device)
        return Plan(
            actions=actions[chosen].unsqueeze(1),
            value=value.gather(1, chosen.unsqueeze(1)).squeeze(1),
            spread=spread,
        )
