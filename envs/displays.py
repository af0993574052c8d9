"""Where numbers are shown beside an observation, so that not one of its own values changes."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

import numpy as np
from gymnasium import spaces

SMALLEST_IMAGE = 16  # pixels per side; a smaller uint8 array is a grid of symbols
SYMBOLS = 16  # of the added plane: as many as the grid encoder's vocabulary has by default
BAND_SHARE = 8  # an image is this many times as wide as its band is high


class Display(Protocol):
    """Shows K numbers in [-1/2, 1/2], which are shares of the range, beside an observation."""

    space: spaces.Box
    level: float  # the smallest difference that shows, as a share of the range; 0 where there is none

    def draw(self, observation: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The observation with ``values`` [K] beside it, in ``space``."""
        ...


class ImageBand:
    """A band of K grey fields below an image uint8[H, W, C], which becomes uint8[H + W // 8, W, C].

    0 is the middle of the pixel range. A band below overwrites nothing, at any variance; a background may come close
    to the colours of what stands before it.
    """

    level = 1 / 255

    def __init__(self, space: spaces.Box, size: int) -> None:
        self.height, width, channels = space.shape
        _require_room(size, width, f"the {width} columns of the image")
        rows = max(width // BAND_SHARE, 1)
        self.space: spaces.Box = spaces.Box(0, 255, (self.height + rows, width, channels), np.uint8)
        self.fields = _fields(width, size)

    def draw(self, observation: np.ndarray, values: np.ndarray) -> np.ndarray:
        image = np.empty(self.space.shape, np.uint8)
        image[: self.height] = observation
        image[self.height :] = np.rint(255 * (values + 0.5))[self.fields, None]
        return image


class SymbolPlane:
    """One more plane of a grid of symbols uint8[H, W, P]: K fields of symbols 0..15, in the order in which cells are read.

    A plane rather than a row or a border: the symbols of the other planes keep their meaning, because each plane has a
    vocabulary of its own, and the cells keep their places.
    """

    level = 1 / (SYMBOLS - 1)

    def __init__(self, space: spaces.Box, size: int) -> None:
        height, width, _ = space.shape
        _require_room(size, height * width, f"the {height * width} cells of the grid")
        plane = np.zeros((height, width, 1), np.uint8)
        low, high = (np.concatenate([space.low, plane], -1), np.concatenate([space.high, plane + SYMBOLS - 1], -1))
        self.space: spaces.Box = spaces.Box(low, high, dtype=np.uint8)
        self.fields = _fields(height * width, size).reshape(height, width)

    def draw(self, observation: np.ndarray, values: np.ndarray) -> np.ndarray:
        grid = np.empty(self.space.shape, np.uint8)
        grid[..., :-1] = observation
        grid[..., -1] = np.rint((SYMBOLS - 1) * (values + 0.5))[self.fields]
        return grid


class VectorTail:
    """K more components of a vector, in [-1/2, 1/2] whatever the others' bounds: a variance is the plain variance."""

    level = 0.0

    def __init__(self, space: spaces.Box, size: int) -> None:
        tail = np.full(size, 0.5, space.dtype)
        low, high = np.append(space.low, -tail), np.append(space.high, tail)
        self.space: spaces.Box = spaces.Box(low, high, dtype=space.dtype.type)

    def draw(self, observation: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.append(observation, values).astype(self.space.dtype)


def display_for(space: spaces.Space[Any], size: int) -> Display:
    """The display of ``size`` numbers beside observations of ``space``.

    Raises ValueError for a space that has none, or too little room.
    """
    if _has_planes(space) and space.shape[2] < SMALLEST_IMAGE:  # else its channels come first
        is_image = min(space.shape[:2]) >= SMALLEST_IMAGE and space.low.max() == 0 and space.high.min() == 255
        return ImageBand(space, size) if is_image else SymbolPlane(space, size)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating) and len(space.shape) == 1:
        return VectorTail(space, size)
    raise ValueError(
        "a distractor is shown beside images uint8[H, W, C] with pixels 0..255, grids of symbols uint8[H, W, planes] and "
        f"vectors of floats, but the observation space is {space}; {_way_out(space)}"
    )


def _has_planes(space: spaces.Space[Any]) -> TypeGuard[spaces.Box]:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def _way_out(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Dict):
        return "choose one part with gymnasium.wrappers.FilterObservation, or flatten all with FlattenObservation, first"
    if _has_planes(space):
        return "put the channels last with gymnasium.wrappers.TransformObservation first"
    if isinstance(space, spaces.Box) and not np.issubdtype(space.dtype, np.floating):
        return "make it one of these with gymnasium.wrappers.TransformObservation first"
    return "make it a vector with gymnasium.wrappers.FlattenObservation (and DtypeObservation) first"


def _fields(places: int, size: int) -> np.ndarray:
    """Which of ``size`` fields each of the places belongs to, int[places]; fields differ in length by one at most."""
    return np.arange(places) * size // places


def _require_room(size: int, places: int, name: str) -> None:
    if size > places:
        raise ValueError(f"{size} components do not fit into {name}")
