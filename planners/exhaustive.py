"""Exhaustive search: every action sequence, each shared prefix imagined once, judged at one depth or at all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_rl.planners.action_value import action_values
from jepa_rl.planners.actions import FiniteActions, require_first_cost
from jepa_rl.planners.distributions import boltzmann, draw_categorical
from jepa_rl.planners.rollout import Rollout
from jepa_rl.planners.types import LatentModel, Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class ExhaustivePlanner:
    """Expand the tree of all joint actions to the horizon: exact, at |A|^H leaves per observation.

    With G_d the imagined return whose first d rewards are the model's and whose rest is Q of the next action, or at the
    horizon the value of the last latent, a sequence is worth::

        (1 - trace) sum_{d < H} trace^d G_d  +  trace^H G_H

    as the lambda-return mixes the returns of real trajectories. What the model imagines wrongly at one depth then meets
    what it knows at others; ``trace`` 1 asks the leaves alone, 0 the action values at the root alone.
    """

    space: FiniteActions
    horizon: int  # environment steps
    discount: float
    temperature: float  # units of return
    trace: float  # lambda, in [0, 1]

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
        """Plan from each of the latents [B, D] separately; see ``Planner.plan``.

        ``warm_start``, ``warm`` and ``proposals`` change nothing: every sequence is a candidate already. With ``trace``
        below 1 the model must have ``action_values``, and what the function of this name raises comes through. With
        ``deterministic`` False the first action is drawn with weights exp(best return that follows it / temperature),
        and the best continuation of it is taken.
        """
        require_first_cost(self.space, first_cost, len(latent))
        actions = self.space.enumerate().to(latent.device)
        returns = self._returns(model, latent, actions).view(len(latent), len(actions), -1)  # [B, first action, the rest]
        spread = returns.flatten(1).std(dim=1, correction=0)
        if first_cost is not None:
            returns = returns - first_cost.unsqueeze(2)

        best, continuation = returns.max(dim=2)
        if deterministic:
            first = best.argmax(dim=1)
        else:
            first = draw_categorical(boltzmann(best, self.temperature), 1, generator).squeeze(1)
        rows = torch.arange(len(latent), device=latent.device)
        leaf = first * returns.shape[2] + continuation[rows, first]
        return Plan(actions=actions[self._path(leaf)], value=best[rows, first], spread=spread)

    def _returns(self, model: LatentModel, latent: Tensor, actions: Tensor) -> Tensor:
        """What every sequence of the joint ``actions`` [A, ...] is worth from each of the latents, [B * A^H]."""
        rollout = Rollout.start(latent)
        mixture = torch.zeros_like(rollout.weight)
        for depth in range(self.horizon):
            if self.trace < 1:
                ending_here = rollout.finish_by(action_values(model, rollout.latent, len(actions)))
                mixture = (mixture.unsqueeze(1) + (1 - self.trace) * self.trace**depth * ending_here).flatten()
            every_action = actions.repeat(len(rollout.weight), *[1] * len(self.space.shape))
            rollout = rollout.branch(len(actions)).advance(model, every_action, self.discount)
        at_leaves = rollout.finish(model)
        return at_leaves if self.trace == 1 else mixture + self.trace**self.horizon * at_leaves

    def _path(self, leaf: Tensor) -> Tensor:
        """Return the joint action numbers [B, H] that lead to the leaves [B]: their digits in base |A|."""
        base = self.space.joint_count
        place = base ** torch.arange(self.horizon - 1, -1, -1, device=leaf.device)
        return leaf.unsqueeze(1) // place % base
