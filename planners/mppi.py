"""Model predictive path integral control: refit to all samples, weighted by the exponential of their return."""

from __future__ import annotations

from torch import Tensor

from jepa_rl.planners.distributions import boltzmann
from jepa_rl.planners.sampling import RefittingPlanner


class MPPIPlanner(RefittingPlanner):
    """MPPI (Williams et al. 2017): every sample counts, by exp(return / temperature).

    Unlike the original it also refits the spread, and serves finite actions, whose weighted frequencies it follows.
    """

    __slots__ = ()

    def weigh(self, returns: Tensor) -> Tensor:
        """Weigh the returns [B, M] by their exponential."""
        return boltzmann(returns, self.temperature)
