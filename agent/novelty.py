"""Counts of what was tried where: the bonus that novelty-seeking episodes maximise, and what is left to try."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jepa_rl.world_model.batch import Batch

Array = npt.NDArray[Any]
DIGEST_BYTES = 16  # of an observation; two of 10^9 observations share theirs with probability 10^-21


class VisitCounts:
    """How often each action of a Discrete space was taken at each observation, exactly.

    Observations count as the same only where every byte is: it serves symbols, and pixels without noise. Where no
    observation comes twice everything is always new, and the counts say nothing.
    """

    def __init__(self, n_actions: int) -> None:
        self._index: dict[bytes, int] = {}
        self._count = np.zeros((1024, n_actions), np.int32)

    def __len__(self) -> int:
        """Return the number of distinct observations at which an action was taken."""
        return len(self._index)

    def add(self, observation: Array, action: Array) -> None:
        """Count the actions [N] taken at the observations [N, ...]."""
        for key, taken in zip(_digests(observation), action.tolist(), strict=True):
            row = self._index.setdefault(key, len(self._index))
            if row == len(self._count):
                self._count = np.concatenate([self._count, np.zeros_like(self._count)])
            self._count[row, taken] += 1

    def of(self, observation: Array) -> Array:
        """Return how often each action was taken at the observations [N, ...]: int32 [N, A]."""
        row = np.array([self._index.get(key, -1) for key in _digests(observation)], np.int64)
        return np.where((row >= 0)[:, None], self._count[row], 0)

    def annotate(self, batch: Batch) -> Batch:
        """Return the batch with its ``bonus``, 1 / sqrt(count) of every action taken, and what is ``untried``."""
        windows, steps = batch.observation.shape[:2]
        count = torch.from_numpy(self.of(batch.observation.flatten(0, 1).numpy())).unflatten(0, (windows, steps))
        taken = count[:, :-1].gather(2, batch.action.unsqueeze(2)).squeeze(2)
        return dataclasses.replace(batch, bonus=taken.clamp(min=1).float().rsqrt(), untried=(count == 0).any(2))

    def state(self) -> dict[str, Array]:
        """Return what `load_state` needs."""
        digests = np.frombuffer(b"".join(self._index), np.uint8).reshape(-1, DIGEST_BYTES)
        return {"digest": digests, "count": self._count[: len(self)]}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over a `state`; ValueError where its shapes do not fit."""
        digest, count = state["digest"], state["count"]
        expected = (len(digest), self._count.shape[1])
        if digest.shape[1:] != (DIGEST_BYTES,) or count.shape != expected:
            raise ValueError(f"visit counts must have shape {expected}, got {count.shape} for digests {digest.shape}")
        self._index = {key.tobytes(): row for row, key in enumerate(np.ascontiguousarray(digest))}
        self._count = np.zeros((max(1024, len(count)), expected[1]), np.int32)
        self._count[: len(count)] = count


def _digests(observation: Array) -> list[bytes]:
    return [hashlib.blake2b(each.tobytes(), digest_size=DIGEST_BYTES).digest() for each in observation]
