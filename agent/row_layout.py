"""What a replay keeps with each observation, and the checks of what comes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jepa_rl.agent.task_targets import TaskTargets

Array = npt.NDArray[Any]


class RowLayout:
    """The columns of a replay of ``n_envs`` environments: shape and dtype of each field of a row.

    Args:
        observation, action: (shape, dtype) of one.
        target_sizes: numbers per observation of each auxiliary task that is read from the environment.
        partial: names of the tasks that know a part of the observations only.
        first_visits: whether rows say if what their transition led to was new to the episode.
    """

    def __init__(
        self,
        *,
        n_envs: int,
        observation: tuple[Sequence[int], npt.DTypeLike],
        action: tuple[Sequence[int], npt.DTypeLike],
        target_sizes: Mapping[str, int],
        partial: Sequence[str],
        first_visits: bool,
    ) -> None:
        self._n_envs = n_envs
        self._target_sizes = dict(target_sizes)
        self._partial = tuple(partial)
        given: dict[str, tuple[Sequence[int], npt.DTypeLike]] = {
            "observation": observation,
            "action": action,
            "reward": ((), np.float32),
            "terminated": ((), np.bool_),
            "has_action": ((), np.bool_),
            "label": ((), np.float32),
            "labelled": ((), np.bool_),
            "outcome": ((), np.float32),
        }
        if target_sizes:
            given["targets"] = ((sum(target_sizes.values()),), np.float32)
        if partial:
            given["shown"] = ((len(partial),), np.bool_)
        if first_visits:
            given["first_visit"] = ((), np.bool_)
        self._fields = {name: (tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in given.items()}

    def columns(self, rows: int) -> dict[str, Array]:
        """Empty columns of ``rows`` rows."""
        return {name: np.zeros((rows, *shape), dtype) for name, (shape, dtype) in self._fields.items()}

    def checked(self, name: str, value: npt.ArrayLike, field: str, env: Array) -> Array:
        """Return the listed environments' part of a value [n_envs, ...], finite, in the dtype of the field.

        Raises ValueError, TypeError or FloatingPointError for another shape, another dtype, what is not finite.
        """
        shape, dtype = self._fields[field]
        array = np.asarray(value)
        if array.shape != (self._n_envs, *shape):
            raise ValueError(f"{name} must have shape {(self._n_envs, *shape)}, got {array.shape}")
        if not np.can_cast(array.dtype, dtype, "same_kind" if dtype.kind == "f" else "safe"):
            raise TypeError(f"{name} must be {dtype}, got {array.dtype}")
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            array = array[env].astype(dtype, copy=False)
        finite = np.isfinite(array).all(axis=tuple(range(1, array.ndim))) if dtype.kind == "f" else np.True_
        if not finite.all():
            raise FloatingPointError(f"{name} of environment {env[finite.argmin()]} is not finite")
        return array

    def checked_targets(self, name: str, targets: TaskTargets | None, env: Array) -> dict[str, Array]:
        """Return the listed environments' part of what is stored of their targets, by column; raises as ``checked``."""
        columns = [column for column in ("targets", "shown") if column in self._fields]
        if not columns:
            return {}
        if targets is None:
            tasks = ", ".join(dict.fromkeys([*self._target_sizes, *self._partial]))
            raise ValueError(f"{name} must be given for {tasks}, got None")
        return {column: self.checked(f"{name}.{column}", getattr(targets, column), column, env) for column in columns}

    def require_state(self, state: Mapping[str, Array], rows_of: Callable[[Array], int]) -> None:
        """Raise ValueError unless ``state`` holds every column, and what was "written" to each ring, int64[n_envs].

        ``rows_of`` tells from the latter how many rows the columns have.
        """
        names = {"written", *self._fields}
        if set(state) != names:
            raise ValueError(f"replay state must hold {sorted(names)}, got {sorted(state)}")
        _require_saved("written", state["written"], (self._n_envs,), np.dtype(np.int64))
        rows = rows_of(state["written"])
        for name, (shape, dtype) in self._fields.items():
            _require_saved(name, state[name], (rows, *shape), dtype)

    def targets(self, column: Mapping[str, Array], row: Array) -> dict[str, torch.Tensor]:
        """What rows [B, T + 1] hold for each task that is read from the environment, [B, T + 1, size]."""
        if not self._target_sizes:
            return {}
        values = torch.from_numpy(column["targets"].take(row, axis=0))
        return dict(zip(self._target_sizes, values.split(list(self._target_sizes.values()), dim=-1), strict=True))

    def shown(self, column: Mapping[str, Array], row: Array) -> dict[str, torch.Tensor]:
        """Which rows [B, T + 1] each task that knows a part of them may know, bool[B, T + 1]."""
        if not self._partial:
            return {}
        values = torch.from_numpy(column["shown"].take(row, axis=0))
        return dict(zip(self._partial, values.unbind(-1), strict=True))

    def first_visit(self, column: Mapping[str, Array], row: Array, alive: Array) -> torch.Tensor | None:
        """Whether the transition of each row [B, T] that is ``alive`` led to what was new, bool[B, T]; None if not kept."""
        if "first_visit" not in self._fields:
            return None
        return torch.from_numpy(column["first_visit"].take(row, axis=0) & alive)

    def reward_shown(self, column: Mapping[str, Array], row: Array) -> Array:
        """Whether the reward task may know the observation of each row."""
        if "reward" not in self._partial:
            return np.ones(len(row), bool)
        shown: Array = column["shown"][row, self._partial.index("reward")]
        return shown


def _require_saved(name: str, array: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        got = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"replay state: {name} must be {dtype}{list(shape)}, got {got}")
