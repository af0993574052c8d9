"""The index of a replay: which of its rows have some property."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class RowQueue:
    """Each environment's rows with some property, oldest first, any of which can be drawn with equal probability.

    Rings lose their rows in the order in which they got them, so a queue per ring is all the index there needs to be.
    """

    def __init__(self, n_envs: int, ring: int) -> None:
        self._row = np.zeros((ring, n_envs), np.int64)
        self._pushed = np.zeros(n_envs, np.int64)
        self._popped = np.zeros(n_envs, np.int64)

    def __len__(self) -> int:
        return int((self._pushed - self._popped).sum())

    def push(self, env: Array, row: Array) -> None:
        self._row[self._pushed[env] % len(self._row), env] = row
        self._pushed[env] += 1

    def pop_oldest(self, env: Array) -> None:
        self._popped[env] += 1

    def fill(self, env: int, row: Array) -> None:
        self._row[: len(row), env] = row
        self._pushed[env], self._popped[env] = len(row), 0

    def draw(self, number: int, rng: np.random.Generator) -> Array:
        count = self._pushed - self._popped
        end = count.cumsum()
        rank = rng.integers(end[-1], size=number)
        env = end.searchsorted(rank, side="right")
        age = rank - (end - count)[env]
        row: Array = self._row[(self._popped[env] + age) % len(self._row), env]
        return row
