"""Gymnasium spaces, translated into what the world model and the planner work with."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from jepa_rl.planners import ActionSpec, BoxActions, DiscreteActions, MultiDiscreteActions
from jepa_rl.world_model import ObservationSpec
from jepa_rl.world_model.config import EncoderKind

SUPPORTED_OBSERVATIONS = "Box (vectors, uint8 images, grids of symbols), Discrete, MultiDiscrete, MultiBinary"
SUPPORTED_ACTIONS = "Discrete, MultiDiscrete, MultiBinary, bounded Box"
SMALLEST_IMAGE = 16  # pixels; below that a uint8 array is more likely a grid of symbols


def observation_spec(space: spaces.Space[Any], kind: EncoderKind) -> ObservationSpec:
    """How the encoder reads observations of ``space``; ``kind`` is ``ModelConfig.encoder.kind``.

    Raises ValueError for a space that no encoder serves, or that the chosen kind does not fit.
    """
    if isinstance(space, spaces.Discrete):
        return ObservationSpec(kind="onehot", shape=(), counts=(int(space.n),), starts=(int(space.start),))
    if isinstance(space, spaces.MultiDiscrete):
        counts, starts = space.nvec.flatten().tolist(), space.start.flatten().tolist()
        return ObservationSpec(kind="onehot", shape=space.shape, counts=tuple(counts), starts=tuple(starts))
    if isinstance(space, spaces.MultiBinary):
        return ObservationSpec(kind="vector", shape=space.shape)
    if not isinstance(space, spaces.Box):
        raise ValueError(f"observation space {space} is not supported; supported are {SUPPORTED_OBSERVATIONS}")
    chosen = _box_kind(space) if kind == "auto" else kind
    if chosen in ("image", "grid") and (len(space.shape) != 3 or space.dtype != np.uint8):
        raise ValueError(f"model.encoder.kind {chosen!r} needs a uint8 Box of three dimensions, got {space}")
    return ObservationSpec(kind=chosen, shape=space.shape)


def _box_kind(space: spaces.Box) -> Literal["vector", "image"]:
    if len(space.shape) != 3 or space.dtype != np.uint8:
        return "vector"
    if sorted(space.shape)[1] < SMALLEST_IMAGE:
        raise ValueError(
            f"observation space {space} is too small for an image; choose model.encoder.kind 'grid' for symbols "
            "or 'vector' to flatten it"
        )
    return "image"


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
            if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
                raise ValueError(f"action space {space} is unbounded; wrap the environment with gymnasium's RescaleAction")
            self.box_size = int(np.prod(space.shape))
            self.low = space.low.flatten().astype(np.float64)
            self.range = space.high.flatten().astype(np.float64) - self.low
            self.spec = BoxActions(self.box_size)
            self.shape = (self.box_size,)
        else:
            raise ValueError(f"action space {space} is not supported; supported are {SUPPORTED_ACTIONS}")
        self.dtype = np.dtype(np.int64 if self.counts else np.float32)

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Agent actions [N, ...] as the environment takes them, [N, *space.shape]."""
        batch_shape = (len(action), *(self.space.shape or ()))
        if self.counts:
            return (action + self.start).reshape(batch_shape).astype(self.space.dtype)
        scaled = self.low + (action.astype(np.float64) + 1) / 2 * self.range
        return scaled.reshape(batch_shape).astype(self.space.dtype)

    def random(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Uniform agent actions [n, ...]."""
        if self.counts:
            drawn = rng.integers(0, self.counts, size=(n, len(self.counts)))
            return drawn[:, 0] if self.shape == () else drawn
        return rng.uniform(-1, 1, size=(n, self.box_size)).astype(np.float32)


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """A description of a supported space from which ``space_from_json`` makes an equal one."""
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "kind": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "shape": list(space.shape)}
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
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
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
    values = [float(entry) for entry in ([data] if isinstance(data, str) else data)]
    return np.broadcast_to(np.array(values).astype(dtype).reshape(shape if len(values) > 1 else ()), shape)
