"""The latent dynamics T(z, a) and how actions enter networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ActionEncoder(nn.Module):
    """Actions as network inputs: one-hot per discrete dimension, or the scaled numbers of a Box.

    ``counts`` holds the number of choices of each discrete dimension; a Box is described by ``box_size`` instead.
    """

    def __init__(self, *, counts: Sequence[int] = (), box_size: int = 0) -> None:
        super().__init__()
        if bool(counts) == bool(box_size):
            raise ValueError(f"actions must be either discrete or continuous, got counts={counts} and box_size={box_size}")
        self.counts = tuple(counts)
        self.width = sum(counts) or box_size

    def forward(self, action: Tensor) -> Tensor:
        """Map int64 [N] (one dimension), int64 [N, A] or float [N, A] to float [N, width]."""
        if not self.counts:
            return action.float()
        columns = action.reshape(len(action), len(self.counts)).unbind(1)
        one_hots = [functional.one_hot(column, count) for column, count in zip(columns, self.counts, strict=True)]
        return torch.cat(one_hots, dim=1).float()

    def decode(self, encoded: Tensor) -> Tensor:
        """The inverse for several discrete dimensions: float [N, width] to int64 [N, A]."""
        return torch.stack([one_hot.argmax(1) for one_hot in encoded.split(self.counts, dim=1)], dim=1)


class LatentDynamics(nn.Module):
    """T: latents [N, D] and encoded actions [N, width] to next latents [N, D]."""

    def __init__(self, *, latent_dim: int, action_width: int, hidden: int, layer_norm: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(latent_dim + action_width, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, latent_dim),
            nn.LayerNorm(latent_dim) if layer_norm else nn.Identity(),
        )

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.net(torch.cat([latent, action], dim=1))

    def rollout(self, latent: Tensor, action: Tensor) -> Tensor:
        """Apply T over and over: latents [B, D] and encoded actions [B, T, width] to the T following latents [B, T, D]."""
        first, *others = self.net
        assert isinstance(first, nn.Linear)
        of_latent, of_action = first.weight.split([latent.shape[1], action.shape[2]], dim=1)
        # What the actions add to the first layer does not depend on the latents: one product for all steps.
        added = functional.linear(action, of_action, first.bias)
        imagined = []
        for step in added.unbind(1):
            latent = torch.addmm(step, latent, of_latent.t())
            for layer in others:
                latent = layer(latent)
            imagined.append(latent)
        return torch.stack(imagined, dim=1)
