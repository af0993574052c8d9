"""Encoders E, observation -> latent: for vectors, images, grids, texts and rows of them, [N, *shape] to [N, latent_dim]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepa_rl.world_model.encoder_config import Contrast, GridEncoderKind
from jepa_rl.world_model.heads import symlog

TEXT_PADDING = 255  # a byte that UTF-8 never uses
TEXT_FEATURES = 251  # a prime, so that the hash below spreads over all of them


def read_vector(observation: Tensor, is_wide: Tensor | None) -> Tensor:
    """Observations [N, *shape] as float32 [N, size]; the components where ``is_wide`` bool[size] as their symlog."""
    values = observation.reshape(len(observation), -1)
    if is_wide is not None:
        # In the observation's own precision: a float64 may be beyond what float32 holds.
        values = values if values.is_floating_point() else values.double()
        values = torch.where(is_wide, symlog(values), values)
    return values.float()


def wide_mask(size: int, wide: Sequence[int]) -> Tensor | None:
    """bool[size], True at the components ``wide``; None where there are none."""
    return torch.zeros(size, dtype=torch.bool).index_fill_(0, torch.tensor(wide), True) if wide else None


def first_indices(counts: Sequence[int]) -> Tensor:
    """Where each dimension of ``counts`` choices begins in one list of all choices."""
    return torch.tensor([0, *counts[:-1]]).cumsum(0)


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of [N, ...] on a CPU, by their bytes, [M, ...]; and which of them each row is, int64[N]."""
    data, size = rows.numpy().tobytes(), rows[0].nbytes
    # A dict of bytes takes a tenth of a millisecond for a batch, sorting the rows several.
    place: dict[bytes, int] = {}
    which = [place.setdefault(data[begin : begin + size], len(place)) for begin in range(0, len(data), size)]
    distinct = torch.frombuffer(bytearray().join(place), dtype=rows.dtype).view(-1, *rows.shape[1:])
    return distinct, torch.tensor(which)


class VectorEncoder(nn.Module):
    """Multi-layer perceptron over the flattened observation, whose components ``wide`` are read as their symlog.

    With the (low, high) ``bounds`` of every component, those between bounds that are not wide are scaled to [-1, 1].
    """

    def __init__(
        self,
        *,
        size: int,
        hidden: Sequence[int],
        latent_dim: int,
        wide: Sequence[int] = (),
        bounds: Sequence[tuple[float, float]] = (),
    ) -> None:
        super().__init__()
        self.register_buffer("is_wide", wide_mask(size, wide), persistent=False)
        self.is_wide: Tensor | None
        self.register_buffer("scaling", _scaling(bounds, wide), persistent=False)
        self.scaling: Tensor | None
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(size, width), nn.LayerNorm(width), nn.SiLU()]
            size = width
        self.net = nn.Sequential(*layers, nn.Linear(size, latent_dim))

    def forward(self, observation: Tensor) -> Tensor:
        values = read_vector(observation, self.is_wide)
        if self.scaling is not None:
            values = torch.addcmul(self.scaling[1], values, self.scaling[0])
        return self.net(values)


def _scaling(bounds: Sequence[tuple[float, float]], wide: Sequence[int]) -> Tensor | None:
    """Slope and offset [2, size] that take each component from its bounds to [-1, 1]; None without bounds."""
    if not bounds:
        return None
    rows = [
        (1.0, 0.0) if index in wide or low >= high else (2 / (high - low), -(high + low) / (high - low))
        for index, (low, high) in enumerate(bounds)
    ]
    return torch.tensor(rows).T.contiguous()


class OneHotEncoder(nn.Module):
    """Discrete and MultiDiscrete observations: one-hot per dimension, then a perceptron."""

    def __init__(self, *, counts: Sequence[int], starts: Sequence[int], hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("offset", first_indices(counts) - torch.tensor(starts), persistent=False)
        self.offset: Tensor
        self.size = sum(counts)
        self.net = VectorEncoder(size=self.size, hidden=hidden, latent_dim=latent_dim)

    def forward(self, observation: Tensor) -> Tensor:
        index = observation.reshape(len(observation), -1).long() + self.offset
        one_hot = torch.zeros(len(observation), self.size, device=observation.device)
        return self.net(one_hot.scatter_(1, index, 1.0))


def normalize_contrast(image: Tensor, contrast: Contrast) -> Tensor:
    """Scale images of pixels 0..255, [N, C, H, W], per image; see ``EncoderConfig.contrast``.

    uint8 images come out in the precision that autocast works in: pixel values are exact in bfloat16, and converting them
    to float32 first would be a good part of the update.
    """
    # A twentieth of the pixel range keeps an empty image at zero instead of blowing up its noise.
    floor = 0.05 * 255
    dtype = torch.get_autocast_dtype(image.device.type) if torch.is_autocast_enabled(image.device.type) else torch.float32
    if contrast == "max":
        scale = 1 / (image.flatten(1).amax(1).float() + floor)
        return image.to(dtype) * scale.to(dtype).view(-1, 1, 1, 1)
    if contrast == "standard":
        deviation, mean = torch.std_mean(image.float(), (1, 2, 3), correction=0, keepdim=True)
        return ((image.float() - mean) / (deviation + floor)).to(dtype)
    return image.to(dtype) * (1 / 255)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFormat:
    """Images [N, H, W, C] or [N, C, H, W] with pixels between ``low`` and ``high``, which are read as 0..255."""

    shape: tuple[int, ...]
    contrast: Contrast
    low: float = 0.0
    high: float = 255.0

    @property
    def channels_first(self) -> bool:
        """Whether the colour axis, the short one, comes first; it comes last unless a wrapper transposed the images."""
        return self.shape[0] < min(self.shape[1:])

    @property
    def planes(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        first, second, third = self.shape
        return (first, second, third) if self.channels_first else (third, first, second)

    def read(self, observation: Tensor) -> Tensor:
        """Images as they are stored, in any flattening, as [N, C, H, W] after contrast normalisation."""
        image = observation.reshape(len(observation), *self.shape)
        if not self.channels_first:
            image = image.permute(0, 3, 1, 2)
        if (self.low, self.high) != (0.0, 255.0):
            image = (image.float() - self.low) * (255 / (self.high - self.low))
        return normalize_contrast(image, self.contrast)


class ImageEncoder(nn.Module):
    """Convolutions and one linear layer, without normalisation layers, over images of ``images``."""

    def __init__(self, *, images: ImageFormat, convolutions: Sequence[tuple[int, int, int, int]], latent_dim: int) -> None:
        super().__init__()
        self.images = images
        channels, height, width = images.planes
        layers: list[nn.Module] = []
        for out_channels, kernel, stride, padding in convolutions:
            height, width = (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1
            if min(height, width) < 1:
                raise ValueError(
                    f"model.encoder.convolutions {tuple(convolutions)} shrink an image of shape {images.shape} to nothing"
                )
            layers += [nn.Conv2d(channels, out_channels, kernel, stride, padding), nn.ReLU()]
            channels = out_channels
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, latent_dim))
        for name, parameter in self.net.named_parameters():
            # torch's default shrinks sparse images layer by layer, and the rare auxiliary signal with them.
            if name.endswith("weight"):
                nn.init.orthogonal_(parameter, gain=2**0.5)
            else:
                nn.init.zeros_(parameter)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's overloads

    def forward(self, observation: Tensor) -> Tensor:
        return self.net(self.images.read(observation))


class GridEncoder(nn.Module):
    """Grids of symbols, uint8 [N, H, W, planes], as MiniGrid's view; see ``EncoderConfig.grid_encoder`` for the two kinds.

    The symbols of each plane run from 0 to ``symbols`` - 1 of that plane; ValueError for others. On a CPU equal grids, of
    which a batch from replay has many, are encoded once.
    """

    def __init__(
        self,
        *,
        shape: Sequence[int],
        symbols: Sequence[int],
        kind: GridEncoderKind,
        embedding: int,
        hidden: Sequence[int],
        latent_dim: int,
    ) -> None:
        super().__init__()
        self.register_buffer("symbols", torch.tensor(symbols, dtype=torch.int16), persistent=False)
        self.symbols: Tensor
        self.net: nn.Module
        if kind == "convolutional":
            self.net = _ConvolvedGrid(shape=shape, symbols=symbols, embedding=embedding, latent_dim=latent_dim)
        else:
            counts = [*symbols] * (shape[0] * shape[1])
            self.net = OneHotEncoder(counts=counts, starts=[0] * len(counts), hidden=hidden, latent_dim=latent_dim)

    def forward(self, observation: Tensor) -> Tensor:
        if observation.device.type != "cpu":
            return self._encode(observation)
        distinct, which = distinct_rows(observation)
        return self._encode(distinct).index_select(0, which)

    def _encode(self, observation: Tensor) -> Tensor:
        highest = observation.flatten(0, -2).amax(0)
        if (highest >= self.symbols).any():
            raise ValueError(
                f"the planes of the grid have symbols up to {(self.symbols - 1).tolist()} (by the observation space and "
                f"model.encoder.vocabulary), but the observation holds {highest.tolist()}"
            )
        return self.net(observation)


class _ConvolvedGrid(nn.Module):
    def __init__(self, *, shape: Sequence[int], symbols: Sequence[int], embedding: int, latent_dim: int) -> None:
        super().__init__()
        height, width, _ = shape
        self.symbols = nn.Embedding(sum(symbols), embedding)
        self.register_buffer("offset", first_indices(symbols), persistent=False)
        self.offset: Tensor
        self.net = nn.Sequential(
            nn.Conv2d(embedding, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * height * width, latent_dim),
        )

    def forward(self, symbol: Tensor) -> Tensor:
        index = symbol.long() + self.offset
        present = torch.zeros(*index.shape[:-1], self.symbols.num_embeddings, device=index.device).scatter_(-1, index, 1.0)
        # A product with the table, not lookups, whose gradient a GPU adds up in an order that differs between runs.
        return self.net((present @ self.symbols.weight).permute(0, 3, 1, 2))


class TextEncoder(nn.Module):
    """Texts as UTF-8 bytes uint8 [N, L], padded with TEXT_PADDING: counts of hashed three-byte pieces, then a perceptron.

    It tells texts apart and finds what they share, as missions do that name an object and a colour; it knows no meaning.
    """

    def __init__(self, *, hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self.net = VectorEncoder(size=TEXT_FEATURES, hidden=hidden, latent_dim=latent_dim)

    def forward(self, observation: Tensor) -> Tensor:
        byte = functional.pad(observation.long(), (0, 2), value=TEXT_PADDING)
        feature = (byte[:, :-2] * 31**2 + byte[:, 1:-1] * 31 + byte[:, 2:]) % TEXT_FEATURES
        counts = torch.zeros(len(observation), TEXT_FEATURES, device=observation.device)
        return self.net(counts.scatter_add_(1, feature, (observation != TEXT_PADDING).float()))


class RowEncoder(nn.Module):
    """Rows of bytes, uint8 [N, size]: every part by an encoder of its own, then one linear layer over all of their latents.

    Each part is (encoder, dtype, shape); how parts act together is left to the dynamics and the heads.
    """

    def __init__(self, *, parts: Sequence[tuple[nn.Module, torch.dtype, Sequence[int]]], latent_dim: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([encoder for encoder, _, _ in parts])
        self.layout = [(dtype, tuple(shape)) for _, dtype, shape in parts]
        self.sizes = [torch.Size(shape).numel() * dtype.itemsize for dtype, shape in self.layout]
        self.fuse = nn.Linear(len(parts) * latent_dim, latent_dim)

    def forward(self, observation: Tensor) -> Tensor:
        pieces = observation.split(self.sizes, dim=1)
        latents = []
        for encoder, piece, (dtype, shape) in zip(self.encoders, pieces, self.layout, strict=True):
            # Numbers of several bytes must begin at multiples of their size, which a copy of their own does.
            values = piece if dtype == torch.uint8 else piece.clone(memory_format=torch.contiguous_format).view(dtype)
            latents.append(encoder(values.reshape(len(observation), *shape)))
        return self.fuse(torch.cat(latents, dim=1))
