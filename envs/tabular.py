"""Exact tables of small environments, by enumeration or by search in the simulator: the input of bisimulation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from minigrid.core.world_object import Door, WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.minigrid_env import MiniGridEnv

from jepa_rl.envs.counting import CountingEnv
from jepa_rl.envs.distractors import Distractor
from jepa_rl.envs.history import History
from jepa_rl.envs.minigrid import PixelView, SymbolicView, symbols

# Wrappers that leave states and transitions as they are.
TRANSPARENT = (OrderEnforcing, PassiveEnvChecker, TimeLimit, SymbolicView, PixelView)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A deterministic environment as arrays over S states and A actions; a time limit is no part of it."""

    transition: np.ndarray  # int64[S, A], the next state
    terminated: np.ndarray  # bool[S, A], whether the episode is over after the transition
    success: np.ndarray  # bool[S, A], whether the transition reaches the goal
    reward: np.ndarray  # float64[S, A], of the transition
    label: np.ndarray  # float64[S], p(o): the reward of arriving in this state
    observation: np.ndarray | None = None  # uint8[S, ...], where a state has one observation
    start: int | None = None  # the state after reset, where there is only one

    def __post_init__(self) -> None:
        states, actions = self.transition.shape
        for name in ("terminated", "success", "reward"):
            if getattr(self, name).shape != (states, actions):
                raise ValueError(f"Table.{name} must have shape {(states, actions)}, got {getattr(self, name).shape}")
        for name in ("label", "observation"):
            array = getattr(self, name)
            if array is not None and len(array) != states:
                raise ValueError(f"Table.{name} must have {states} entries, one per state, got {len(array)}")
        if not ((self.transition >= 0) & (self.transition < states)).all():
            raise ValueError(f"Table.transition must lie in 0..{states - 1}")


def counting_table(env: gym.Env[Any, Any]) -> Table:
    """The counting environment at the level of counts: state k is "k objects", S = max_objects + 1.

    The action axis is that of the discrete action modes; "continuous" has the two of "discrete2". A state is ongoing also
    at the target: reaching the target ends an episode (``terminated``), starting there does not.
    """
    given = env.unwrapped
    if not isinstance(given, CountingEnv):
        raise TypeError(f"counting_table needs a CountingEnv, got {env}")
    if env.has_wrapper_attr("bit"):
        raise TypeError(f"counting_table knows counts only, but the bit of {env} is a part of the state")
    _require_transparent_wrappers(env, (Distractor, History))
    simulator = CountingEnv(
        target=given.target,
        max_objects=given.max_objects,
        reward=given.reward_mode,
        terminate_on_success=given.terminate_on_success,
        actions="discrete3" if given.action_mode == "discrete3" else "discrete2",
    )
    shape = given.max_objects + 1, 3 if given.action_mode == "discrete3" else 2
    transition, label, reward = np.zeros(shape, np.int64), np.zeros(shape[0]), np.zeros(shape)
    terminated, success = np.zeros(shape, bool), np.zeros(shape, bool)
    for k, action in np.ndindex(shape):
        simulator.reset(seed=0, options={"count": k})
        _, reward[k, action], terminated[k, action], _, info = simulator.step(action)
        transition[k, action], success[k, action], label[k] = info["count"], info["success"], info["auxiliary"]
    return Table(transition=transition, terminated=terminated, success=success, reward=reward, label=label)


def minigrid_table(env: gym.Env[Any, Any], *, seed: int = 0, max_states: int = 100_000) -> Table:
    """All states of a MiniGrid environment that are reachable from ``reset(seed=seed)``, by breadth-first search.

    A state is the simulator's own: the agent's position and direction, what it carries, the objects in all cells with
    their positions, and the doors. Transitions come from the environment's ``step``, only without drawing an observation
    each time. ``observation`` is that of ``SymbolicView``; many states share one.

    A state in which the episode has ended is distinct from the same grid in mid-episode, and absorbing: every action leads
    back to it, ``terminated``, without success. ``reward`` is 1 for a success and else 0, since MiniGrid's own shrinks with
    the time, which is no part of the state; ``label`` is 1 in the states that a success ends in.

    Leaves the environment as ``reset(seed=seed)`` does. Raises ValueError for an environment that draws random numbers in
    ``step``, that keeps state where the search cannot restore it (BabyAI's instructions), or that has more than
    ``max_states`` states; TypeError for one that is no MiniGrid, or in a wrapper that could change its dynamics.
    """
    bare = _bare_minigrid(env)
    env.reset(seed=seed)
    simulator = Simulator(bare)
    with _without_observations(bare):
        nodes, transition = _search(simulator, max_states)
    observation = np.stack([simulator.observation(node.state) for node in nodes])
    env.reset(seed=seed)
    ongoing = np.array([node.outcome is _Outcome.ONGOING for node in nodes])
    succeeded = np.array([node.outcome is _Outcome.SUCCEEDED for node in nodes])
    success = succeeded[transition] & ongoing[:, None]
    return Table(
        transition=transition,
        terminated=~ongoing[transition],
        success=success,
        reward=success.astype(np.float64),
        label=succeeded.astype(np.float64),
        observation=observation,
        start=0,
    )


class _Outcome(Enum):
    ONGOING = 0
    FAILED = 1
    SUCCEEDED = 2


class State(NamedTuple):
    """All that MiniGrid's ``step`` reads and changes. Objects count by identity: they move, but none is made."""

    position: tuple[int, int]
    direction: int
    carrying: WorldObj | None
    cells: tuple[WorldObj | None, ...]
    doors: tuple[tuple[bool, bool], ...]  # open, locked
    places: tuple[tuple[int, int] | None, ...]  # where each movable object takes itself to be


class _Node(NamedTuple):
    state: State
    outcome: _Outcome


class Simulator:
    """A bare MiniGrid environment after its reset, whose state can be read, compared and put back.

    Good for one episode: the objects are those of the grid that it begins with.
    """

    def __init__(self, env: Any) -> None:  # a MiniGridEnv, which annotates attributes with the None that they start as
        self.env = env
        self.actions = range(env.action_space.n)
        objects = list(_with_contents(env.grid.grid))
        self.doors = [thing for thing in objects if isinstance(thing, Door)]
        self.movables = [thing for thing in objects if thing.can_pickup()]
        self.unsearched = self._unsearched()

    def state(self) -> State:
        """The present state; hashable, and equal to another only if it is the same for all that follows."""
        env = self.env
        return State(
            position=_cell(env.agent_pos),
            direction=int(env.agent_dir),
            carrying=env.carrying,
            cells=tuple(env.grid.grid),
            doors=tuple([(door.is_open, door.is_locked) for door in self.doors]),
            places=tuple([None if thing.cur_pos is None else _cell(thing.cur_pos) for thing in self.movables]),
        )

    def restore(self, state: State) -> None:
        env = self.env
        env.agent_pos, env.agent_dir, env.carrying = state.position, state.direction, state.carrying
        env.grid.grid = list(state.cells)
        env.step_count = 0
        for door, (is_open, is_locked) in zip(self.doors, state.doors, strict=True):
            door.is_open, door.is_locked = is_open, is_locked
        for thing, place in zip(self.movables, state.places, strict=True):
            thing.cur_pos = place

    def successors(self, state: State) -> Iterator[_Node]:
        """What each action leads to."""
        for action in self.actions:
            self.restore(state)
            _, reward, terminated, _, _ = self.env.step(action)
            ended = _Outcome.SUCCEEDED if reward > 0 else _Outcome.FAILED
            yield _Node(self.state(), ended if terminated else _Outcome.ONGOING)
        if not self.state_is_all():
            self._refuse()

    def state_is_all(self) -> bool:
        """Whether nothing outside of the state has changed since the reset: neither the generator nor another value."""
        return self._unsearched() == self.unsearched

    def observation(self, state: State) -> np.ndarray:
        self.restore(state)
        return symbols(self.env.gen_obs())

    def _unsearched(self) -> dict[str, Any]:
        """What else a step could change and a later one read, as far as it is made of plain values; and the generator."""
        searched = ("agent_pos", "agent_dir", "carrying", "step_count")
        values = {name: _plain(value) for name, value in vars(self.env).items() if name not in searched}
        told = {name: value for name, value in values.items() if value is not None}
        return told | {"np_random": self.env.np_random.bit_generator.state}

    def _refuse(self) -> None:
        now = self._unsearched()
        changed = [name for name in now | self.unsearched if now.get(name) != self.unsearched.get(name)]
        if "np_random" in changed:
            raise ValueError(f"{self.env} is stochastic: its step draws random numbers, so it has no table")
        raise ValueError(f"{self.env} keeps state that the search cannot restore: {', '.join(changed)}")


def _search(simulator: Simulator, max_states: int) -> tuple[list[_Node], np.ndarray]:
    """All nodes in order of discovery, and transition int64[S, A]."""
    nodes = [_Node(simulator.state(), _Outcome.ONGOING)]
    index = {nodes[0]: 0}
    rows: list[list[int]] = []
    for number, node in enumerate(nodes):  # grows as it goes
        if node.outcome is not _Outcome.ONGOING:
            rows.append([number] * len(simulator.actions))
            continue
        row = []
        for following in simulator.successors(node.state):
            row.append(index.setdefault(following, len(nodes)))
            if row[-1] == len(nodes):
                nodes.append(following)
        rows.append(row)
        if len(nodes) > max_states:
            raise ValueError(
                f"{simulator.env} has more than max_states={max_states} states: {len(nodes)} after trying out {len(rows)}"
            )
    return nodes, np.array(rows, np.int64)


def _bare_minigrid(env: gym.Env[Any, Any]) -> MiniGridEnv:
    bare = env.unwrapped
    if not isinstance(bare, MiniGridEnv):
        raise TypeError(f"minigrid_table needs a MiniGrid environment, got {env}")
    if isinstance(bare, RoomGridLevel):
        raise ValueError(f"{env} keeps the progress of its instruction outside of the grid, where no search restores it")
    _require_transparent_wrappers(env)
    return bare


def _require_transparent_wrappers(env: gym.Env[Any, Any], others: tuple[type[gym.Wrapper], ...] = ()) -> None:
    """Raise TypeError for a wrapper of ``env`` that is neither ``TRANSPARENT`` nor one of ``others``."""
    while isinstance(env, gym.Wrapper):
        if not isinstance(env, (*TRANSPARENT, *others)):
            raise TypeError(f"{type(env).__name__} may change the dynamics; pass env.unwrapped for the table without it")
        env = env.env


@contextmanager
def _without_observations(env: MiniGridEnv) -> Iterator[None]:
    """MiniGrid spends most of a step on the agent's view, which the search needs only once per state."""
    vars(env)["gen_obs"] = lambda: None
    try:
        yield
    finally:
        del vars(env)["gen_obs"]


def _with_contents(cells: Iterable[WorldObj | None]) -> Iterator[WorldObj]:
    for thing in cells:
        if thing is not None:
            yield thing
            yield from _with_contents([thing.contains])


def _plain(value: Any) -> Any:
    """A copy that can be compared: numbers, texts and arrays, also in collections; None for all else."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {repr(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(repr(_plain(each)) for each in value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | str | bytes) else None


def _cell(position: Any) -> tuple[int, int]:
    return int(position[0]), int(position[1])
