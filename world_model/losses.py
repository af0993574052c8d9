"""The equations of training, as pure functions. B = batch, T = transitions, D = latent dimension."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where bool ``mask`` is True; 0 where it never is. What is not finite elsewhere does not enter."""
    # A clone keeps the layout, and with it the order of the sum; torch.where and masked_fill may not.
    return values.clone().masked_fill_(~mask, 0).sum() / mask.sum().clamp(min=1)


def dynamics_loss(imagined: Tensor, encoded: Tensor, alive: Tensor) -> Tensor:
    """L_dyn of arXiv:2509.12249: mean square of T(..T(E(o_0), a_0)..) - E(o_t), per latent dimension.

    Args:
        imagined: [B, T, D], the latents that T predicts from the first observation on.
        encoded: [B, T, D], the encodings of the observations that came.
        alive: bool[B, T], False after the end of the episode.
    """
    return masked_mean((imagined - encoded).square().mean(-1), alive)


def latent_variance(latent: Tensor, valid: Tensor) -> Tensor:
    """Variance of the latents [..., D] over the valid entries bool[...], averaged over dimensions."""
    weight = valid.unsqueeze(-1).float()
    count = weight.sum().clamp(min=1)
    mean = (latent * weight).flatten(0, -2).sum(0) / count
    return (((latent - mean) * weight).square().flatten(0, -2).sum(0) / count).mean()


def lambda_return(
    reward: Tensor, terminated: Tensor, alive: Tensor, bootstrap: Tensor, discount: float, trace: float
) -> Tensor:
    """lambda-returns of every transition of a window, [B, T].

    The reward of the terminating transition counts and nothing after it does. At a time limit, and at the end of the
    window, the return goes on with ``bootstrap``.

    Args:
        reward, terminated, alive: [B, T], as in ``Batch``.
        bootstrap: [B, T], the value of the observation that each transition reached.
        discount: per step.
        trace: lambda; 0 bootstraps after one step, 1 as late as possible.
    """
    result = torch.zeros_like(reward)
    last = reward.shape[1] - 1
    for t in reversed(range(last + 1)):
        following = bootstrap[:, t]
        if t < last:
            mixed = (1 - trace) * following + trace * result[:, t + 1]
            # Where the next transition is not alive, the episode or its known part ends here.
            following = torch.where(alive[:, t + 1], mixed, following)
        # Not a product with the mask: 0 times a bootstrap that is not finite would be NaN.
        result[:, t] = reward[:, t] + discount * following.masked_fill(terminated[:, t], 0)
    return result
