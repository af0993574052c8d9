"""Random shooting: the best of uniformly drawn sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_rl.planners.actions import require_first_cost
from jepa_rl.planners.sampling import Guidance, SamplingPlanner
from jepa_rl.planners.types import LatentModel, Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomShootingPlanner(SamplingPlanner):
    """Draw sequences uniformly, once, and take the best: the baseline that every other search has to beat."""

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
        """Plan from each of the latents [B, D] separately; see ``Planner.plan``."""
        batch_size = len(latent)
        require_first_cost(self.space, first_cost, batch_size)
        guidance = Guidance.of(
            self.space, batch_size=batch_size, horizon=self.horizon, warm_start=warm_start, warm=warm, proposals=proposals
        )
        sampled = self.space.sample((batch_size, self.samples, self.horizon), generator).to(latent.device)
        sequences = guidance.lead(sampled)
        candidates, spread = self.begin(model, latent, sequences, first_cost=first_cost, generator=generator)
        return candidates.choose(
            elites=self.elites,
            temperature=self.temperature,
            generator=generator,
            deterministic=deterministic,
            spread=spread,
        )
