"""How steep a network is: lower bounds of Lipschitz constants from samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Tensor
from torch.func import vjp

ROUNDING = 1e-6  # latents closer than this share of the largest latent norm are equal in float32
PAIR_POINTS, JACOBIAN_POINTS, SAMPLED_ACTIONS, POWER_STEPS = 512, 64, 8, 20
NEAR = 1e-3  # of the mean distance: closer pairs say more about rounding than about slopes


def lipschitz_estimate(function: Callable[..., Tensor], latent: Tensor, action: Tensor | None, seed: int) -> float:
    """A lower bound of the Lipschitz constant of function(., action), for the worst of up to SAMPLED_ACTIONS actions.

    The larger of the steepest pair of latents and the largest Jacobian norm, at latents and half way between them.
    """
    generator = torch.Generator().manual_seed(seed)
    points = _sample(latent.detach(), PAIR_POINTS, generator)
    distance = pdist(plain(points))
    far = distance > max(NEAR * float(distance.mean()), ROUNDING * float(points.norm(dim=1).max()))
    some = points[:JACOBIAN_POINTS]
    some = torch.cat([some, (some + some.roll(1, 0)) / 2])
    start = torch.randn(some.shape, generator=generator, dtype=some.dtype).to(some.device)
    largest, steepest = 0.0, 0.0
    for chosen in [None] if action is None else _sample(action.unique(dim=0), SAMPLED_ACTIONS, generator):

        def of_latent(z: Tensor, chosen: Tensor | None = chosen) -> Tensor:
            out = function(z) if chosen is None else function(z, chosen.expand(len(z), *chosen.shape))
            return out.reshape(len(z), -1)

        with torch.no_grad():
            image = pdist(plain(of_latent(points)))
        steepest = max(steepest, float((image[far] / distance[far]).max(initial=0.0)))
        largest = max(largest, _jacobian_norm(of_latent, some, start))
    if steepest > 0 and largest == 0:
        raise ValueError("predict and read must be differentiable, got a function that changes but has no gradient")
    return max(largest, steepest)


def _jacobian_norm(function: Callable[[Tensor], Tensor], points: Tensor, start: Tensor) -> float:
    """The largest spectral norm of the Jacobians at points [P, D], from below: power iteration on all rows at once."""
    output, pullback = vjp(function, points)[:2]
    # J v from J^T u, which is linear in u: not every operation has a forward-mode derivative.
    pushforward = vjp(lambda u: vjp(function, points)[1](u)[0], torch.zeros_like(output))[1]
    direction = start
    for _ in range(POWER_STEPS):
        (image,) = pushforward(_unit(direction))
        (direction,) = pullback(_unit(image))
    norm = float(direction.detach().norm(dim=1).max())
    if not np.isfinite(norm):
        raise FloatingPointError("the Jacobian of predict or read is not finite")
    return norm


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)


def _sample(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:count].to(rows.device)]


def plain(rows: Tensor) -> np.ndarray:
    """Rows [N] or [N, m] as a float64 array [N, m]."""
    return rows.detach().cpu().to(torch.float64).reshape(len(rows), -1).numpy()
