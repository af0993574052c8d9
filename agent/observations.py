"""Observations of any supported Gymnasium space as one array per row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from jepa_rl.agent.observation_spaces import WIDE, children_of, is_text, leaves_of, observation_spec, values_of
from jepa_rl.world_model import ObservationSpec
from jepa_rl.world_model.encoder_config import EncoderKind
from jepa_rl.world_model.encoders import TEXT_PADDING

Array = npt.NDArray[Any]

# A component that is not read as its symlog drowns the others from here on, and overflows the encoder further out.
FAR = 1_000 * WIDE


class ObservationAdapter:
    """Observations as the environment gives them and as replay and encoder hold them: one array of ``shape`` and ``dtype``.

    A single space keeps its arrays. A Dict or Tuple becomes one uint8 row, the bytes of its parts one after another (UTF-8
    for texts): nothing is rounded, images keep one byte per pixel, and what holds observations goes on holding one array.

    Args:
        space: of the observations.
        kind: ``ModelConfig.encoder.kind``.
        vocabulary: of the encoder of grids, where it has fewer symbols than ``space`` allows.

    Raises ValueError as ``observation_spec`` does.
    """

    def __init__(self, space: spaces.Space[Any], kind: EncoderKind, *, vocabulary: int | None = None) -> None:
        self.space = space
        spec = observation_spec(space, kind)
        self.spec = spec if vocabulary is None else spec.within(vocabulary)
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
            ValueError: a part is missing, its shape does not fit the space, a choice is none of a Discrete space's, a
                symbol none of the encoder's, or a value is beyond FAR though its bounds are near.
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
            if self.spec.kind == "grid":
                self._require_symbols(array)
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

    def _require_symbols(self, array: Array) -> None:
        """Once in the replay, a symbol that the encoder lacks would stop every update that it is drawn for."""
        symbols = array.reshape(-1, self.shape[-1])
        if (symbols < 0).any() or (symbols >= self.spec.counts).any():
            highest = [count - 1 for count in self.spec.counts]
            raise ValueError(
                f"{self.name} must have symbols from 0 to {highest} in its planes, by space and model.encoder.vocabulary, "
                f"got {symbols.min(0).tolist()} to {symbols.max(0).tolist()}"
            )

    def write(self, piece: Array) -> Any:
        """What was read, from its bytes [..., bytes]."""
        if is_text(self.space):
            texts = [bytes(row).rstrip(bytes([TEXT_PADDING])).decode() for row in piece.reshape(-1, self.size)]
            return texts[0] if piece.ndim == 1 else tuple(texts)
        array = piece.copy().view(self.spec.dtype).reshape((*piece.shape[:-1], *self.shape))
        return array[()]  # a number where the array has no axis


def _nested(space: spaces.Space[Any], values: Iterator[Any]) -> Any:
    children = children_of(space)
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
