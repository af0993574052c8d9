"""Models with known answers, and the brute-force oracle that exhaustive search is checked against."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from jepa_rl.planners import DiscreteActions, FiniteActions


@dataclass(kw_only=True)
class TabularModel:
    """A deterministic MDP given by tables over S states and A joint actions; a latent [1] holds the state's number."""

    space: FiniteActions
    next_state: np.ndarray  # int [S, A]
    reward: np.ndarray  # float [S, A]
    continuation: np.ndarray  # float [S, A]
    state_value: np.ndarray  # float [S]
    action_value: np.ndarray | None = None  # float [S, A]
    rows_stepped: list[int] = field(default_factory=list)

    def step(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.rows_stepped.append(len(latent))
        state = latent[:, 0].long()
        dimensions = action if self.space.shape else action.unsqueeze(-1)
        joint = torch.zeros_like(state)
        for i, count in enumerate(self.space.counts):
            joint = joint * count + dimensions[:, i]
        tables = (self.next_state, self.reward, self.continuation)
        next_state, reward, continuation = (torch.as_tensor(table)[state, joint].float() for table in tables)
        return next_state.unsqueeze(-1), reward, continuation

    def value(self, latent: Tensor) -> Tensor:
        return torch.as_tensor(self.state_value)[latent[:, 0].long()].float()

    def action_values(self, latent: Tensor) -> Tensor:
        if self.action_value is None:
            raise AssertionError("nobody may ask for action values")
        return torch.as_tensor(self.action_value)[latent[:, 0].long()].float()

    def latents(self, *states: int) -> Tensor:
        return torch.tensor([[float(state)] for state in states])

    def mixed_return(self, state: int, sequence: tuple[int, ...], discount: float, trace: float) -> float:
        """The lambda-return of ``sequence``: its returns with Q after 0 to H - 1 steps, and the one to its end."""
        assert self.action_value is not None
        mixture, total, weight, at = 0.0, 0.0, 1.0, state
        for depth, action in enumerate(sequence):
            mixture += (1 - trace) * trace**depth * (total + weight * float(self.action_value[at, action]))
            total += weight * float(self.reward[at, action])
            weight *= discount * float(self.continuation[at, action])
            at = int(self.next_state[at, action])
        return mixture + trace ** len(sequence) * self.return_of(state, sequence, discount)

    def return_of(self, state: int, sequence: tuple[int, ...], discount: float) -> float:
        """The return of joint action numbers from ``state``, in plain Python."""
        total, weight = 0.0, 1.0
        for action in sequence:
            total += weight * float(self.reward[state, action])
            weight *= discount * float(self.continuation[state, action])
            state = int(self.next_state[state, action])
        return total + weight * float(self.state_value[state])

    def brute_force(self, state: int, horizon: int, discount: float) -> dict[tuple[int, ...], float]:
        """The return of every sequence of joint action numbers, in lexicographic order."""
        sequences = itertools.product(range(self.space.joint_count), repeat=horizon)
        return {sequence: self.return_of(state, sequence, discount) for sequence in sequences}


@dataclass(kw_only=True)
class QuadraticModel:
    """A point moved by box actions; each step pays minus the squared distance of its action from ``target``[state, t].

    A latent is (state, t), so the optimum is to play ``target``[state] and is worth 0.
    """

    target: Tensor  # [S, H, A], inside the box

    def step(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wanted = self.target[latent[:, 0].long(), latent[:, 1].long()]
        reward = -(action - wanted).square().sum(-1)
        return latent + torch.tensor([0.0, 1.0]), reward, torch.ones_like(reward)

    def value(self, latent: Tensor) -> Tensor:
        return torch.zeros(len(latent))

    def latents(self, *states: int) -> Tensor:
        return torch.tensor([[float(state), 0.0] for state in states])


def _random_mdp(seed: int, space: FiniteActions, states: int = 12, reward_shift: float = 0.0) -> TabularModel:
    """Random tables; a quarter of the transitions terminate, another quarter may."""
    rng = np.random.default_rng(seed)
    shape = (states, space.joint_count)
    return TabularModel(
        space=space,
        next_state=rng.integers(states, size=shape),
        reward=rng.normal(size=shape) + reward_shift,
        continuation=rng.choice([0.0, 0.5, 1.0, 1.0], size=shape),
        state_value=rng.normal(size=states) + reward_shift,
    )


def _needle_mdp(sequence: tuple[int, ...], count: int) -> TabularModel:
    """Only ``sequence`` from state 0 pays, by its last action; nothing on the way tells. The last state is off the way."""
    horizon = len(sequence)
    shape = (horizon + 2, count)
    next_state = np.full(shape, horizon + 1)
    rewards = np.zeros(shape)
    for t, action in enumerate(sequence):
        next_state[t, action] = t + 1
    rewards[horizon - 1, sequence[-1]] = 1.0
    return TabularModel(
        space=DiscreteActions(count),
        next_state=next_state,
        reward=rewards,
        continuation=np.ones(shape),
        state_value=np.zeros(horizon + 2),
    )


def _flat_mdp(space: FiniteActions, value: float = 0.0) -> TabularModel:
    """One state; every sequence is worth ``value`` when not discounted."""
    shape = (1, space.joint_count)
    return TabularModel(
        space=space,
        next_state=np.zeros(shape, dtype=np.int64),
        reward=np.zeros(shape),
        continuation=np.ones(shape),
        state_value=np.array([value]),
    )


@pytest.fixture
def tabular_model() -> type[TabularModel]:
    """The class, for tables of one's own."""
    return TabularModel


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These tensors are small: on a busy machine a pool of threads waits far longer than it computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def random_mdp() -> Callable[..., TabularModel]:
    return _random_mdp


@pytest.fixture
def needle_mdp() -> Callable[..., TabularModel]:
    return _needle_mdp


@pytest.fixture
def flat_mdp() -> Callable[..., TabularModel]:
    return _flat_mdp


@pytest.fixture
def quadratic() -> QuadraticModel:
    """Three states with a different optimum each, two steps, two action dimensions."""
    target = [[[0.5, -0.3], [-0.8, 0.1]], [[-0.6, 0.9], [0.2, 0.4]], [[0.0, 0.0], [0.7, -0.7]]]
    return QuadraticModel(target=torch.tensor(target))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
