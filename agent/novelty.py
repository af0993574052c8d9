"""Exploring by novelty: exact counts of what was tried where, the value of getting to what was not, and when to seek it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jepa_rl.agent.config import ExplorationConfig
from jepa_rl.agent.exploration import Explorer
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.world_model import Batch

Array = npt.NDArray[Any]
DIGEST_BYTES = 16  # of an observation; two of 10^9 observations share theirs with probability 10^-21
STEP_SIZE = 0.5  # of the table's updates
FIRST_ROOM = 1024  # observations; more is taken as it fills
FOLLOWED_RATE = 0.1  # weight of one more episode in the recent share of successes


class NoveltyTable:
    """The value N(o, a) in [0, 1] of exploring with the actions of a Discrete space, observation by observation.

    It is the discounted mean of 1 / sqrt(how often the action was taken at the observation), by Q-learning on replayed
    windows from N = 1, the most that it can be: what was never tried is worth most, and so is whatever leads there (the
    optimism of R-max, Brafman and Tennenholtz 2002). A value that began lower would learn to go back to what is rare.
    A termination that pays is worth 1 as well: what led there is tried again, from elsewhere; any other is worth 0.

    Observations count as the same only where every byte is: it serves symbols, and pixels without noise. Where no
    observation comes twice everything is always new, and the table says nothing.
    """

    def __init__(self, n_actions: int, discount: float) -> None:
        self._discount = discount
        self._row: dict[bytes, int] = {}
        self._count = np.zeros((FIRST_ROOM, n_actions), np.int32)
        self._value = np.ones((FIRST_ROOM, n_actions), np.float32)

    def __len__(self) -> int:
        """Return the number of distinct observations at which an action was taken."""
        return len(self._row)

    def add(self, observation: Array, action: Array) -> None:
        """Count the actions [N] taken at the observations [N, ...]."""
        for key, taken in zip(_digests(observation), action.tolist(), strict=True):
            row = self._row.setdefault(key, len(self._row))
            if row == len(self._count):
                self._count = np.concatenate([self._count, np.zeros_like(self._count)])
                self._value = np.concatenate([self._value, np.ones_like(self._value)])
            self._count[row, taken] += 1

    def count(self, observation: Array) -> Array:
        """Return how often each action was taken at the observations [N, ...]: int32 [N, A]."""
        row = self._rows(observation)
        return np.where((row >= 0)[:, None], self._count[row], 0)

    def value(self, observation: Array) -> Array:
        """Return N of every action at the observations [N, ...]: float32 [N, A]."""
        row = self._rows(observation)
        return np.where((row >= 0)[:, None], self._value[row], np.float32(1))

    def learn(self, batch: Batch) -> None:
        """Back up the windows of a batch, the last transition first. A time limit is not the end; a termination is."""
        windows, steps = batch.observation.shape[:2]
        row = self._rows(batch.observation.flatten(0, 1).numpy()).reshape(windows, steps)
        action, reward = batch.action.numpy(), batch.reward.numpy()
        terminated, alive = batch.terminated.numpy(), batch.alive.numpy()
        for t in reversed(range(steps - 1)):
            now = alive[:, t]
            here, taken, then = row[now, t], action[now, t], row[now, t + 1]
            best = np.where(then >= 0, self._value[then].max(1), 1.0)
            best = np.where(terminated[now, t], reward[now, t] > 0, best)
            bonus = self._count[here, taken] ** -0.5
            target = (1 - self._discount) * bonus + self._discount * best
            self._value[here, taken] += STEP_SIZE * (target - self._value[here, taken])

    def state(self) -> dict[str, Array]:
        """Return what `load_state` needs."""
        digests = np.frombuffer(b"".join(self._row), np.uint8).reshape(-1, DIGEST_BYTES)
        return {"digest": digests, "count": self._count[: len(self)], "value": self._value[: len(self)]}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over a `state`; ValueError where its shapes do not fit."""
        digest = state["digest"]
        expected = (len(digest), self._count.shape[1])
        for name in ("count", "value"):
            if state[name].shape != expected:
                raise ValueError(f"the novelty table's {name} must have shape {expected}, got {state[name].shape}")
        self._row = {key.tobytes(): row for row, key in enumerate(np.ascontiguousarray(digest))}
        rows = max(FIRST_ROOM, len(digest))
        self._count = np.zeros((rows, expected[1]), np.int32)
        self._value = np.ones((rows, expected[1]), np.float32)
        self._count[: len(digest)], self._value[: len(digest)] = state["count"], state["value"]

    def _rows(self, observation: Array) -> Array:
        """The rows of the observations [N, ...], -1 where no action was taken yet."""
        return np.array([self._row.get(key, -1) for key in _digests(observation)], np.int64)


class NoveltySeeking(Explorer):
    """Whole episodes that act on a NoveltyTable: all until one was paid, then fewer as the planner's own are paid."""

    def __init__(self, config: ExplorationConfig, actions: ActionAdapter, n_envs: int) -> None:
        if len(actions.counts) != 1:
            raise ValueError(
                f"exploration.kind 'novelty' counts which actions were taken: it needs a Discrete action space, got "
                f"{actions.space}; choose 'planner' or 'random'"
            )
        self._config = config
        self.table = NoveltyTable(actions.counts[0], config.novelty_discount)
        self.seeking = np.zeros(n_envs, bool)  # whether each environment's open episode seeks novelty
        self._paid = np.zeros(n_envs, bool)  # whether it had a positive reward
        self.rewarded = False  # whether any episode had
        self.followed = 0.0  # recent share of episodes with a positive reward among those that followed the planner

    def share(self, timestep: int = 0) -> float:
        if not self.rewarded:
            return 1.0
        return max(self._config.epsilon_end, self._config.epsilon_start * (1 - self.followed))

    def choose(self, observation: Array, timestep: int, rng: np.random.Generator) -> tuple[Array, Array]:
        action = np.zeros(len(observation), np.int64)
        if self.seeking.any():
            worth = self.table.value(observation[self.seeking])
            # Ties are the rule among actions that were never tried.
            action[self.seeking] = (worth + 1e-6 * rng.random(worth.shape)).argmax(1)
        return self.seeking, action

    def begin(self, rng: np.random.Generator) -> None:
        self._paid[:] = False
        self._choose_episodes(np.ones_like(self.seeking), rng)

    def note(
        self, observation: Array, chosen: Array, action: Array, reward: Array, done: Array, rng: np.random.Generator
    ) -> None:
        self.table.add(observation, action)
        self._paid |= reward > 0
        self.rewarded |= bool(self._paid.any())
        for paid in self._paid[done & ~self.seeking]:
            self.followed += FOLLOWED_RATE * (paid - self.followed)
        self._paid &= ~done
        self._choose_episodes(done, rng)

    def learn(self, batch: Batch) -> None:
        self.table.learn(batch)

    def state(self) -> dict[str, Array]:
        episodes = {"seeking": self.seeking, "paid": self._paid}
        return episodes | {"rewarded": np.array(self.rewarded), "followed": np.array(self.followed)} | self.table.state()

    def load_state(self, state: Mapping[str, Array]) -> None:
        self.table.load_state(state)
        self.seeking[:], self._paid[:] = state["seeking"], state["paid"]
        self.rewarded, self.followed = bool(state["rewarded"]), float(state["followed"])

    def _choose_episodes(self, begun: Array, rng: np.random.Generator) -> None:
        """Decide whether the episodes that have ``begun`` seek novelty."""
        self.seeking = np.where(begun, rng.random(len(begun)) < self.share(), self.seeking)


def _digests(observation: Array) -> list[bytes]:
    return [hashlib.blake2b(each.tobytes(), digest_size=DIGEST_BYTES).digest() for each in observation]
