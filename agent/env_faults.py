"""Environments that break Gymnasium's interface, differ from one another or die: named where it happens."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, unwrap_vec_normalize

from jepa_rl.agent.observation_spaces import leaves_of, values_of

_STEP = "(observation, reward, terminated, truncated, info)"
SECONDS_TO_DIE = 5.0  # of a process whose pipe is closed already


class CheckedReturns(gym.Wrapper[Any, Any, Any, Any]):
    """Refuses what is no answer of a Gymnasium environment, before a buffer of fixed size reshapes or breaks on it.

    Raises:
        TypeError: ``reset`` or ``step`` returned no tuple of two or five parts, or parts of other types.
        ValueError: an observation that lacks a part or has another shape than the space's, or a space that changed since
            the agent was made.

    What the environment itself raises passes through, with a note of what was called and what it must return: wrappers of
    Gymnasium's own, which come first, take the parts of what it returned for granted.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._name = type(env.unwrapped).__name__
        self._spaces = {name: getattr(env, name) for name in ("observation_space", "action_space")}
        parts = leaves_of("observation", env.observation_space)
        self._shapes = [(name, space.shape if isinstance(space, spaces.Box) else None) for name, space in parts]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with self._noting("reset", "(observation, info)"):
            # Not every environment takes options.
            returned: Any = self.env.reset(seed=seed, **({} if options is None else {"options": options}))
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict)):
            raise TypeError(f"{self._name}.reset must return (observation, info), got {_outline(returned)}")
        for name, before in self._spaces.items():
            now = getattr(self.env, name)
            if now is not before and now != before:
                raise ValueError(f"{self._name}.{name} must stay {before}, got {now} after a reset")
        self._check_shape("reset", returned[0])
        return returned

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        with self._noting("step", _STEP):
            returned: Any = self.env.step(action)
        if not (isinstance(returned, tuple) and len(returned) == 5 and isinstance(returned[4], dict)):
            raise TypeError(f"{self._name}.step must return {_STEP}, got {_outline(returned)}")
        if _kind(returned[1]) not in "biuf":
            raise TypeError(f"{self._name}.step must return a number as the reward, got {returned[1]!r}")
        for name, ended in zip(("terminated", "truncated"), returned[2:4], strict=True):
            if _kind(ended) not in "biu":
                raise TypeError(f"{self._name}.step must return True or False as {name}, got {ended!r}")
        self._check_shape("step", returned[0])
        return returned

    @contextlib.contextmanager
    def _noting(self, method: str, returns: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error.add_note(f"in {self._name}.{method}, which must return {returns}")
            raise

    def _check_shape(self, method: str, observation: Any) -> None:
        space = self._spaces["observation_space"]
        try:
            values = list(values_of("observation", space, observation))
        except ValueError as error:
            raise ValueError(f"{self._name}.{method}: {error}") from error
        for (name, shape), value in zip(self._shapes, values, strict=True):
            if shape is not None and np.shape(value) != shape:
                raise ValueError(f"{self._name}.{method} must return an {name} of shape {shape}, got {np.shape(value)}")


def final_observation(info: dict[str, Any]) -> Any:
    """The last observation of an episode that just ended; ValueError where the VecEnv does not give it."""
    if info.get("terminal_observation") is None:
        raise ValueError(
            "a VecEnv must put the last observation of an episode into its info as 'terminal_observation', as those of "
            f"Stable-Baselines3 do; got an info with {', '.join(map(str, info)) or 'nothing'}"
        )
    return info["terminal_observation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Successors:
    """Where one step of n environments led, before any of them was reset."""

    observation: np.ndarray  # [n, ...], packed; where an episode ended, its last one
    terminated: np.ndarray  # bool[n]
    truncated: np.ndarray  # bool[n]


def successors(
    following: np.ndarray, done: np.ndarray, infos: list[dict[str, Any]], pack: Callable[[Any], np.ndarray]
) -> Successors:
    """What a VecEnv's step says of the transitions; where ``done``, the packed ``following`` [n, ...] begin new episodes.

    Raises ValueError as ``final_observation`` does.
    """
    truncated = np.array([bool(info.get("TimeLimit.truncated")) for info in infos]) & done
    observation = following.copy()
    for env in np.flatnonzero(done):
        observation[env] = pack(final_observation(infos[env]))
    return Successors(observation=observation, terminated=done & ~truncated, truncated=truncated)


def require_equal_spaces(envs: Sequence[gym.Env[Any, Any]] | VecEnv) -> None:
    """Raise ValueError where environments that are to step together differ in a space, naming the first that does."""
    for name in ("observation_space", "action_space"):
        try:
            found = _of_each(envs, name) if isinstance(envs, VecEnv) else [getattr(env, name) for env in envs]
        except (AttributeError, NotImplementedError):
            return  # a VecEnv that is no set of environments speaks for itself
        # VecNormalize writes the space of its numbers into a Dict that is the first environment's own.
        first = 1 if isinstance(envs, VecEnv) and unwrap_vec_normalize(envs) and isinstance(found[0], spaces.Dict) else 0
        for number, space in enumerate(found[first:], first):
            if space != found[first]:
                raise ValueError(
                    f"environments must have the same {name}, got {found[first]} of {first} and {space} of {number}"
                )


def _of_each(venv: VecEnv, name: str) -> list[Any]:
    with naming_dead_processes(venv):
        return venv.get_attr(name)


@contextlib.contextmanager
def naming_dead_processes(venv: VecEnv) -> Iterator[None]:
    """Where a process of the environments dies meanwhile, stop the others and say so.

    Raises RuntimeError for a process that ended; whatever an environment of this process raises passes through.
    """
    workers = venv.unwrapped
    if not isinstance(workers, SubprocVecEnv):
        yield
        return
    if workers.closed:
        raise RuntimeError("the processes of the environments were stopped: save the agent, and load it with new ones")
    watch = _Watch(workers)
    try:
        yield
    except (EOFError, OSError) as error:
        watch.join(SECONDS_TO_DIE)  # a pipe closes a little before its process is gone
        if not watch.first:
            raise
        raise watch.report() from error
    finally:
        watch.stop()
    if watch.first:  # nobody waited for its answer
        raise watch.report()


class _Watch:
    """Ends all processes of vector environments when one has ended, from a thread, until it is stopped.

    Forked processes hold one another's pipes open: without an end to all of them, whoever waits for an answer of the one
    that died waits for ever.
    """

    def __init__(self, workers: SubprocVecEnv) -> None:
        self._workers = workers
        self.first: list[int] = []  # numbers of those that ended by themselves
        self._stopped, self._stop = multiprocessing.Pipe(duplex=False)
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        processes = self._workers.processes
        ready = multiprocessing.connection.wait([self._stopped, *(process.sentinel for process in processes)])
        self.first = [number for number, process in enumerate(processes) if process.sentinel in ready]
        if self.first:
            for process in processes:
                process.terminate()

    def join(self, seconds: float) -> None:
        """Wait until a process has ended, or for ``seconds``."""
        self._thread.join(seconds)

    def report(self) -> RuntimeError:
        """Close what is left, and say which processes ended by themselves and how."""
        for process in self._workers.processes:
            process.join()
        for remote in self._workers.remotes:
            remote.close()
        self._workers.closed = True  # so that close() does not wait for answers that never come
        codes = [(number, self._workers.processes[number].exitcode) for number in self.first]
        ended = [f"the process of environment {number} ended with exit code {code}" for number, code in codes]
        return RuntimeError(
            f"{' and '.join(ended)}; what an environment raised is printed above. The other processes were stopped. "
            "An agent is as it was before this step: save it, and load it with new environments"
        )

    def stop(self) -> None:
        """End the watch; ``first`` is final then."""
        self._stop.close()
        self._thread.join()
        self._stopped.close()


def _kind(value: Any) -> str:
    """The NumPy kind of a single number; "-" for anything else."""
    return "-" if value is None or np.ndim(value) else np.asarray(value).dtype.kind


def _outline(returned: Any) -> str:
    if not isinstance(returned, tuple):
        return type(returned).__name__
    return f"a tuple of {len(returned)}: ({', '.join(type(part).__name__ for part in returned)})"
