"""What the encoder is made of, and masked latent prediction, which needs one of patches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jepa_rl.world_model.validation import require, require_fields

EncoderKind = Literal["auto", "vector", "image", "grid"]
ImageEncoderKind = Literal["convolutional", "patches"]
Contrast = Literal["none", "max", "standard"]
GridEncoderKind = Literal["convolutional", "perceptron"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """The patch encoder of images: a small vision transformer (arXiv:2010.11929)."""

    size: int = 8
    """Side of a patch in pixels; it must divide the image's height and width."""
    width: int = 128
    """Dimension of the latent of one patch."""
    depth: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of each block."""

    def __post_init__(self) -> None:
        require_fields("model.encoder.patches.", self)
        require(self.size >= 1, "model.encoder.patches.size", "at least 1 pixel", self.size)
        _require_transformer("model.encoder.patches", self.width, self.depth, self.heads)


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The encoder E: observation -> latent."""

    kind: EncoderKind = "auto"
    """auto: image for uint8 pixels and for colour planes of other dtypes, vector for other Box spaces; grid must be asked
    for. Every other space has an encoder of its own; in a Dict or Tuple the kind is that of the parts that it fits."""
    own: str = ""
    """An encoder of your own, by the name under which ``register_encoder`` knows it, in place of all that is set here but
    ``precision`` and ``layer_norm``."""
    scale_bounded: bool = False
    """Vectors: scale components between bounds to [-1, 1], so that a narrow one counts as much as a wide one; those without
    bounds are read as their symlog either way."""
    hidden: tuple[int, ...] = (256,)
    """Widths of the hidden layers of the vector encoder, and of the grid encoder that is a perceptron."""
    convolutions: tuple[tuple[int, int, int, int], ...] = ((32, 4, 4, 0), (64, 3, 2, 1), (64, 3, 1, 1))
    """(channels, kernel, stride, padding) of each layer of the convolutional image encoder, in pixels."""
    image_encoder: ImageEncoderKind = "convolutional"
    """convolutional: the layers of ``convolutions``; patches: the vision transformer of ``patches``."""
    patches: PatchConfig = field(default_factory=PatchConfig)
    contrast: Contrast = "none"
    """Per-image contrast normalisation: divide by the image's maximum (max), or subtract its mean and divide by its
    standard deviation (standard), so that a dim object counts as much as a bright one."""
    grid_encoder: GridEncoderKind = "convolutional"
    """How the grid encoder joins cells: convolutions over the summed embeddings of each cell's symbols, or a perceptron
    over the one-hot symbols of all cells, which knows nothing of their neighbourhood."""
    embedding: int = 32
    """Width of the summed symbol embeddings of the convolutional grid encoder."""
    vocabulary: int = 16
    """Symbols of the grid encoder run from 0 to at most vocabulary - 1 in each plane; the space may allow fewer."""
    precision: Precision = "float32"
    """bfloat16: the encoder computes in bfloat16 (autocast), in training as in acting; its weights stay float32."""
    layer_norm: bool = False
    """Normalise the latent. Off where collapse is the subject: it freezes a collapse in place."""

    def __post_init__(self) -> None:
        require_fields("model.encoder.", self)
        require(self.embedding >= 1, "model.encoder.embedding", "at least 1", self.embedding)
        require(self.vocabulary >= 2, "model.encoder.vocabulary", "at least 2", self.vocabulary)
        require(min(self.hidden, default=1) >= 1, "model.encoder.hidden", "widths of at least 1", self.hidden)
        require(bool(self.convolutions), "model.encoder.convolutions", "at least one layer", "none")
        for channels, kernel, stride, padding in self.convolutions:
            expected = "channels, kernel, stride of at least 1 and padding of at least 0"
            fits = min(channels, kernel, stride) >= 1 and padding >= 0
            require(fits, "model.encoder.convolutions", expected, (channels, kernel, stride, padding))


@dataclass(frozen=True, kw_only=True)
class MaskedConfig:
    """Masked latent prediction, L_mask: the second JEPA objective, of single images (I-JEPA, arXiv:2301.08243).

    The latents that an EMA copy of the encoder gives the hidden patches are predicted from the visible ones. It needs an
    observation of one image and ``encoder.image_encoder = patches``, and trains neither the latent dynamics nor how patches
    are pooled into the latent: used alone, with ``dynamics.weight = 0``, it leaves the planner nothing to plan with.
    """

    weight: float = 0.0
    """Weight of L_mask; 0 switches it off."""
    trains_encoder: bool = True
    """Whether the gradient of L_mask reaches the encoder."""
    blocks: int = 4
    """Rectangular blocks of patches that are hidden in each image; they may overlap."""
    scale: tuple[float, float] = (0.15, 0.2)
    """Least and greatest area of a block, as a share of the image. All blocks together must stay below 1."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Least and greatest height of a block over its width."""
    width: int = 64
    """Width of the predictor, a transformer narrower than the encoder."""
    depth: int = 2
    """Its blocks."""
    heads: int = 4
    """Attention heads of each block."""

    def __post_init__(self) -> None:
        require_fields("model.masked.", self)
        require(self.weight >= 0, "model.masked.weight", "at least 0", self.weight)
        require(self.blocks >= 1, "model.masked.blocks", "at least 1", self.blocks)
        require(0 < self.scale[0] <= self.scale[1] < 1, "model.masked.scale", "increasing, in (0, 1)", self.scale)
        require(0 < self.aspect[0] <= self.aspect[1], "model.masked.aspect", "increasing and positive", self.aspect)
        _require_transformer("model.masked", self.width, self.depth, self.heads)


def _require_transformer(name: str, width: int, depth: int, heads: int) -> None:
    require(depth >= 1, f"{name}.depth", "at least 1", depth)
    require(heads >= 1, f"{name}.heads", "at least 1", heads)
    # Sine and cosine of a patch's row and of its column take a quarter of the width each.
    require(width >= 1 and width % 4 == 0, f"{name}.width", "a positive multiple of 4", width)
    require(width % heads == 0, f"{name}.width", f"a multiple of {name}.heads = {heads}", width)
