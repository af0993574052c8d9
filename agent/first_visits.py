"""Which observations are new to the episode that came to them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt


class FirstVisits:
    """What the open episode of each environment has seen, as far back as ``rows`` observations.

    Observations are the same where every byte is.
    """

    def __init__(self, n_envs: int, rows: int) -> None:
        self._rows = rows
        self._seen: list[Counter[bytes]] = [Counter() for _ in range(n_envs)]
        self._length = [0] * n_envs  # of what is remembered

    def begin(self, env: int, observation: npt.NDArray[np.generic]) -> None:
        """An episode begins with the observation."""
        self.recall(env, observation[None])

    def recall(self, env: int, observations: npt.NDArray[np.generic]) -> None:
        """The open episode saw these, [L, ...]."""
        self._seen[env] = Counter(observation.tobytes() for observation in observations)
        self._length[env] = len(observations)

    def arrive(self, env: int, observation: npt.NDArray[np.generic], oldest: npt.NDArray[np.generic]) -> bool:
        """Whether the observation is new to the episode, which has seen it from now on.

        ``oldest`` is what it saw ``rows`` observations ago, if it is that old, and is forgotten then.
        """
        seen, key = self._seen[env], observation.tobytes()
        if self._length[env] == self._rows:
            gone = oldest.tobytes()
            seen[gone] -= 1
            if not seen[gone]:
                del seen[gone]
        else:
            self._length[env] += 1
        seen[key] += 1
        return seen[key] == 1
