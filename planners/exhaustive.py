"""Exhaustive search: every action sequence, each shared prefix imagined once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_rl.planners.actions import FiniteActions
from jepa_rl.planners.distributions import boltzmann, draw_categorical
from jepa_rl.planners.rollout import Rollout
from jepa_rl.planners.types import LatentModel, Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class ExhaustivePlanner:
    """Expand the tree of all joint actions to the horizon: exact, at |A|^H leaves per observation."""

    space: FiniteActions
    horizon: int  # environment steps
    discount: float
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
        """Plan from each of the latents [B, D] separately; see ``Planner.plan``.

        ``warm_start``, ``warm`` and ``proposals`` change nothing: every sequence is a candidate already. With
        ``deterministic`` False the first action is drawn with weights exp(best return that follows it / temperature),
        and the best continuation of it is taken.
        """
        actions = self.space.enumerate().to(latent.device)
        rollout = Rollout.start(latent)
        for _ in range(self.horizon):
            every_action = actions.repeat(len(rollout.weight), *[1] * len(self.space.shape))
            rollout = rollout.branch(len(actions)).advance(model, every_action, self.discount)
        returns = rollout.finish(model).view(len(latent), len(actions), -1)  # [B, first action, continuation]
        if first_cost is not None:
            returns = returns - first_cost.unsqueeze(2)

        best, continuation = returns.max(dim=2)
        if deterministic:
            first = best.argmax(dim=1)
        else:
            first = draw_categorical(boltzmann(best, self.temperature), 1, generator).squeeze(1)
        rows = torch.arange(len(latent), device=latent.device)
        leaf = first * returns.shape[2] + continuation[rows, first]
        spread = returns.flatten(1).std(dim=1, correction=0)
        return Plan(actions=actions[self._path(leaf)], value=best[rows, first], spread=spread)

    def _path(self, leaf: Tensor) -> Tensor:
        """Return the joint action numbers [B, H] that lead to the leaves [B]: their digits in base |A|."""
        base = self.space.joint_count
        place = base ** torch.arange(self.horizon - 1, -1, -1, device=leaf.device)
        return leaf.unsqueeze(1) // place % base
