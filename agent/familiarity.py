"""How often an episode has been where an action leads: as it was, or as the world model imagines it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jepa_rl.agent.episode_memory import EpisodeMemory
from jepa_rl.world_model import WorldModel

Array = npt.NDArray[Any]
ERROR_RATE = 0.01  # weight of one more prediction in the recent error of the dynamics
REFRESH = 32  # environment steps of training after which all latents of a memory are encoded anew


def imagined_visits(imagined: Tensor, seen: Tensor, visits: Tensor, error: float) -> Tensor:
    """How often each of n episodes was already where its imagined latents [n, A, D] lie, [n, A].

    The visits [n, M] of the nearest of the latents ``seen`` [n, M, D], times exp(-d / error), where d is the mean square of
    the difference and ``error`` that of predictions: what the dynamics cannot tell apart counts as the same (a soft form of
    counting, as by the kernel of Never Give Up, arXiv:2002.06038).
    """
    nearest = torch.cdist(imagined, seen).square().div(imagined.shape[2]).min(2)
    return visits.gather(1, nearest.indices) * torch.exp(-nearest.values / error)


class Familiarity:
    """Makes memories of episodes, brings them up to date, and tells how often the episodes have been where actions lead.

    Args:
        n_actions: of a Discrete space.
        model: gives the world model to imagine with.
    """

    def __init__(self, n_actions: int, model: Callable[[], WorldModel]) -> None:
        self._n_actions = n_actions
        self._model = model
        self.error: float | None = None  # recent mean square error of one-step predictions; None before the first

    def begin(self, observation: Array) -> list[EpisodeMemory]:
        """Memories of episodes that begin with the packed observations [n, ...]."""
        latents = self._encode(observation).cpu().numpy()
        return [EpisodeMemory(self._n_actions, *first) for first in zip(observation, latents, strict=True)]

    def advance(self, memories: Sequence[EpisodeMemory], action: Array, observation: Array) -> list[EpisodeMemory]:
        """Copies of the memories after the actions [n] led to the packed observations [n, ...]."""
        latents = self._encode(observation).cpu().numpy()
        following = [memory.copy() for memory in memories]
        for memory, taken, here, latent in zip(following, action.tolist(), observation, latents, strict=True):
            memory.arrive(taken, here, latent)
        return following

    @torch.no_grad()
    def learn(self, memories: list[EpisodeMemory], action: Array, observation: Array, done: Array) -> None:
        """The actions [n] led to the packed observations [n, ...]; where ``done``, that is the next episode's first.

        Updates the memories in place, and the error of predictions from the episodes that go on.
        """
        reached = self._encode(observation)
        imagined = self._predict(self._present_latents(memories), action)
        errors = (imagined - reached).square().mean(1)[torch.from_numpy(~done)].tolist()
        for error in errors:
            self.error = error if self.error is None else self.error + ERROR_RATE * (error - self.error)
        for env, latent in enumerate(reached.cpu().numpy()):
            if done[env]:
                memories[env] = EpisodeMemory(self._n_actions, observation[env], latent)
                continue
            memories[env].arrive(int(action[env]), observation[env], latent)
            if memories[env].age >= REFRESH:
                memories[env].refresh(self._encode(np.stack(memories[env].observations)).cpu().numpy())

    @torch.no_grad()
    def outcome_visits(self, memories: Sequence[EpisodeMemory]) -> Tensor:
        """How often each of n episodes was where each action leads from its present observation, float32 [n, A].

        Where the episode has already taken the action there, it led where it led; else the latent dynamics say.
        """
        here = self._present_latents(memories)
        outcome = torch.tensor([memory.outcomes[memory.present] for memory in memories], device=here.device)
        # Shorter memories are filled up with their first observation: what is there twice changes no nearest one.
        width = max(len(memory) for memory in memories)
        visits = torch.tensor([_filled(memory.visits, width) for memory in memories], device=here.device).float()
        taken = visits.gather(1, outcome.clamp(min=0))
        if not self.error:
            # As long as the dynamics have predicted nothing, what was not tried is new.
            return torch.where(outcome < 0, 0.0, taken)
        seen = np.stack([memory.latents[_filled([*range(len(memory))], width)] for memory in memories])
        actions = np.tile(np.arange(self._n_actions), len(memories))
        imagined = self._predict(here.repeat_interleave(self._n_actions, 0), actions).unflatten(0, (len(memories), -1))
        elsewhere = imagined_visits(imagined, torch.from_numpy(seen).to(here.device), visits, self.error)
        return torch.where(outcome < 0, elsewhere, taken)

    def _present_latents(self, memories: Sequence[EpisodeMemory]) -> Tensor:
        """Of the present observations of n episodes, [n, D]."""
        latents = np.stack([memory.latents[memory.present] for memory in memories])
        return torch.as_tensor(latents, device=next(self._model().parameters()).device)

    @torch.no_grad()
    def _encode(self, observation: Array) -> Tensor:
        model = self._model()
        return model.encode(torch.as_tensor(observation, device=next(model.parameters()).device))

    def _predict(self, latent: Tensor, action: Array) -> Tensor:
        return self._model().predict(latent, torch.as_tensor(action, device=latent.device))


def _filled(row: list[int], width: int) -> list[int]:
    return row + row[:1] * (width - len(row))
