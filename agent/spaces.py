"""Action spaces, translated into what the planner works with, and descriptions of spaces for checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from jepa_rl.agent.observation_spaces import is_text, text_space
from jepa_rl.planners import ActionSpec, BoxActions, DiscreteActions, MultiDiscreteActions

SUPPORTED_ACTIONS = "Discrete, MultiDiscrete, MultiBinary, bounded Box"
ROUNDING = 1e-6  # of a Box's range: how far beyond its ends an action may be computed
_CHANGE = "wrap the environment in gymnasium.wrappers.TransformAction"


class ActionAdapter:
    """Actions in the environment's space and in the agent's: numbered from 0, or scaled to [-1, 1].

    Raises ValueError for a space that cannot be planned over.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self.counts: tuple[int, ...] = ()
        self.box_size = 0
        self.spec: ActionSpec
        self.start: Any = 0
        if isinstance(space, spaces.Discrete):
            self.counts, self.start = (int(space.n),), int(space.start)
            self.spec = DiscreteActions(int(space.n))
            self.shape: tuple[int, ...] = ()
        elif isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
            if isinstance(space, spaces.MultiDiscrete):
                self.counts = tuple(space.nvec.flatten().tolist())
                self.start = space.start.flatten()
            else:
                self.counts = (2,) * int(np.prod(space.shape))
            self.spec = MultiDiscreteActions(self.counts)
            self.shape = (len(self.counts),)
        elif isinstance(space, spaces.Box):
            self.box_size = int(np.prod(space.shape))
            self.low, self.high = (bound.flatten().astype(np.float64) for bound in (space.low, space.high))
            with np.errstate(over="ignore", invalid="ignore"):
                self.range = self.high - self.low
            if not np.isfinite(self.range).all():
                raise ValueError(
                    f"action space {space} is unbounded; {_CHANGE}(env, lambda action: action, Box(low, high, shape)) with "
                    "the bounds to plan within"
                )
            self.spec = BoxActions(self.box_size)
            self.shape = (self.box_size,)
        else:
            raise ValueError(
                f"action space {space} is not supported; supported are {SUPPORTED_ACTIONS}; {_CHANGE} to make it one"
            )
        self.dtype = np.dtype(np.int64 if self.counts else np.float32)

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Agent actions [N, ...] as the environment takes them, [N, *space.shape]; rounded for a Box of integers."""
        batch_shape = (len(action), *(self.space.shape or ()))
        if self.counts:
            return (action + self.start).reshape(batch_shape).astype(self.space.dtype)
        scaled = self.low + (action.astype(np.float64) + 1) / 2 * self.range
        scaled = np.clip(scaled, self.low, self.high)  # the sum may be rounded beyond
        if not np.issubdtype(self.space.dtype, np.floating):
            scaled = scaled.round()
        return scaled.reshape(batch_shape).astype(self.space.dtype)

    def from_env(self, taken: npt.ArrayLike) -> np.ndarray:
        """The inverse of ``to_env``: environment actions [N, *space.shape] as the agent's, [N, ...].

        Raises ValueError for actions that the space does not hold.
        """
        taken = np.asarray(taken)
        flat = taken.reshape(len(taken), *self.shape)
        if self.counts:
            numbers = flat - self.start
            valid = (numbers == np.floor(numbers)) & (numbers >= 0) & (numbers < np.array(self.counts).reshape(self.shape))
            converted = numbers.astype(np.int64)
        else:
            # A dimension whose bounds coincide has one action; 0 stands for it.
            share = np.divide(flat - self.low, self.range, out=np.full(flat.shape, 0.5), where=self.range > 0)
            valid = (share >= -ROUNDING) & (share <= 1 + ROUNDING)
            converted = (2 * share - 1).clip(-1, 1).astype(np.float32)
        if not valid.all():
            outside = taken[np.argwhere(~valid)[0][0]]
            raise ValueError(f"actions must lie in {self.space}, got {outside}")
        return converted

    def random(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Uniform agent actions [n, ...]."""
        if self.counts:
            drawn = rng.integers(0, self.counts, size=(n, len(self.counts)))
            return drawn[:, 0] if self.shape == () else drawn
        return rng.uniform(-1, 1, size=(n, self.box_size)).astype(np.float32)


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """A description of a supported space from which ``space_from_json`` makes an equal one."""
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "spaces": [[key, space_to_json(part)] for key, part in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"kind": "Tuple", "spaces": [space_to_json(part) for part in space.spaces]}
    if is_text(space):
        text = text_space(space)
        characters = "".join(sorted(text.character_set))
        return {"kind": "Text", "lengths": [text.min_length, text.max_length], "characters": characters}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "kind": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "shape": space.n if isinstance(space.n, int) else list(space.shape)}
    if isinstance(space, spaces.Box):
        return {
            "kind": "Box",
            "low": _bound_to_json(space.low),
            "high": _bound_to_json(space.high),
            "shape": list(space.shape),
            "dtype": str(space.dtype),
        }
    raise ValueError(f"space {space} is not supported")


def space_from_json(data: dict[str, Any]) -> spaces.Space[Any]:
    """The inverse of ``space_to_json``; ValueError or KeyError when the description is not one."""
    kind = data["kind"]
    if kind == "Dict":
        return spaces.Dict([(key, space_from_json(part)) for key, part in data["spaces"]])
    if kind == "Tuple":
        return spaces.Tuple([space_from_json(part) for part in data["spaces"]])
    if kind == "Text":
        shortest, longest = data["lengths"]
        return spaces.Text(longest, min_length=shortest, charset=data["characters"])
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"], dtype=np.dtype(data.get("dtype", "int64")).type)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(data["nvec"], dtype=np.dtype(data["dtype"]).type, start=data["start"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["shape"])
    if kind == "Box":
        dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
        low, high = _bound_from_json(data["low"], shape, dtype), _bound_from_json(data["high"], shape, dtype)
        return spaces.Box(low, high, shape, dtype.type)
    raise ValueError(f"unknown kind of space {kind!r}")


def _bound_to_json(bound: np.ndarray) -> str | list[str]:
    """Numbers as text, because JSON has no infinity; a single one where all are the same."""
    flat = [repr(value) for value in bound.flatten().tolist()]
    return flat[0] if len(set(flat)) == 1 else flat


def _bound_from_json(data: str | list[str], shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    read: dict[str, Callable[[str], Any]] = {"b": "True".__eq__, "i": int, "u": int}
    values = [read.get(dtype.kind, float)(entry) for entry in ([data] if isinstance(data, str) else data)]
    return np.broadcast_to(np.array(values, dtype).reshape(shape if len(values) > 1 else ()), shape)
