"""Frozen random functions of the observation: auxiliary targets that know nothing of the task."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from jepa_rl.world_model.encoders import read_vector, wide_mask


class RandomFunction(nn.Module):
    """A frozen random function of the observation, [N, *shape] to [N, size]; it knows nothing of the task.

    The components ``wide`` of a flattened vector are read as their symlog, as the encoder reads them.
    """

    def __init__(self, *, shape: Sequence[int], size: int, linear: bool, scale: float, wide: Sequence[int] = ()) -> None:
        super().__init__()
        inputs = math.prod(shape)
        self.scale = scale
        self.register_buffer("is_wide", wide_mask(inputs, wide), persistent=False)
        self.is_wide: Tensor | None
        if linear:
            self.net: nn.Module = nn.Linear(inputs, size, bias=False)
            nn.init.normal_(self.net.weight, std=inputs**-0.5)
        else:
            self.net = nn.Sequential(nn.Linear(inputs, 512), nn.Tanh(), nn.Linear(512, size))
        self.requires_grad_(False)

    def forward(self, observation: Tensor) -> Tensor:
        return self.net(read_vector(observation, self.is_wide) * self.scale)
