"""Sequence replay for vector environments: every observation is stored once, windows come out as a Batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jepa_rl.agent.config import Rewards
from jepa_rl.agent.first_visits import FirstVisits
from jepa_rl.agent.row_layout import RowLayout
from jepa_rl.agent.row_queue import RowQueue
from jepa_rl.agent.task_targets import TaskTargets
from jepa_rl.world_model.batch import Batch

Array = npt.NDArray[Any]


class SequenceReplay:
    """One ring of rows per environment; windows are pieces of single episodes.

    A row holds an observation and, once it was acted upon, the action, its reward and whether it terminated. Every step
    completes the environment's newest, *open* row and opens the next. The true final observation of an episode keeps a row
    that is never acted upon, so an episode of L steps takes L + 1 rows, and no window can run past an episode's end or past
    the place where the ring is written, for the newest row has no action either.

    The rings interleave: row i of environment e lies at ``i * n_envs + e``, its successor ``n_envs`` further, modulo the
    number of rows. Memory is taken as it fills.

    Args:
        capacity: rows over all environments; each gets ``capacity // n_envs``, at least 3.
        n_envs: environments that step together.
        observation_shape, observation_dtype: of one observation, stored as it is.
        action_shape, action_dtype: of one action, as in ``Batch``.
        prioritised_fraction: share of each batch, in expectation where it is no whole number, whose windows contain a
            rewarded (non-zero) transition; the rest is uniform, and all of it while nothing rewarded is stored.
        rewards: "sign" keeps the sign of each reward, and of each label, which stands for one.
        discount: per step, of the ``outcome`` of transitions.
        target_sizes: numbers per observation of each auxiliary task that is read from the environment.
        partial: names of the tasks that know a part of the observations only. With "reward" among them, a reward that is
            not shown is no label and does not make a transition a rewarded one; ``Batch.reward`` holds it all the same.
        first_visits: whether batches say which transitions led to an observation that was new to the episode, as far as
            its rows are stored.
    """

    def __init__(
        self,
        *,
        capacity: int,
        n_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: npt.DTypeLike,
        action_shape: tuple[int, ...],
        action_dtype: npt.DTypeLike,
        prioritised_fraction: float = 0.0,
        rewards: Rewards = "plain",
        discount: float = 1.0,
        target_sizes: Mapping[str, int] | None = None,
        partial: Sequence[str] = (),
        first_visits: bool = False,
    ) -> None:
        if n_envs < 1:
            raise ValueError(f"n_envs must be at least 1, got {n_envs}")
        if capacity < 3 * n_envs:
            # A one-step episode takes two rows and the next episode opens a third: fewer would leave nothing to sample.
            raise ValueError(f"capacity must be at least 3 rows for each of the {n_envs} environments, got {capacity}")
        if not 0 <= prioritised_fraction <= 1:
            raise ValueError(f"prioritised_fraction must be in [0, 1], got {prioritised_fraction}")
        self._n_envs = n_envs
        self._ring = capacity // n_envs
        self._rows = self._ring * n_envs
        self._prioritised_fraction = prioritised_fraction
        self._rewards = rewards
        self._discount = discount
        self._layout = RowLayout(
            n_envs=n_envs,
            observation=(observation_shape, observation_dtype),
            action=(action_shape, action_dtype),
            target_sizes=target_sizes or {},
            partial=partial,
            first_visits=first_visits,
        )
        self._clear()

    def __len__(self) -> int:
        """Return the number of transitions that windows can start with."""
        return len(self._starts)

    @property
    def rewarded(self) -> int:
        """The number of stored transitions whose reward is not 0."""
        return len(self._rewarded)

    def begin(self, observations: npt.ArrayLike, targets: TaskTargets | None = None) -> None:
        """Open an episode in every environment with the observations [n_envs, ...] of a vector reset, and their targets.

        Episodes that are still open end where they are, without a termination.

        Raises:
            ValueError, TypeError, FloatingPointError: as `add` does, with nothing stored.
        """
        env = np.arange(self._n_envs)
        observation = self._layout.checked("observations", observations, "observation", env)
        known = self._layout.checked_targets("targets", targets, env)
        # An open row that no action led to belongs to an episode without a transition: it is written anew.
        previous = (self._open_row() - self._n_envs) % self._rows
        self._written -= (self._written > 0) & ~self._column["has_action"][previous]
        self._begin(env, observation, known)

    def add(
        self,
        *,
        action: npt.ArrayLike,
        reward: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        next_observation: npt.ArrayLike,
        reset_observation: npt.ArrayLike,
        label: npt.ArrayLike | None = None,
        next_targets: TaskTargets | None = None,
        reset_targets: TaskTargets | None = None,
    ) -> None:
        """Store one step of all environments; every argument has the leading dimension n_envs.

        Args:
            action, reward, terminated, truncated: of the step taken at the open observation; reward in environment units.
            next_observation: the true successor, so the final observation where the episode ended.
            reset_observation: the first observation of the next episode; ignored where none begins.
            label: p of the observation *before* the action, NaN where the environment said nothing: then the label is the
                reward that arriving there paid, and an episode's first observation has none.
            next_targets, reset_targets: of next_observation and reset_observation, where there are ``target_sizes`` or
                tasks in ``partial``.

        Raises:
            RuntimeError: no episode was begun.
            ValueError, TypeError: an argument of the wrong shape or dtype.
            FloatingPointError: a value that is not finite. Nothing is stored in any of these cases.
        """
        if not self._written.all():
            raise RuntimeError("SequenceReplay.add needs begin(observations) first")
        column, env = self._column, np.arange(self._n_envs)
        action = self._layout.checked("action", action, "action", env)
        reward = self._layout.checked("reward", reward, "reward", env)
        reward = np.sign(reward) if self._rewards == "sign" else reward
        terminated = self._layout.checked("terminated", terminated, "terminated", env)
        ended = np.flatnonzero(terminated | self._layout.checked("truncated", truncated, "terminated", env))
        successor = self._layout.checked("next_observation", next_observation, "observation", env)
        first = self._layout.checked("reset_observation", reset_observation, "observation", ended)
        label = np.full(self._n_envs, np.nan) if label is None else label
        given = np.flatnonzero(~np.isnan(label))
        label = self._layout.checked("label", label, "label", given)
        label = np.sign(label) if self._rewards == "sign" else label
        successor_targets = self._layout.checked_targets("next_targets", next_targets, env)
        first_targets = self._layout.checked_targets("reset_targets", reset_targets, ended)

        row = self._open_row()
        column["action"][row] = action
        column["reward"][row] = reward
        column["terminated"][row] = terminated
        known = self._layout.reward_shown(column, row[given])
        column["label"][row[given[known]]] = label[known]
        column["labelled"][row[given[known]]] = True
        column["has_action"][row] = True
        column["outcome"][row] = -np.inf
        for env_ended in np.flatnonzero(terminated):
            self._settle(row[env_ended])
        self._starts.push(env, row)
        self._arrive(successor, successor_targets, reward)
        self._begin(ended, first, first_targets)

    def sample(self, batch_size: int, transitions: int, rng: np.random.Generator) -> Batch:
        """Draw windows of the given number of transitions, with replacement, as CPU tensors.

        A uniform window starts at any stored transition with equal probability. For a prioritised one a rewarded transition
        is drawn uniformly, then one of the starts from which the window reaches it.

        Raises ValueError where no transition is stored or a size is below 1.
        """
        if batch_size < 1 or transitions < 1:
            raise ValueError(f"batch_size and transitions must be at least 1, got {batch_size} and {transitions}")
        if not len(self):
            raise ValueError("cannot sample from a replay without transitions")
        start = self._starts.draw(batch_size, rng)
        if self._prioritised_fraction and len(self._rewarded):
            number = int(batch_size * self._prioritised_fraction + rng.random())
            start[:number] = self._start_before(self._rewarded.draw(number, rng), transitions, rng)
        return self._windows(start, transitions)

    def state(self) -> dict[str, Array]:
        """Return what `load_state` needs to go on exactly: read-only views, to be saved or copied before the next add."""
        used = self._used(self._written)
        state = {name: column[:used] for name, column in self._column.items()} | {"written": self._written.copy()}
        for array in state.values():
            array.flags.writeable = False
        return state

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over a `state`, also that of a replay with more or less capacity whose rings were not yet full.

        Raises:
            ValueError: names, shapes, dtypes or rings that do not fit; the replay is unchanged then.
        """
        self._layout.require_state(state, self._used)
        self._require_rings(state["written"], state["has_action"].reshape(-1, self._n_envs))
        self._clear()
        self._written += state["written"]
        for name, column in self._column.items():
            column[: len(state[name])] = state[name]
        self._refill_queues()
        if self._visits is not None and self._written.all():
            self._visits.recall(self._column, self._open_row(), self._written)

    def _clear(self) -> None:
        self._column = self._layout.columns(self._rows)
        self._written = np.zeros(self._n_envs, np.int64)  # rows ever opened, in each environment
        self._starts = RowQueue(self._n_envs, self._ring)
        self._rewarded = RowQueue(self._n_envs, self._ring)
        self._visits = FirstVisits(self._n_envs, self._ring) if "first_visit" in self._column else None

    def _used(self, written: Array) -> int:
        return min(max(int(written.max()), 0), self._ring) * self._n_envs

    def _open_row(self) -> Array:
        return (self._written - 1) % self._ring * self._n_envs + np.arange(self._n_envs)

    def _begin(self, env: Array, observation: Array, targets: Mapping[str, Array]) -> None:
        """The listed environments begin episodes with the observations [m, ...]."""
        if self._visits is not None:
            self._visits.begin(env, observation)
        self._open(env, observation, targets)

    def _arrive(self, observation: Array, targets: Mapping[str, Array], reward: Array) -> None:
        """Every environment's action led to the observations [n_envs, ...] and paid the rewards [n_envs]."""
        column, env, before = self._column, np.arange(self._n_envs), self._open_row()
        row = (before + self._n_envs) % self._rows
        if self._visits is not None:
            # Before the oldest observation is written over, which an episode that fills the ring forgets.
            column["first_visit"][before] = self._visits.arrive(observation, oldest=column["observation"][row])
        self._open(env, observation, targets)
        known = self._layout.reward_shown(column, row)
        column["label"][row] = np.where(known, reward, 0)
        column["labelled"][row] = known
        rewarded = self._is_rewarded(before)
        self._rewarded.push(env[rewarded], before[rewarded])

    def _open(self, env: Array, observation: Array, targets: Mapping[str, Array]) -> None:
        """Write observations that nobody acted upon yet over the oldest row of each listed environment, without a label."""
        column = self._column
        row = self._written[env] % self._ring * self._n_envs + env
        lost = column["has_action"][row]
        self._starts.pop_oldest(env[lost])
        self._rewarded.pop_oldest(env[lost & self._is_rewarded(row)])
        column["has_action"][row] = False
        column["observation"][row] = observation
        for name, values in targets.items():
            column[name][row] = values
        column["label"][row] = 0
        column["labelled"][row] = False
        self._written[env] += 1

    def _is_rewarded(self, row: Array) -> Array:
        """Whether the transition that starts at each row paid a reward that is not kept from the reward task."""
        successor = (row + self._n_envs) % self._rows
        paid: Array = self._column["reward"][row] != 0
        return paid & self._layout.reward_shown(self._column, successor)

    def _settle(self, last: int) -> None:
        """Write the discounted return to go of every stored transition of the episode that terminates with row ``last``."""
        column, row, total = self._column, last, 0.0
        for _ in range(self._ring):
            total = column["reward"][row] + self._discount * total
            column["outcome"][row] = total
            row = (row - self._n_envs) % self._rows
            if not column["has_action"][row]:
                break

    def _start_before(self, row: Array, transitions: int, rng: np.random.Generator) -> Array:
        """Step back from each row to one of the starts, its own included, from which a window still contains it."""
        earlier = (row[:, None] - self._n_envs * np.arange(transitions)) % self._rows
        reach = np.logical_and.accumulate(self._column["has_action"][earlier], axis=1).sum(axis=1)
        start: Array = (row - self._n_envs * rng.integers(reach)) % self._rows
        return start

    def _windows(self, start: Array, transitions: int) -> Batch:
        column = self._column
        later = (start[:, None] + self._n_envs * np.arange(transitions)) % self._rows
        alive = np.logical_and.accumulate(column["has_action"][later], axis=1)
        taken = np.zeros((len(start), transitions + 1), np.int64)
        np.cumsum(alive, axis=1, out=taken[:, 1:])
        row = (start[:, None] + self._n_envs * taken) % self._rows
        fields = {name: column[name].take(row, axis=0) for name in ("observation", "label", "labelled")}
        for name in ("action", "reward", "terminated", "outcome"):
            fields[name] = column[name].take(row[:, :-1], axis=0)
            fields[name][~alive] = 0
        return Batch(
            alive=torch.from_numpy(alive),
            first_visit=self._layout.first_visit(column, row[:, :-1], alive),
            targets=self._layout.targets(column, row),
            shown=self._layout.shown(column, row),
            **{name: torch.from_numpy(field) for name, field in fields.items()},
        )

    def _require_rings(self, written: Array, has_action: Array) -> None:
        if written.min() < 0 or (written.any() and not written.all()):
            raise ValueError(f"replay state: written must be all positive or all 0, got {written.tolist()}")
        newest_or_never = np.arange(len(has_action))[:, None] >= written
        if len(has_action):
            newest_or_never[(written - 1) % self._ring, np.arange(self._n_envs)] = True
        if has_action[newest_or_never].any():
            raise ValueError("replay state: has_action must be False in every ring's newest row and in unwritten rows")

    def _refill_queues(self) -> None:
        for env, written in enumerate(self._written.tolist()):
            row = np.arange(max(written - self._ring, 0), written) % self._ring * self._n_envs + env
            row = row[self._column["has_action"][row]]
            self._starts.fill(env, row)
            self._rewarded.fill(env, row[self._is_rewarded(row)])
