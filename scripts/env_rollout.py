"""Random rollouts of an environment, recorded step by step for the checks of ``jepa-rl doctor``."""

from __future__ import annotations

import copy
import hashlib
import math
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

Read = Callable[[Any], object]

SUCCESS_KEYS = ("is_success", "success")
LONGEST_AXIS = 8  # entries that ``features`` keeps of an axis
MOST_FEATURES = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One transition: ``action`` was taken at ``before`` and led to ``after``, which paid ``reward``."""

    episode: int
    number: int  # within the episode; 1 for the first
    before: np.ndarray  # features [F]
    action: np.ndarray  # features [A]
    after: np.ndarray  # features [F]
    reward: float
    terminated: bool
    truncated: bool
    successes: frozenset[str]  # those of SUCCESS_KEYS that info holds
    fingerprints: tuple[str, str]  # of both observations, to the last bit
    finite: bool
    inside: bool  # both observations lie in the observation space
    refused: str = ""  # why an agent would refuse one of them

    @property
    def outcome(self) -> dict[str, str]:
        """What a second run with the same seed must repeat exactly; NaN equals itself."""
        return {
            "observation before the step": self.fingerprints[0],
            "observation": self.fingerprints[1],
            "reward": repr(self.reward),
            "terminated": str(self.terminated),
            "truncated": str(self.truncated),
        }


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Steps under random actions, up to the one where the environment raised ``error``, if it did."""

    steps: tuple[Step, ...]
    seconds: float  # spent in reset and step
    error: str | None = None


def record(
    env: gym.Env[Any, Any], steps: int, seed: int, *, render: bool = False, read: Read = lambda observation: None
) -> Rollout:
    """Take ``steps`` random steps; ``seed`` decides the actions and the first reset. ``render`` draws after each step.

    ``read`` reads observations as an agent would: where it raises ValueError or TypeError, the step says so. An exception
    of the environment ends the rollout and is kept as text.
    """
    found: list[Step] = []
    clock = _Clock()
    try:
        for step in _steps(env, steps, seed, render, clock, read):
            found.append(step)
    except (Exception, SystemExit) as error:  # whatever an environment raises is a finding, and it may call sys.exit
        where = f"at step {len(found) + 1}" if clock.seconds else "on its first reset"
        return Rollout(steps=tuple(found), seconds=clock.seconds, error=f"{where}: {describe(error)}")
    return Rollout(steps=tuple(found), seconds=clock.seconds)


def describe(error: BaseException) -> str:
    """Type, message and notes of an exception on one line."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
    return f"{type(error).__name__}: {' '.join(f'{error}{notes}'.split())}"


def features(observation: Any) -> np.ndarray:
    """An observation of any space as at most MOST_FEATURES finite numbers, float64[F].

    Long axes are strided, because trees see more in few columns; what that may miss of an image is summed up by the mean,
    the deviation and the share of entries that differ from the median. A text is the number of its checksum.
    """
    parts = [_reduced(leaf) for leaf in _leaves(observation)]
    row = np.concatenate(parts) if parts else np.zeros(0)
    row = row[:: max(1, math.ceil(len(row) / MOST_FEATURES))]
    return np.nan_to_num(row, nan=0.0, posinf=1e30, neginf=-1e30).clip(-1e30, 1e30)


class _Clock:
    """Seconds spent in the calls made through it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        result = function(*args, **kwargs)
        self.seconds += time.perf_counter() - began
        return result


def _steps(env: gym.Env[Any, Any], steps: int, seed: int, render: bool, clock: _Clock, read: Read) -> Iterator[Step]:
    actions = copy.deepcopy(env.action_space)  # an environment may draw from its own
    actions.seed(seed)
    observation, _ = clock(env.reset, seed=seed)
    before, episode, number = _Seen.of(env, observation, read), 0, 0
    for _ in range(steps):
        action = actions.sample()
        observation, reward, terminated, truncated, info = clock(env.step, action)
        if render:
            env.render()
        after, number = _Seen.of(env, observation, read), number + 1
        yield Step(
            episode=episode,
            number=number,
            before=before.features,
            action=features(action),
            after=after.features,
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated),
            successes=frozenset(SUCCESS_KEYS) & set(info),
            fingerprints=(before.fingerprint, after.fingerprint),
            finite=before.finite and after.finite and math.isfinite(reward),
            inside=before.inside and after.inside,
            refused=before.refused or after.refused,
        )
        before = after
        if terminated or truncated:
            observation, _ = clock(env.reset)
            before, episode, number = _Seen.of(env, observation, read), episode + 1, 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of an observation: the environment may overwrite its array, and many images fill the memory."""

    features: np.ndarray
    fingerprint: str
    finite: bool
    inside: bool
    refused: str

    @classmethod
    def of(cls, env: gym.Env[Any, Any], observation: Any, read: Read) -> _Seen:
        digest, finite = hashlib.blake2b(digest_size=8), True
        for leaf in _leaves(observation):
            digest.update(f"{leaf.dtype}{leaf.shape}".encode() + np.ascontiguousarray(leaf).tobytes())
            finite &= leaf.dtype.kind not in "fc" or bool(np.isfinite(leaf).all())
        refused = ""
        try:
            read(observation)
        except FloatingPointError:
            pass  # told by ``finite``
        except (ValueError, TypeError) as error:
            refused = describe(error)
        return cls(features(observation), digest.hexdigest(), finite, observation in env.observation_space, refused)


def _leaves(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, dict):
        value = tuple(value[key] for key in sorted(value))
    if isinstance(value, tuple | list):
        for part in value:
            yield from _leaves(part)
    elif value is not None:  # a Graph without edges
        yield np.asarray(value)


def _reduced(leaf: np.ndarray) -> np.ndarray:
    if leaf.dtype.kind not in "buif":
        return np.array([float(zlib.crc32(str(leaf).encode()))])
    values = leaf.astype(np.float64)
    if values.ndim < 2 or max(values.shape) <= LONGEST_AXIS:
        return values.ravel()
    kept = values[tuple(slice(None, None, math.ceil(length / LONGEST_AXIS)) for length in values.shape)]
    return np.array([*kept.flat, values.mean(), values.std(), np.mean(values != np.median(values))])
