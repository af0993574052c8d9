"""Masked latent prediction, I-JEPA (arXiv:2301.08243) made small: which patches are hidden, the predictor, the loss.

N = images, P = patches of an image, in a grid of rows and columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepa_rl.world_model.losses import masked_mean
from jepa_rl.world_model.patches import grid_positions, transformer_blocks


def block_shapes(
    grid: tuple[int, int], *, scale: tuple[float, float], aspect: tuple[float, float], blocks: int
) -> list[tuple[int, int]]:
    """Heights and widths, in patches, of the blocks that fit into ``grid`` and into the bounds, which count as inside.

    ``scale`` bounds the area as a share of the grid, ``aspect`` the height over the width. Raises ValueError where no block
    is within the bounds, or where ``blocks`` of them could hide every patch.
    """
    rows, columns = grid
    smallest, greatest = scale[0] * rows * columns, scale[1] * rows * columns
    shapes = [
        (height, width)
        for height in range(1, rows + 1)
        for width in range(1, columns + 1)
        if _within(height * width, smallest, greatest) and _within(height / width, *aspect)
    ]
    if not shapes:
        raise ValueError(
            f"model.masked.scale {scale} and model.masked.aspect {aspect} admit no block of whole patches in a grid of "
            f"{rows} x {columns}; widen them, or take smaller patches (model.encoder.patches.size)"
        )
    largest = max(height * width for height, width in shapes)
    if blocks * largest >= rows * columns:
        raise ValueError(
            f"model.masked.blocks must leave a patch of the grid of {rows} x {columns} visible, got {blocks} blocks of up "
            f"to {largest} patches"
        )
    return shapes


def _within(value: float, low: float, high: float) -> bool:
    """Whether ``value`` is between the bounds or at one of them but for rounding: 0.07 * 100 is above 7."""
    return low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


def sample_blocks(
    images: int, *, grid: tuple[int, int], shapes: list[tuple[int, int]], blocks: int, generator: torch.Generator
) -> Tensor:
    """Draw ``blocks`` blocks for each of N images, bool[N, blocks, rows, columns], True inside of the block.

    Each block has one of ``shapes`` and one of the places where that fits, uniformly and independently of the others.
    """
    drawn = torch.randint(len(shapes), (images, blocks), generator=generator)
    extent = torch.tensor(shapes)[drawn]
    places = torch.tensor(grid) - extent + 1
    first = (torch.rand(images, blocks, 2, generator=generator) * places).long()
    inside = []
    for axis, length in enumerate(grid):
        index = torch.arange(length)
        start = first[..., axis, None]
        inside.append((index >= start) & (index < start + extent[..., axis, None]))
    return inside[0].unsqueeze(-1) & inside[1].unsqueeze(-2)


def masked_prediction_loss(predicted: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """L_mask: mean square of the error of predicted patch latents [N, P, W], per dimension, over ``hidden`` bool[N, P]."""
    return masked_mean((predicted - target).square().mean(-1), hidden)


class MaskedPredictor(nn.Module):
    """Latents of visible patches and positions of hidden ones, to the latents of the hidden ones.

    A transformer over all patches of the grid; a hidden one enters as its position and a learned token. All blocks of an
    image are predicted in one pass.

    Args:
        grid: rows and columns of patches.
        patch_width: W, the dimension of a patch's latent.
        width, depth, heads: of the transformer.
    """

    def __init__(self, *, grid: tuple[int, int], patch_width: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(patch_width, width)
        self.token = nn.Parameter(torch.zeros(width))
        self.register_buffer("position", grid_positions(grid, width), persistent=False)
        self.position: Tensor
        self.blocks = transformer_blocks(width=width, depth=depth, heads=heads)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, patch_width)

    def forward(self, context: Tensor, hidden: Tensor) -> Tensor:
        """Map latents [N, P, W], read where not ``hidden`` bool[N, P], to predicted latents [N, P, W]."""
        tokens = torch.where(hidden.unsqueeze(-1), self.token, self.enter(context)) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.leave(self.norm(tokens))
