"""Which observations are new to the episode that came to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class FirstVisits:
    """What the open episode of each environment has seen, as far back as its rows are stored, and what was new to it.

    Observations are the same where every byte is. Rows lie as in ``SequenceReplay``.

    Args:
        n_envs: environments that step together.
        ring: rows of each.
    """

    def __init__(self, n_envs: int, ring: int) -> None:
        self._n_envs = n_envs
        self._ring = ring
        self._seen: list[Counter[bytes]] = [Counter() for _ in range(n_envs)]
        self._length = [0] * n_envs  # of what is remembered

    def begin(self, env: Array, observation: Array) -> None:
        """The listed environments begin episodes with the observations [m, ...]."""
        for each, seen in zip(env.tolist(), observation, strict=True):
            self._remember(each, seen[None])

    def arrive(self, observation: Array, *, oldest: Array) -> Array:
        """Whether the observations [n_envs, ...] that the environments come to are new to their episodes, bool[n_envs].

        Where an episode fills its ring, ``oldest`` [n_envs, ...] is forgotten, over which this one will be written.
        """
        arriving = enumerate(zip(observation, oldest, strict=True))
        return np.array([self._arrive(env, seen, oldest=gone) for env, (seen, gone) in arriving])

    def recall(self, column: Mapping[str, Array], open_row: Array, written: Array) -> None:
        """Know again what the open episodes saw, from their rows; ``written`` is how many were opened in each ring."""
        for env, newest in enumerate(open_row.tolist()):
            rows = [newest]
            while len(rows) < min(written[env], self._ring) and column["has_action"][before := self._before(rows[-1])]:
                rows.append(before)
            self._remember(env, column["observation"][rows])

    def _before(self, row: int) -> int:
        return (row - self._n_envs) % (self._ring * self._n_envs)

    def _remember(self, env: int, observations: Array) -> None:
        self._seen[env] = Counter(observation.tobytes() for observation in observations)
        self._length[env] = len(observations)

    def _arrive(self, env: int, observation: Array, *, oldest: Array) -> bool:
        """Whether the observation is new; ``oldest`` is forgotten, where the episode fills the ring."""
        seen, key = self._seen[env], observation.tobytes()
        if self._length[env] == self._ring:
            gone = oldest.tobytes()
            seen[gone] -= 1
            if not seen[gone]:
                del seen[gone]
        else:
            self._length[env] += 1
        seen[key] += 1
        return seen[key] == 1
