"""Distractors of known variance and predictability, and a bit outside of the agent's control that decides the reward.

Two knobs, which are independent of each other:

- ``variance`` of every distractor value over time and episodes, as a share of the squared range of values (0..255 of
  pixels; 0..15 of the symbols in a grid's added plane; added components of a vector lie in [-1/2, 1/2]). Every episode
  starts in the stationary distribution. Symbols have no order, so their variance is how many of them come up.
- ``predictability``: R^2 of the best linear prediction of the next distractor from the present one; 0 is fresh noise, 1 a
  function of the present. An AR(1) of coefficient a has a^2.

All are shown beside the observation, not in it (displays.py): its own values stay bit for bit what they are, at every
variance, and at variance 0 the added part is constant, a control of the same shape. Pixels and symbols are whole numbers,
which costs predictability as much as rounding does: of the correlation a share of level^2 / (12 variance), with one level
of 1/255 or 1/15; of R^2 about twice that where components are independent, and nothing where they repeat exactly.
An encoder that normalises the contrast of whole images (``EncoderConfig.contrast``) couples the two parts again.

The wrappers have a random stream of their own, seeded by ``reset(seed=...)``: the environment under them runs as it would
without. ``render()`` is the environment's own picture. By name, as for ``jepa-rl train``:

    make_env("jepa_rl/Counting-v0", {"distractor": "noise", "distractor_variance": 0.05, "distractor_predictability": 0.8})
    make_env("jepa_rl/Counting-v0", {"target": 2, "bit": "target", "bit_other_target": 6})
"""

from __future__ import annotations

import inspect
import math
import zlib
from typing import Any, ClassVar, Literal, SupportsFloat, get_args

import gymnasium as gym
import numpy as np

from jepa_rl.envs.counting import CountingEnv
from jepa_rl.envs.displays import display_for
from jepa_rl.envs.processes import ControllablePattern, Flip, Noise, Pattern, Process

Kind = Literal["noise", "pattern", "controllable"]
Step = tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]


class _Beside(gym.Wrapper[np.ndarray, Any, Any, Any]):
    """Shows a process beside the observation. ``spread`` is its standard deviation as a share of the range."""

    stream: ClassVar[str]  # names the random stream, so that two wrappers with one seed differ

    def __init__(self, env: gym.Env[Any, Any], process: Process, variance: float) -> None:
        super().__init__(env)
        inner: gym.Env[Any, Any] = env
        while isinstance(inner, gym.Wrapper):
            if isinstance(inner, _Beside) and inner.stream == self.stream:
                raise ValueError(f"{env} has a {self.stream} already, whose info[{self.stream!r}] a second would replace")
            inner = inner.env
        self._process = process
        self._display = display_for(env.observation_space, process.size)
        highest = 1 / (2 * process.peak) ** 2
        if not 0 <= variance <= highest * (1 + 1e-9):  # 1/12 as a decimal may be rounded up
            raise ValueError(f"variance must lie in [0, {highest:.4g}], beyond which it leaves the range, got {variance!r}")
        self.spread = min(math.sqrt(variance), 0.5 / process.peak)
        self.observation_space = self._display.space
        self._rng = np.random.default_rng()

    def _start(self, seed: int | None) -> np.ndarray:
        """The process's first values as shares of the range."""
        if seed is not None:
            self._rng = np.random.default_rng((seed, zlib.crc32(self.stream.encode())))
        return self.spread * self._process.start(self._rng)

    def _advance(self, action: Any) -> np.ndarray:
        return self.spread * self._process.step(action, self._rng)


class Distractor(_Beside, gym.utils.RecordConstructorArgs):
    """Adds ``size`` values that have nothing to do with the task.

    Kinds: "noise", independent values, fresh at predictability 0 and an AR(1) above; "pattern", a wave that drifts one
    ``period``-th of its length per step; "controllable", a wave that the action moves instead (its predictability is that
    given the action). Predictability is by default 0 for noise and 1 for the patterns.

    ``info["distractor"]`` holds the values as shares of the range, 0 in its middle: float64[size], before rounding.

    Raises ValueError for knobs out of range, for a variance below one level squared (other than 0), and for observation or
    action spaces without a place for a distractor.
    """

    stream = "distractor"

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        kind: Kind,
        variance: float = 0.05,
        predictability: float | None = None,
        size: int = 8,
        period: float = 8.0,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, kind=kind, variance=variance, predictability=predictability, size=size, period=period
        )
        if kind not in get_args(Kind):
            raise ValueError(f"the kind of distractor must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        if not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"size must be a whole number of values, at least 1, got {size!r}")
        if predictability is None:
            predictability = 0.0 if kind == "noise" else 1.0
        p = _checked_share("predictability", predictability)
        process: Process
        if kind == "noise":
            process = Noise(size, p)
        elif kind == "pattern":
            process = Pattern(size, p, period)
        else:
            process = ControllablePattern(size, p, period, env.action_space)
        super().__init__(env, process, variance)
        level = self._display.level
        if 0 < variance < level**2:
            raise ValueError(f"variance must be 0 or at least {level**2:.2g}, one level squared, got {variance!r}")
        # Rounding to whole levels adds level^2 / 12 (Sheppard's correction).
        self.spread = min(self.spread, math.sqrt(max(variance - level**2 / 12, 0.0)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        values = self._start(seed)
        return self._display.draw(observation, values), info | {"distractor": values}

    def step(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = self.env.step(action)
        values = self._advance(action)
        return self._display.draw(observation, values), reward, terminated, truncated, info | {"distractor": values}


class _Bit(_Beside):
    """Shows a bit; the subclasses say what it decides."""

    stream = "bit"

    def __init__(self, env: gym.Env[Any, Any], variance: float, predictability: float) -> None:
        self._flip = Flip(_checked_share("predictability", predictability))
        super().__init__(env, self._flip, variance)

    @property
    def bit(self) -> int:
        """The bit that the last observation shows, 0 or 1."""
        return int(self._flip.value > 0)


class ExogenousBit(_Bit, gym.utils.RecordConstructorArgs):
    """Shows a bit that no action influences and that decides what the reward is worth (after arXiv:2606.30068).

    A reward counts in full where the observation that it arrives in shows a 1, and times ``otherwise`` where that shows a
    0: 0 does not pay, -1 makes the goal one to avoid. So what was a function of the observation that is reached, the reward
    or its label ``info["auxiliary"]``, still is one. A success is one only where the reward counts in full.

    The bit is drawn per episode (predictability 1, the default) or also changes within it, down to a fresh bit per step
    (0), which no action can take into account. It is shown by two values sqrt(variance) above and below the middle of the
    range, rounded; variance 0 hides it. ``info["bit"]`` is the bit that the observation shows.

    Raises ValueError as ``Distractor`` does.
    """

    def __init__(
        self, env: gym.Env[Any, Any], *, variance: float = 0.16, predictability: float = 1.0, otherwise: float = 0.0
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, variance=variance, predictability=predictability, otherwise=otherwise
        )
        if not math.isfinite(otherwise):
            raise ValueError(f"otherwise must be a finite factor on the reward, got {otherwise!r}")
        super().__init__(env, variance, predictability)
        self.otherwise = otherwise

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        values = self._start(seed)
        return self._display.draw(observation, values), self._judged(info)

    def step(self, action: Any) -> Step:
        worth_before = self._worth()
        observation, reward, terminated, truncated, info = self.env.step(action)
        values = self._advance(action)
        if "auxiliary" in info:  # of the observation before the action
            info = info | {"auxiliary": worth_before * info["auxiliary"]}
        reward = self._worth() * float(reward)
        return self._display.draw(observation, values), reward, terminated, truncated, self._judged(info)

    def _worth(self) -> float:
        return 1.0 if self.bit else self.otherwise

    def _judged(self, info: dict[str, Any]) -> dict[str, Any]:
        successes = {name: bool(info[name] and self.bit) for name in ("success", "is_success") if name in info}
        return info | successes | {"bit": self.bit}


class TwoTargets(_Bit, gym.utils.RecordConstructorArgs):
    """Shows a bit that decides which count pays in the counting environment: its ``target`` at 0, ``other_target`` at 1.

    Reward, success, termination and ``info["auxiliary"]`` follow the target that the bit of their observation names. An
    episode is made long enough to reach either target from every count. Otherwise as ``ExogenousBit``.
    """

    def __init__(
        self, env: gym.Env[Any, Any], *, other_target: int, variance: float = 0.16, predictability: float = 1.0
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, other_target=other_target, variance=variance, predictability=predictability
        )
        super().__init__(env, variance, predictability)
        counting = env.unwrapped
        if not isinstance(counting, CountingEnv):
            raise TypeError(f"two targets need the counting environment, got {env}; ExogenousBit serves any other")
        highest = counting.max_objects
        if other_target not in range(highest + 1) or other_target == counting.target:
            raise ValueError(
                f"other_target must lie in 0..{highest} and differ from target {counting.target}, got {other_target!r}"
            )
        self._counting, self.targets = counting, (counting.target, int(other_target))
        farthest = max(max(target, highest - target) for target in self.targets)
        counting.episode_length = max(counting.episode_length, farthest)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        values = self._start(seed)
        self._counting.target = self.targets[self.bit]
        observation, info = self.env.reset(seed=seed, options=options)
        return self._display.draw(observation, values), info | {"bit": self.bit}

    def step(self, action: Any) -> Step:
        label = None if self._counting.count is None else self._counting.reward_of(self._counting.count)
        values = self._advance(action)
        self._counting.target = self.targets[self.bit]
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = info | {"bit": self.bit, "auxiliary": label}
        return self._display.draw(observation, values), reward, terminated, truncated, info


BITS: dict[str, type[ExogenousBit] | type[TwoTargets]] = {"reward": ExogenousBit, "target": TwoTargets}


def is_distraction(name: str) -> bool:
    """Whether a keyword argument is one for ``distracted``: ``distractor``, ``bit``, or one that begins with their name."""
    return name.partition("_")[0] in ("distractor", "bit")


def distracted(env: gym.Env[Any, Any], options: dict[str, Any]) -> gym.Env[Any, Any]:
    """``env`` in the wrappers that ``options`` name, a bit before a distractor; see the top of this file.

    ``distractor`` is a kind of ``Distractor``; ``bit`` is "reward" (``ExogenousBit``) or "target" (``TwoTargets``). Their
    own arguments follow as ``distractor_NAME`` and ``bit_NAME``. Raises ValueError for names that there are not.
    """
    bit, distractor = (_group(options, prefix) for prefix in ("bit", "distractor"))
    if bit:
        decides = bit.pop("")
        if decides not in BITS:
            raise ValueError(f"bit must be one of {', '.join(BITS)}, got {decides!r}")
        wrapper = BITS[decides]
        env = wrapper(env, **_accepted(wrapper, "bit", bit))
    if distractor:
        kind = distractor.pop("")
        env = Distractor(env, kind=kind, **_accepted(Distractor, "distractor", distractor))
    return env


def _group(options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The options of one prefix by the rest of their names; "" is the one that names the wrapper."""
    group = {name[len(prefix) + 1 :]: value for name, value in options.items() if name.partition("_")[0] == prefix}
    if group and "" not in group:
        raise ValueError(f"{prefix}_{next(iter(group))} is given, but no {prefix}")
    return group


def _accepted(wrapper: type[gym.Wrapper[Any, Any, Any, Any]], prefix: str, given: dict[str, Any]) -> dict[str, Any]:
    """``given`` if ``wrapper`` takes all of it and gets all that it needs."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(wrapper).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "kind"
    }
    taken = ", ".join(f"{prefix}_{name}" for name in parameters)
    if unknown := [f"{prefix}_{name}" for name in given if name not in parameters]:
        raise ValueError(f"{wrapper.__name__} does not take {', '.join(unknown)}; it takes {taken}")
    if missing := [name for name, entry in parameters.items() if entry.default is entry.empty and name not in given]:
        raise ValueError(f"{wrapper.__name__} needs {', '.join(f'{prefix}_{name}' for name in missing)}; it takes {taken}")
    return given


def _checked_share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value!r}")
    return float(value)
