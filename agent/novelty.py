"""Exploring by novelty: towards what the world model expects the open episode to have seen least, and when to seek it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jepa_rl.agent.config import ExplorationConfig
from jepa_rl.agent.exploration import Explorer

Array = npt.NDArray[Any]
PAID_RATE = 0.1  # weight of one more episode in the recent share of successes
TIE_BREAK = 1e-3  # visits


@dataclass(slots=True)
class Successes:
    """What an agent knows of positive rewards, in all environments that it ever explored."""

    any: bool = False  # whether there was one
    share: float = 0.0  # recent share of episodes with one

    def note(self, paid: Array, done: Array) -> None:
        """Which open episodes had a positive reward, bool[n], and which of them ended."""
        self.any |= bool(paid.any())
        for each in paid[done]:
            self.share += PAID_RATE * (each - self.share)


class NoveltySeeking(Explorer):
    """Seeks what the episode has not seen: always until a reward was positive, then in fewer steps as more have one.

    A seeking step takes the action to whose outcome the episode has been least often. What is expected to change nothing
    leads to where the episode is, so that useless actions are not tried out in every new place. With
    ``config.random_share``, now and then it takes uniform actions for a while: what is wrongly expected to change nothing
    is tried by chance.

    ``outcome_visits`` must be given before it chooses: how often the open episodes of the environments in a mask bool[n]
    have been where each action leads, [m, A]; see ``Familiarity``.
    """

    outcome_visits: Callable[[Array], Array]

    def __init__(self, config: ExplorationConfig, n_envs: int, n_actions: int, successes: Successes) -> None:
        self._config = config
        self._successes = successes
        self._n_actions = n_actions
        self.wandering = np.zeros(n_envs, bool)  # whether each environment, where it seeks, takes uniform actions
        self.seeking = np.zeros(n_envs, bool)  # whether each environment seeks novelty now
        self._paid = np.zeros(n_envs, bool)  # whether its open episode had a positive reward

    def share(self, timestep: int = 0) -> float:
        if not self._successes.any:
            return 1.0
        return max(self._config.epsilon_end, self._config.epsilon_start * (1 - self._successes.share))

    def choose(self, timestep: int, rng: np.random.Generator) -> tuple[Array, Array]:
        action = np.zeros(len(self.seeking), np.int64)
        looks = self.seeking & ~self.wandering
        if looks.any():
            visits = self.outcome_visits(looks)
            action[looks] = (visits + TIE_BREAK * rng.random(visits.shape)).argmin(1)
        if self.wandering.any():
            action[self.wandering] = rng.integers(self._n_actions, size=self.wandering.sum())
        return self.seeking, action

    def begin(self, rng: np.random.Generator) -> None:
        self._paid[:] = False
        self._choose_mode(np.ones_like(self.seeking), rng)

    def note(self, chosen: Array, reward: Array, done: Array, rng: np.random.Generator) -> None:
        self._paid |= reward > 0
        self._successes.note(self._paid, done)
        self._paid &= ~done
        self._choose_mode(done | (rng.random(len(done)) < 1 / self._config.novelty_steps), rng)

    def state(self) -> dict[str, Array]:
        return {"seeking": self.seeking, "wandering": self.wandering, "paid": self._paid}

    def load_state(self, state: Mapping[str, Array]) -> None:
        self.seeking[:], self.wandering[:], self._paid[:] = (state[name] for name in ("seeking", "wandering", "paid"))

    def _choose_mode(self, anew: Array, rng: np.random.Generator) -> None:
        """Decide in the environments ``anew`` whether they seek novelty from now on, and whether at random."""
        self.seeking = np.where(anew, rng.random(len(anew)) < self.share(), self.seeking)
        if self._config.random_share:
            self.wandering = np.where(anew, rng.random(len(anew)) < self._config.random_share, self.wandering)
