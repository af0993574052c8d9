"""Which observation spaces are supported, of what parts they consist, and how the encoder reads them."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from jepa_rl.world_model import ObservationSpec
from jepa_rl.world_model.encoder_config import EncoderKind

SUPPORTED = (
    "Box (vectors, images, grids of symbols), Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these and of "
    "texts, also nested"
)
SMALLEST_IMAGE = 16  # pixels; below that a uint8 array is more likely a grid of symbols
# Beyond these bounds, infinite ones included, a component is read as its symlog: one that is a thousand times larger than
# the others would drown them in the first layer, and the largest floats would overflow there.
WIDE = 1_000.0
SHOWN = 100  # characters
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


def is_text(space: spaces.Space[Any]) -> bool:
    """Whether samples are strings: Text, and spaces of other packages such as MiniGrid's missions."""
    return space.dtype is not None and space.dtype.kind == "U"


def text_space(space: spaces.Space[Any]) -> spaces.Text:
    """``space`` if it says how long its texts are, or that of texts of at most TEXT_BYTES ASCII characters."""
    return space if isinstance(space, spaces.Text) else spaces.Text(TEXT_BYTES, min_length=0, charset=string.printable)


def children_of(space: spaces.Space[Any]) -> Iterable[tuple[Any, spaces.Space[Any]]] | None:
    """The parts of a Dict or Tuple by their keys, in order; None for any other space."""
    if isinstance(space, spaces.Dict):
        return space.spaces.items()
    return enumerate(space.spaces) if isinstance(space, spaces.Tuple) else None


def leaves_of(name: str, space: spaces.Space[Any]) -> Iterator[tuple[str, spaces.Space[Any]]]:
    """The parts of a space that are neither Dict nor Tuple, with their names from ``name`` on."""
    children = children_of(space)
    if children is None:
        yield name, space
        return
    for key, child in children:
        yield from leaves_of(f"{name}[{key!r}]", child)


def values_of(name: str, space: spaces.Space[Any], observation: Any) -> Iterator[Any]:
    """What an observation, or a batch, holds for each of ``leaves_of``; ValueError naming a part that is missing."""
    children = children_of(space)
    if children is None:
        yield observation
        return
    for key, child in children:
        try:
            value = observation[key]
        except (KeyError, IndexError, TypeError) as error:
            parts = isinstance(observation, Mapping)
            got = f"the parts {sorted(map(str, observation))}" if parts else _shorter(observation)
            raise ValueError(f"{name} must have a part {key!r} as in {space}, got {got}") from error
        yield from values_of(f"{name}[{key!r}]", child, value)


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


def shown(space: spaces.Space[Any]) -> str:
    """A space in a message: without its bounds, where there is one for each of many values."""
    text = " ".join(str(space).split())
    return text if len(text) <= SHOWN else f"{type(space).__name__}{space.shape or ''} {space.dtype or ''}".strip()


def _shorter(observation: Any) -> str:
    """An observation in a message."""
    text = repr(observation)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


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
        raise ValueError(f"model.encoder.kind {chosen!r} needs {misfit}, got {name} space {shown(space)}")
    if kind == "auto" and chosen == "vector" and len(space.shape) == 3 and space.dtype == np.uint8:
        raise ValueError(
            f"{name} space {shown(space)} is too small for an image; choose model.encoder.kind 'grid' for symbols, as the "
            "preset minigrid does, or 'vector' to flatten it"
        )
    if kind == "auto" and len(space.shape) == 4 and space.dtype == np.uint8:
        raise ValueError(
            f"{name} space {shown(space)} is a stack of images, which no encoder reads as one; let "
            "jepa_rl.envs.make_env join the last N along their channels (history=N), or choose model.encoder.kind 'vector' "
            "to flatten them"
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
