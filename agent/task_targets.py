"""What auxiliary tasks get to know of the observations that are collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.agent.random_streams import RandomStreams
from jepa_rl.world_model import AuxiliaryConfig, ModelConfig
from jepa_rl.world_model.targets import BOUNDS, environment_target

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskTargets:
    """What auxiliary tasks get to know of n observations."""

    targets: Array  # float32 [n, sum of sizes], of the tasks that are read from the environment; 0 where not shown
    shown: Array  # bool [n, tasks], of those that know a part of the observations only

    def spread(self, where: Array) -> TaskTargets:
        """The same at the True entries of ``where`` bool[m], in m rows whose others mean nothing."""

        def wider(part: Array) -> Array:
            rows = np.zeros((len(where), *part.shape[1:]), part.dtype)
            rows[where] = part
            return rows

        return TaskTargets(targets=wider(self.targets), shown=wider(self.shown))


class TargetReader:
    """Reads auxiliary targets from the environment, and draws which observations which task may know.

    Both happen once, when an observation is collected, so that nothing that is stored reveals the others.

    Args:
        config: whose tasks are served.
        observations: gives functions the observations as the environment does.
        streams: its ``labels`` decide who knows what; nothing is drawn where every task knows everything.
    """

    def __init__(self, config: ModelConfig, observations: ObservationAdapter, streams: RandomStreams) -> None:
        self._tasks = config.read_from_environment
        self._fractions = config.label_fractions
        self._observations = observations
        self._streams = streams

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers each task that is read from the environment has, in the order of ``TaskTargets.targets``."""
        return {task.target: task.numbers for task in self._tasks}

    @property
    def partial(self) -> tuple[str, ...]:
        """The tasks that know a part of the observations only, in the order of ``TaskTargets.shown``."""
        return tuple(self._fractions)

    def __call__(self, observation: Array, info: Sequence[Mapping[str, Any]]) -> TaskTargets:
        """What the tasks get to know of packed observations [n, ...] and the infos that came with them.

        Raises, naming the task, RuntimeError where its function fails and ValueError where it gives no finite numbers.
        """
        shown = np.ones((len(info), len(self._fractions)), bool)
        if self._fractions:
            shown = self._streams.labels.random(shown.shape) < list(self._fractions.values())
        targets = np.zeros((len(info), sum(self.sizes.values())), np.float32)
        begin = 0
        for task in self._tasks:
            known = np.ones(len(info), bool)
            if task.target in self._fractions:
                known = shown[:, self.partial.index(task.target)]
            for env in np.flatnonzero(known).tolist():
                # A copy: what a function does to it must not reach the replay.
                given = self._observations.unpack(observation[env].copy())
                targets[env, begin : begin + task.numbers] = _read(task, given, info[env])
            begin += task.numbers
        return TaskTargets(targets=targets, shown=shown)


def reward_labels(infos: Sequence[Mapping[str, Any]]) -> Array:
    """What the infos of n steps say of the observations before the actions, float [n]; NaN where they say nothing.

    Raises ValueError where ``info["auxiliary"]`` is no number.
    """
    given = [info.get("auxiliary", np.nan) for info in infos]
    for label in given:
        if np.asarray(label).shape or np.asarray(label).dtype.kind not in "biuf":
            raise ValueError(f'info["auxiliary"], the label of an observation, must be a number, got {label!r}')
    return np.array(given, float)


def _read(task: AuxiliaryConfig, observation: Any, info: Mapping[str, Any]) -> Array:
    """The target of one observation, float32 [size]."""
    source = environment_target(task.target)
    assert source is not None
    try:
        given = source.function(observation, info)
    except Exception as error:
        raise RuntimeError(
            f"the auxiliary task {task.target!r} failed on an info with the entries {sorted(map(str, info))}: {error!r}; "
            "what it reads must be in the info of reset, too"
        ) from error
    expected = "a finite number" if task.numbers == 1 else f"{task.numbers} finite numbers"
    low, high = BOUNDS.get(task.number_likelihood, (-np.inf, np.inf))
    if task.number_likelihood in BOUNDS:
        expected += f" in [{low:g}, {high:g}]"
    try:
        numbers = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan, np.float32)
    fits = numbers.shape in ({(), (1,)} if task.numbers == 1 else {(task.numbers,)}) and np.isfinite(numbers).all()
    if not fits or not ((numbers >= low) & (numbers <= high)).all():
        raise ValueError(f"the auxiliary task {task.target!r} must give {expected} for every observation, got {given!r}")
    return numbers.reshape(task.numbers)
