"""A small vision transformer (arXiv:2010.11929) as an encoder of images, which can also see some of the patches alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jepa_rl.world_model.encoders import ImageFormat


def patch_grid(shape: Sequence[int], size: int) -> tuple[int, int]:
    """Rows and columns of patches of ``size`` pixels in an image of ``shape``; ValueError where they do not fill it."""
    _, height, width = ImageFormat(shape=tuple(shape), contrast="none").planes
    if height % size or width % size:
        raise ValueError(
            f"model.encoder.patches.size must divide the image's sides, {height} and {width} pixels, got {size}"
        )
    return height // size, width // size


def grid_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Fixed sines and cosines of row and column, [rows * columns, width], as in arXiv:2301.08243.

    A quarter of the width each holds sin and cos of the row and of the column, at frequencies that fall from 1
    towards 1/10,000 radian per patch, which none reaches.
    """
    frequency = 10_000.0 ** -torch.linspace(0, 1, width // 4 + 1)[:-1]
    axes = torch.meshgrid(*[torch.arange(length, dtype=torch.float32) for length in grid], indexing="ij")
    angles = [axis.reshape(-1, 1) * frequency for axis in axes]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)


class TransformerBlock(nn.Module):
    """Pre-norm attention over tokens, then a perceptron four times as wide; no dropout.

    Attention is two matrix products and a softmax here, for speed: the tokens of a small image are few and narrow, and the
    backward pass of torch's fused kernel is slow for them on a CPU, in bfloat16 above all.
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.attend_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        # As in nn.MultiheadAttention.
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.merge.bias)

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Map tokens [N, P, width] to tokens of that shape; none attends to those where ``padding`` bool[N, P] is True."""
        tokens = tokens + self._attend(self.attend_norm(tokens), padding)
        return tokens + self.perceptron(tokens)

    def _attend(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        heads = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [N, heads, P, width / heads]
        score = (query * self.scale) @ key.transpose(-1, -2)
        if padding is not None:
            score = score.masked_fill(padding[:, None, None], -torch.inf)
        return self.merge((score.softmax(-1) @ value).transpose(1, 2).flatten(2))


def transformer_blocks(*, width: int, depth: int, heads: int) -> nn.ModuleList:
    """``depth`` blocks, each with initial weights of its own."""
    return nn.ModuleList(TransformerBlock(width=width, heads=heads) for _ in range(depth))


class PatchEncoder(nn.Module):
    """Patches of images [N, H, W, C] or [N, C, H, W] through transformer blocks; the latent is linear in their mean.

    Args:
        images: their contrast is that of the whole image, also where patches are hidden afterwards.
        size: side of a patch, in pixels.
        width, depth, heads: of the transformer.
        latent_dim: of the pooled latent.

    Raises ValueError where ``size`` does not divide the image's height and width.
    """

    def __init__(self, *, images: ImageFormat, size: int, width: int, depth: int, heads: int, latent_dim: int) -> None:
        super().__init__()
        self.images = images
        self.grid = patch_grid(images.shape, size)
        self.embed = nn.Conv2d(images.planes[0], width, size, stride=size)
        # torch's default leaves the content of a sparse image faint beside its positions.
        nn.init.orthogonal_(self.embed.weight, gain=2**0.5)
        self.register_buffer("position", grid_positions(self.grid, width), persistent=False)
        self.position: Tensor
        self.blocks = transformer_blocks(width=width, depth=depth, heads=heads)
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Linear(width, latent_dim)

    def forward(self, observation: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Map images [N, *shape] to latents [N, D], of the patches that are not ``hidden`` bool[N, P]."""
        tokens = self.tokens(observation, hidden)
        if hidden is None:
            return self.pool(tokens.mean(1))
        return self.pool(tokens.sum(1) / (~hidden).sum(1, keepdim=True))

    def tokens(self, observation: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Map images [N, *shape] to the latents of their P patches, row by row, [N, P, width].

        Patches that are ``hidden``, bool[N, P], reach no other patch's latent, and have latent 0. Raises ValueError where
        all patches of an image are hidden.
        """
        tokens = self.embed(self.images.read(observation)).flatten(2).transpose(1, 2) + self.position
        if hidden is None:
            return self._transform(tokens, None)
        fewest, most = (~hidden).sum(1).aminmax()
        if not fewest:
            raise ValueError(f"hidden must leave at least one of the {hidden.shape[1]} patches of every image visible")
        # Visible patches first, so that the blocks work on as many columns as the fullest image needs, and on no more.
        order = hidden.long().argsort(dim=1, stable=True)[:, : int(most)]
        padding = hidden.gather(1, order)
        index = order.unsqueeze(-1).expand(-1, -1, tokens.shape[2])
        visible = self._transform(tokens.gather(1, index), padding).masked_fill(padding.unsqueeze(-1), 0.0)
        return visible.new_zeros(tokens.shape).scatter(1, index, visible)

    def _transform(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, padding)
        return self.norm(tokens)
