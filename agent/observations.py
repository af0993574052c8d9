"""Observations of any supported Gymnasium space as one array per row, and how the encoder reads it."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from jepa_rl.world_model import ObservationSpec
from jepa_rl.world_model.encoder_config import EncoderKind
from jepa_rl.world_model.encoders import TEXT_PADDING

Array = npt.NDArray[Any]

SUPPORTED = (
    "Box (vectors, images, grids of symbols), Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these and of "
    "texts, also nested"
)
SMALLEST_IMAGE = 16  # pixels; below that a uint8 array is more likely a grid of symbols
# Beyond these bounds, infinite ones included, a component is read as its symlog: one that is a thousand times larger than
# the others would drown them in the first layer, and the largest floats would overflow there.
WIDE = 1_000.0
# A component that is not read as its symlog drowns the others from here on, and overflows the encoder further out.
FAR = 1_000 * WIDE
TEXT_BYTES = 512  # of a text whose space does not bound its length
_REASONS = {
    spaces.Text: "a text alone tells observations apart but is no state to predict; put it in a Dict beside what it is "
    "about, or let gymnasium.wrappers.TransformObservation encode it as a Box",
    spaces.Sequence: "its length varies, and the encoder reads a fixed number of values; let "
    "gymnasium.wrappers.TransformObservation pad it to a Box",
    spaces.Graph: "its numbers of nodes and edges vary, and the encoder reads a fixed number of values; let "
    "gymnasium.wrappers.TransformObservation write it as padded Box matrices of nodes and edges",
    spaces.OneOf: "its shape varies, and the encoder reads a fixed number of values; let "
    "gymnasium.wrappers.TransformObservation write it as a Tuple of the index and every alternative",
}


def observation_spec(space: spaces.Space[Any], kind: EncoderKind) -> ObservationSpec:
    """How the encoder reads what ``ObservationAdapter`` makes of ``space``; ``kind`` is ``ModelConfig.encoder.kind``.

    Raises ValueError for a space that no encoder serves, saying why and what to do, or that the chosen kind does not fit.
    """
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        if is_text(space):
            raise _unsupported("observation", space)
        return _leaf_spec("observation", space, kind)
    leaves = list(leaves_of("observation", space))
    if not leaves:
        raise ValueError(f"observation space {space} holds nothing to observe; supported are {SUPPORTED}")
    # A kind is meant for those parts that it fits: one encoder's options serve a mixture of images and vectors.
    kinds = [kind if _misfit(leaf, kind) is None else "auto" for _, leaf in leaves]
    if kind not in kinds:
        raise ValueError(f"model.encoder.kind {kind!r} fits no part of the observation space {space}")
    parts = tuple(_leaf_spec(name, leaf, each) for (name, leaf), each in zip(leaves, kinds, strict=True))
    return ObservationSpec(kind="row", shape=(sum(part.bytes for part in parts),), dtype="uint8", parts=parts)


class ObservationAdapter:
    """Observations as the environment gives them and as replay and encoder hold them: one array of ``shape`` and ``dtype``.

    A single space keeps its arrays. A Dict or Tuple becomes one uint8 row, the bytes of its parts one after another (UTF-8
    for texts): nothing is rounded, images keep one byte per pixel, and what holds observations goes on holding one array.

    Raises ValueError as ``observation_spec`` does.
    """

    def __init__(self, space: spaces.Space[Any], kind: EncoderKind) -> None:
        self.space = space
        self.spec = observation_spec(space, kind)
        self._is_row = self.spec.kind == "row"
        specs = self.spec.parts if self._is_row else (self.spec,)
        leaves = leaves_of("observation", space)
        self._parts = [_Part(name, leaf, spec) for (name, leaf), spec in zip(leaves, specs, strict=True)]
        self.shape = self.spec.shape if self._is_row else self._parts[0].shape
        self.dtype = np.dtype(self.spec.dtype)

    def pack(self, observation: Any) -> Array:
        """One observation as [*shape], or a batch of N, every array and text in it with a leading axis, as [N, *shape].

        Rows that are packed already stay as they are.

        Raises:
            ValueError: a part is missing, its shape does not fit the space, a choice is none of a Discrete space's, or a
                value is beyond FAR though its bounds are near.
            TypeError: values that the space's dtype cannot hold.
            FloatingPointError: a value is not finite, naming the part and the environment.
        """
        if not self._is_row:
            return self._parts[0].read(observation)
        if isinstance(observation, np.ndarray):
            if observation.dtype != np.uint8 or observation.shape[-1:] != self.shape:
                expected = f"{type(self.space).__name__} or packed rows uint8[..., {self.shape[0]}]"
                raise ValueError(f"observation must be a {expected}, got {observation.dtype}{list(observation.shape)}")
            return observation
        values = values_of("observation", self.space, observation)
        arrays = [part.read(value) for part, value in zip(self._parts, values, strict=True)]
        batches = {array.shape[: array.ndim - len(part.shape)] for part, array in zip(self._parts, arrays, strict=True)}
        if len(batches) != 1:
            raise ValueError(f"the parts of an observation must agree in their batch shape, got {sorted(batches)}")
        (batch,) = batches
        flat = [array.reshape((*batch, part.size)) for part, array in zip(self._parts, arrays, strict=True)]
        return np.concatenate([np.ascontiguousarray(array).view(np.uint8) for array in flat], axis=-1)

    def unpack(self, packed: Array) -> Any:
        """The inverse of ``pack``."""
        if not self._is_row:
            return packed
        ends = np.cumsum([part.spec.bytes for part in self._parts])[:-1]
        pieces = np.split(packed, ends, axis=-1)
        return _nested(self.space, iter([part.write(piece) for part, piece in zip(self._parts, pieces, strict=True)]))


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that is neither Dict nor Tuple: an array of ``shape`` and the spec's dtype; a text is padded to its length."""

    name: str
    space: spaces.Space[Any]
    spec: ObservationSpec

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape if is_text(self.space) else self.space.shape or ()

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def read(self, value: Any) -> Array:
        """A value or a batch of them as an array [..., *shape]."""
        given = _utf8(self.name, value, self.size) if is_text(self.space) else np.asarray(value)
        if given.shape not in (self.shape, (*given.shape[:1], *self.shape)):
            batched = f"(N, {', '.join(map(str, self.shape))})"
            raise ValueError(f"{self.name} must have shape {self.shape} or {batched}, got {given.shape}")
        dtype = np.dtype(self.spec.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and refused as such
            array = given.astype(dtype, copy=False)
        if dtype.kind != "f":
            if not np.array_equal(array, given):
                hint = "; of VecNormalize, give norm_obs=False" if given.dtype.kind == "f" else ""
                raise TypeError(f"{self.name} must be {dtype}, got {given.dtype} with values that it cannot hold{hint}")
            if self.spec.kind == "onehot":
                self._require_choices(array)
        elif not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array.reshape(-1, self.size)).all(axis=1))[0]
            raise FloatingPointError(
                f"{self.name}{f' of environment {bad}' if array.shape != self.shape else ''} is not finite"
            )
        if self.spec.kind in ("vector", "image") and dtype.itemsize > 2:  # no number of one or two bytes is FAR
            self._require_near(array)
        return array

    def _require_near(self, array: Array) -> None:
        """Environments leave their bounds by rounding and more; only what is beyond FAR is refused."""
        values = array.reshape(-1, self.size).astype(np.float64)
        far = np.abs(values) > FAR
        far[:, list(self.spec.wide)] = False
        if not far.any():
            return
        row, component = np.argwhere(far)[0]
        low, high = self.spec.bounds[component] if self.spec.bounds else (self.spec.low, self.spec.high)
        way_out = f"; with bounds beyond {WIDE:,.0f}, or none, it would be read as its symlog"
        raise ValueError(
            f"{self.name} must stay near its bounds, [{low:g}, {high:g}] for component {component}, got "
            f"{values[row, component]:g}{way_out if self.spec.kind == 'vector' else ''}"
        )

    def _require_choices(self, array: Array) -> None:
        """Others would be read as choices of the next dimension, or stop every update that they are drawn for."""
        low = np.reshape(self.spec.starts, self.shape)
        if (array < low).any() or (array >= low + np.reshape(self.spec.counts, self.shape)).any():
            raise ValueError(f"{self.name} must lie in {self.space}, got {array.tolist()}")

    def write(self, piece: Array) -> Any:
        """What was read, from its bytes [..., bytes]."""
        if is_text(self.space):
            texts = [bytes(row).rstrip(bytes([TEXT_PADDING])).decode() for row in piece.reshape(-1, self.size)]
            return texts[0] if piece.ndim == 1 else tuple(texts)
        array = piece.copy().view(self.spec.dtype).reshape((*piece.shape[:-1], *self.shape))
        return array[()]  # a number where the array has no axis


def is_text(space: spaces.Space[Any]) -> bool:
    """Whether samples are strings: Text, and spaces of other packages such as MiniGrid's missions."""
    return space.dtype is not None and space.dtype.kind == "U"


def text_space(space: spaces.Space[Any]) -> spaces.Text:
    """``space`` if it says how long its texts are, or that of texts of at most TEXT_BYTES ASCII characters."""
    return space if isinstance(space, spaces.Text) else spaces.Text(TEXT_BYTES, min_length=0, charset=string.printable)


def _children(space: spaces.Space[Any]) -> Iterable[tuple[Any, spaces.Space[Any]]] | None:
    if isinstance(space, spaces.Dict):
        return space.spaces.items()
    return enumerate(space.spaces) if isinstance(space, spaces.Tuple) else None


def leaves_of(name: str, space: spaces.Space[Any]) -> Iterator[tuple[str, spaces.Space[Any]]]:
    """The parts of a space that are neither Dict nor Tuple, with their names from ``name`` on."""
    children = _children(space)
    if children is None:
        yield name, space
        return
    for key, child in children:
        yield from leaves_of(f"{name}[{key!r}]", child)


def values_of(name: str, space: spaces.Space[Any], observation: Any) -> Iterator[Any]:
    """What an observation, or a batch, holds for each of ``leaves_of``; ValueError naming a part that is missing."""
    children = _children(space)
    if children is None:
        yield observation
        return
    for key, child in children:
        try:
            value = observation[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"{name} must have a part {key!r} as in {space}, got {observation!r}") from error
        yield from values_of(f"{name}[{key!r}]", child, value)


def _nested(space: spaces.Space[Any], values: Iterator[Any]) -> Any:
    children = _children(space)
    if children is None:
        return next(values)
    parts = {key: _nested(child, values) for key, child in children}
    return parts if isinstance(space, spaces.Dict) else tuple(parts.values())


def _utf8(name: str, value: Any, size: int) -> Array:
    """A text or a batch of them as padded bytes uint8[..., size]."""
    texts = [str(text).encode() for text in ([value] if isinstance(value, str) else value)]
    longest = max(map(len, texts), default=0)
    if longest > size:
        raise ValueError(f"{name} must be at most {size} bytes of UTF-8, got {longest}")
    rows = np.frombuffer(b"".join(text.ljust(size, bytes([TEXT_PADDING])) for text in texts), np.uint8).reshape(-1, size)
    return rows[0] if isinstance(value, str) else rows


def _leaf_spec(name: str, space: spaces.Space[Any], kind: EncoderKind) -> ObservationSpec:
    if is_text(space):
        text = text_space(space)
        longest = text.max_length * max(len(character.encode()) for character in text.character_set)
        return ObservationSpec(kind="text", shape=(longest,), dtype="uint8")
    if isinstance(space, spaces.Discrete):
        counts, starts = (int(space.n),), (int(space.start),)
        return ObservationSpec(kind="onehot", shape=(), dtype=str(space.dtype), counts=counts, starts=starts)
    if isinstance(space, spaces.MultiDiscrete):
        counts, starts = tuple(space.nvec.flatten().tolist()), tuple(space.start.flatten().tolist())
        return ObservationSpec(kind="onehot", shape=space.shape, dtype=str(space.dtype), counts=counts, starts=starts)
    if isinstance(space, spaces.MultiBinary):
        return ObservationSpec(kind="vector", shape=space.shape, dtype=str(space.dtype))
    if not isinstance(space, spaces.Box) or space.dtype.itemsize > 8 or 0 in space.shape:
        raise _unsupported(name, space)
    return _box_spec(name, space, kind)


def _unsupported(name: str, space: spaces.Space[Any]) -> ValueError:
    reasons = [reason for cls, reason in _REASONS.items() if isinstance(space, cls)]
    if is_text(space):
        reasons = [_REASONS[spaces.Text]]
    elif isinstance(space, spaces.Box):
        reasons = ["a Box must hold at least one value, of at most 64 bits"]
    because = f": {reasons[0]}" if reasons else ""
    return ValueError(f"{name} space {space} is not supported{because}; supported are {SUPPORTED}")


def _box_spec(name: str, space: spaces.Box, kind: EncoderKind) -> ObservationSpec:
    chosen = kind if kind != "auto" else "image" if _looks_like_an_image(space) else "vector"
    dtype = str(space.dtype)
    misfit = _misfit(space, chosen)
    if misfit is not None:
        raise ValueError(f"model.encoder.kind {chosen!r} needs {misfit}, got {name} space {space}")
    if kind == "auto" and chosen == "vector" and len(space.shape) == 3 and space.dtype == np.uint8:
        raise ValueError(
            f"{name} space {space} is too small for an image; choose model.encoder.kind 'grid' for symbols "
            "or 'vector' to flatten it"
        )
    if chosen == "image":
        low, high = _bounds_of_all(space) or (0.0, 255.0)
        shape = space.shape if len(space.shape) == 3 else (*space.shape, 1)
        return ObservationSpec(kind="image", shape=shape, dtype=dtype, low=low, high=high)
    if chosen == "grid":
        highest = np.asarray(space.high).reshape(-1, space.shape[2]).max(0)
        return ObservationSpec(kind="grid", shape=space.shape, dtype=dtype, counts=tuple(int(each) + 1 for each in highest))
    reach = np.maximum(np.abs(space.low.astype(np.float64)), np.abs(space.high.astype(np.float64))).flatten()
    wide = tuple(np.flatnonzero(reach > WIDE).tolist())
    ends = np.stack([space.low, space.high], axis=-1).astype(np.float64).reshape(-1, 2)
    bounds = tuple((float(lowest), float(highest)) for lowest, highest in ends)
    return ObservationSpec(kind="vector", shape=space.shape, dtype=dtype, wide=wide, bounds=bounds)


def _bounds_of_all(space: spaces.Box) -> tuple[float, float] | None:
    """The finite bounds that all values have in common; None where there are none."""
    low, high = float(space.low.flat[0]), float(space.high.flat[0])
    uniform = (space.low == low).all() and (space.high == high).all()
    return (low, high) if uniform and low < high and np.isfinite([low, high]).all() else None


def _looks_like_an_image(space: spaces.Box) -> bool:
    """Two long axes, and pixels: uint8, or colour planes of any dtype with the same finite bounds everywhere."""
    if _misfit(space, "image") is not None or (len(space.shape) == 2 and space.dtype != np.uint8):
        return False
    return sorted(space.shape)[-2] >= SMALLEST_IMAGE


def _misfit(space: spaces.Space[Any], kind: EncoderKind) -> str | None:
    """What ``kind`` needs, where ``space`` does not give it."""
    if kind == "auto" or (kind == "vector" and isinstance(space, spaces.Box)):
        return None
    dimensions = len(space.shape or ())
    if kind == "grid":
        return None if dimensions == 3 and space.dtype == np.uint8 else "a uint8 Box of three dimensions"
    if not isinstance(space, spaces.Box) or dimensions not in (2, 3) or 0 in space.shape:
        return "a Box of two or three dimensions"
    if space.dtype == np.uint8 or _bounds_of_all(space) is not None:
        return None
    return "a Box of two or three dimensions, uint8 or with the same finite bounds for all of its values"
