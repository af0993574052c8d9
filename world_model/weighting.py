"""How the gradients of several losses become one: learned weights, and projections of conflicting gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uncertainty_weighted(loss: Tensor, weight: Tensor, log_variance: Tensor) -> Tensor:
    """c exp(-s) L + s / 2 for every loss L, [n]: the weighting of arXiv:1705.07115 with learned s = log sigma^2.

    At the best s a loss weighs 1 / (2 L) whatever c is: ``weight`` c is where the weights begin, at s = 0. A loss that can
    reach 0 weighs ever more.

    Args:
        loss, weight, log_variance: [n].
    """
    return weight * (-log_variance).exp() * loss + log_variance / 2


def project_conflicts(gradients: Tensor, orders: Sequence[Tensor]) -> Tensor:
    """PCGrad (arXiv:2001.06782): the sum [P] of n gradients [n, P], each without what opposes one of the others.

    From each gradient its part along every other is taken that points against that other as it was given, one after
    another. ``orders[i]`` is the order int64 in which gradient i meets the others; its own number in it is passed over. So
    is a gradient so small that its squared norm is 0.
    """
    total = torch.zeros_like(gradients[0])
    for index, order in enumerate(orders):
        projected = gradients[index]
        for other in gradients[order[order != index]]:
            dot = projected @ other
            if dot < 0 and (square := other @ other) > 0:
                projected = projected - dot / square * other
        total = total + projected
    return total
