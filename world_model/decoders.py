"""Decoders, latent -> observation: what the reconstruction task trains and what reports draw."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepa_rl.world_model.encoders import ImageFormat, read_vector, wide_mask
from jepa_rl.world_model.heads import mlp

WIDTH = 32  # channels at the coarsest resolution, halved at each doubling
DOUBLINGS = 4


def transposed_convolutions(inputs: int, channels: int, height: int, width: int) -> nn.Sequential:
    """One linear layer and four doublings: [N, inputs] to [N, channels, >= height, >= width], to be cut to size."""
    scale = 2**DOUBLINGS
    coarse = -(-height // scale), -(-width // scale)
    widths = [WIDTH // 2**level for level in range(DOUBLINGS)]
    layers: list[nn.Module] = [nn.Linear(inputs, WIDTH * coarse[0] * coarse[1]), nn.Unflatten(1, (WIDTH, *coarse))]
    for narrower, outputs in zip(widths, [*widths[1:], channels], strict=True):
        layers += [nn.SiLU(), nn.ConvTranspose2d(narrower, outputs, 4, stride=2, padding=1)]
    return nn.Sequential(*layers)


class VectorDecoder(nn.Module):
    """Latents [N, D] to the numbers that a VectorEncoder reads, [N, size]."""

    def __init__(self, *, latent_dim: int, hidden: int, size: int, wide: tuple[int, ...]) -> None:
        super().__init__()
        self.net = mlp(latent_dim, hidden, size)
        self.register_buffer("is_wide", wide_mask(size, wide), persistent=False)
        self.is_wide: Tensor | None

    def forward(self, latent: Tensor) -> Tensor:
        return self.net(latent)

    def target(self, observation: Tensor) -> Tensor:
        """What ``forward`` should give for observations [N, *shape]."""
        return read_vector(observation, self.is_wide)

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean square of each observation's error, [N]."""
        return (output - target).square().mean(-1)


class ImageDecoder(nn.Module):
    """Latents [N, D] to images as rows of pixels in 0..1, [N, H * W * C], in the order in which they are stored."""

    def __init__(self, *, latent_dim: int, hidden: int, images: ImageFormat) -> None:
        super().__init__()
        self.images = images
        channels, *self.size = images.planes
        self.net = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.SiLU(), transposed_convolutions(hidden, channels, *self.size)
        )

    def forward(self, latent: Tensor) -> Tensor:
        height, width = self.size
        image = self.net(latent)[..., :height, :width]
        return (image if self.images.channels_first else image.permute(0, 2, 3, 1)).flatten(1)

    def target(self, observation: Tensor) -> Tensor:
        """What ``forward`` should give for observations [N, *shape]."""
        return (observation.flatten(1).float() - self.images.low) / (self.images.high - self.images.low)

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean square of each observation's error, [N]."""
        return (output - target).square().mean(-1)


class SymbolDecoder(nn.Module):
    """Latents [N, D] to logits of the symbols of grids, and of Discrete and MultiDiscrete observations.

    Cell i of the flattened observation has ``counts[i]`` symbols, from ``starts[i]`` on.
    """

    def __init__(self, *, latent_dim: int, hidden: int, counts: tuple[int, ...], starts: tuple[int, ...]) -> None:
        super().__init__()
        self.net = mlp(latent_dim, hidden, len(counts) * max(counts))
        self.register_buffer("starts", torch.tensor(starts), persistent=False)
        # Cells have as many logits as the largest needs; those that a smaller one does not have cannot be chosen.
        beyond = torch.arange(max(counts)) >= torch.tensor(counts)[:, None]
        self.register_buffer("beyond", beyond, persistent=False)
        self.starts: Tensor
        self.beyond: Tensor

    def forward(self, latent: Tensor) -> Tensor:
        logits: Tensor = self.net(latent).unflatten(1, self.beyond.shape)
        return logits.masked_fill(self.beyond, -torch.inf)

    def target(self, observation: Tensor) -> Tensor:
        """What ``forward`` should give for observations [N, *shape]: indices int64 [N, cells]."""
        return observation.reshape(len(observation), -1).long() - self.starts

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of each observation's cells, [N], in nats."""
        return functional.cross_entropy(output.transpose(1, 2), target, reduction="none").mean(-1)
