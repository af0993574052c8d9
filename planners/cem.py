"""The cross-entropy method: refit to the elites, all of them alike."""

from __future__ import annotations

from torch import Tensor

from jepa_rl.planners.sampling import RefittingPlanner, elite_mask


class CEMPlanner(RefittingPlanner):
    """Cross-entropy method (Rubinstein 1999) that carries elites over as iCEM does (Pinneri et al. 2020, arXiv:2008.06389).

    A categorical per step and dimension for finite actions, a clipped diagonal Gaussian for a box.
    """

    __slots__ = ()

    def weigh(self, returns: Tensor) -> Tensor:
        """Weigh the elites of returns [B, M] equally and everything else 0."""
        elite = elite_mask(returns, self.elites).to(returns.dtype)
        return elite / elite.sum(dim=1, keepdim=True)
