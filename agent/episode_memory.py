"""What an open episode has seen so far, where its actions led, and how often it came by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
ROOM = 1_000  # distinct observations; an episode that has more begins to remember anew


class EpisodeMemory:
    """The distinct observations of one episode, numbered in the order in which they were first seen.

    Observations are the same where every byte is. Where an action led to different observations, the last one counts.

    Args:
        n_actions: of a Discrete space.
        observation: the episode's first, packed [...].
        latent: what the world model encodes it as, [D].
    """

    def __init__(self, n_actions: int, observation: Array, latent: Array) -> None:
        self._n_actions = n_actions
        self._begin(observation, latent)

    def _begin(self, observation: Array, latent: Array) -> None:
        self._number = {observation.tobytes(): 0}
        self.observations = [observation.copy()]
        self._latents = latent[None].copy()  # with room for more rows
        self.visits = [1]  # of each observation, the present visit included
        self.outcomes = [[-1] * self._n_actions]  # for each observation, to which one each action led; -1 where unknown
        self.present = 0  # where the episode is
        self.age = 0  # steps since all latents were encoded together

    @property
    def latents(self) -> Array:
        """Of the observations, [M, D]."""
        return self._latents[: len(self)]

    def __len__(self) -> int:
        """Return the number of distinct observations."""
        return len(self.visits)

    def arrive(self, action: int, observation: Array, latent: Array) -> None:
        """The action, taken at the present observation, led to ``observation``."""
        key = observation.tobytes()
        if len(self) == ROOM and key not in self._number:
            self._begin(observation, latent)
            return
        reached = self._number.setdefault(key, len(self))
        if reached == len(self):
            self.observations.append(observation.copy())
            self.visits.append(0)
            self.outcomes.append([-1] * self._n_actions)
            if reached == len(self._latents):
                self._latents = np.concatenate([self._latents, np.empty_like(self._latents)])
        self._latents[reached] = latent
        self.visits[reached] += 1
        row = list(self.outcomes[self.present])  # copies of the memory share the old one
        row[action] = reached
        self.outcomes[self.present] = row
        self.present = reached
        self.age += 1

    def refresh(self, latents: Array) -> None:
        """Take over the latents [M, D] of all observations, encoded anew."""
        self._latents, self.age = latents, 0

    def copy(self) -> EpisodeMemory:
        """A memory that goes on from here without changing this one."""
        other = copy(self)
        other._number, other._latents = dict(self._number), self.latents.copy()
        for name in ("observations", "visits", "outcomes"):
            setattr(other, name, list(getattr(self, name)))
        return other


def pack_memories(memories: Sequence[EpisodeMemory]) -> dict[str, Array]:
    """Arrays from which `unpack_memories` makes the same memories."""
    rows = ("observations", "latents", "visits", "outcomes")
    packed = {name: np.array([each for memory in memories for each in getattr(memory, name)]) for name in rows}
    singles = {"sizes": [len(memory) for memory in memories]}
    singles |= {name: [getattr(memory, name) for memory in memories] for name in ("present", "age")}
    return packed | {name: np.array(values) for name, values in singles.items()}


def unpack_memories(state: Mapping[str, Array], n_actions: int) -> list[EpisodeMemory]:
    """The memories of `pack_memories`; ValueError where the arrays do not fit together or are of other actions."""
    total = int(state["sizes"].sum())
    rows = [len(state[name]) for name in ("observations", "latents", "visits", "outcomes")]
    if {*rows} != {total}:
        raise ValueError(f"the arrays of episode memories must have {total} rows each, got {rows}")
    if state["outcomes"].shape[1] != n_actions:
        raise ValueError(f"episode memories must be of {n_actions} actions, got {state['outcomes'].shape[1]}")
    memories = []
    for end, size, present, age in zip(
        state["sizes"].cumsum(), state["sizes"], state["present"], state["age"], strict=True
    ):
        part = slice(int(end - size), int(end))
        memory = EpisodeMemory(n_actions, state["observations"][part][0], state["latents"][part][0])
        memory.observations = [each.copy() for each in state["observations"][part]]
        memory._number = {each.tobytes(): number for number, each in enumerate(memory.observations)}
        memory._latents = state["latents"][part].copy()
        memory.visits, memory.outcomes = state["visits"][part].tolist(), state["outcomes"][part].tolist()
        memory.present, memory.age = int(present), int(age)
        memories.append(memory)
    return memories
