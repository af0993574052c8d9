"""Observation wrappers for MiniGrid: the agent's view as symbols or as pixels, with success told apart from termination."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.minigrid_env import MiniGridEnv

TILE_SIZE = 8  # pixels per cell of PixelView
DIRECTIONS = 4


def symbols(observation: dict[str, Any]) -> np.ndarray:
    """MiniGrid's observation as uint8[V, V, 4]: its planes object, colour and state, and one filled with the direction."""
    image = observation["image"]
    view = np.empty((*image.shape[:2], 4), np.uint8)
    view[..., :3] = image
    view[..., 3] = observation["direction"]
    return view


class _View(gym.Wrapper[np.ndarray, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """What both views share: ``observation`` replaces the observation, and ``info`` tells success.

    ``info["success"]`` (also ``is_success``, the name that Stable-Baselines3 reads) holds when the episode terminated with
    a positive reward: lava terminates with reward 0, a collision with -1, and a time limit truncates; none is a success.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        if not isinstance(env.unwrapped, MiniGridEnv):
            raise TypeError(f"{type(self).__name__} needs a MiniGrid environment, got {env}")
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def observation(self, observation: Any) -> np.ndarray:
        raise NotImplementedError

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self.observation(observation), info | {"success": False, "is_success": False}

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        success = bool(terminated and float(reward) > 0)
        info = info | {"success": success, "is_success": success}
        return self.observation(observation), reward, terminated, truncated, info


class SymbolicView(_View):
    """The egocentric view as uint8[V, V, 4], V = ``agent_view_size`` (7): object, colour, state, agent's direction.

    The first axis runs from left to right, the second from the farthest row to the agent's own: the agent looks towards
    lower indices of the second axis from the cell [V // 2, V - 1], which shows the object that it carries. The mission is
    not part of the view; where it varies between episodes (Fetch, GoToDoor, BabyAI), the goal is therefore hidden.

    The bounds of the space are those of each plane, not 255: symbols are no intensities, and libraries that rescale or
    transpose images leave such a space alone.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        size = self.get_wrapper_attr("agent_view_size")
        highest = [max(indices.values()) for indices in (OBJECT_TO_IDX, COLOR_TO_IDX, STATE_TO_IDX)]
        high = np.broadcast_to(np.array([*highest, DIRECTIONS - 1], np.uint8), (size, size, 4))
        self.observation_space = spaces.Box(np.zeros_like(high), high, dtype=np.uint8)

    def observation(self, observation: dict[str, Any]) -> np.ndarray:
        return symbols(observation)


class PixelView(_View):
    """The same egocentric view drawn in colour as uint8[8 * V, 8 * V, 3], [56, 56, 3] by default; up is ahead.

    The object that the agent carries is drawn under the agent's triangle.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        size = TILE_SIZE * self.get_wrapper_attr("agent_view_size")
        self.observation_space = spaces.Box(0, 255, (size, size, 3), np.uint8)

    def observation(self, observation: Any) -> np.ndarray:
        frame: np.ndarray = self.get_wrapper_attr("get_frame")(tile_size=TILE_SIZE, agent_pov=True)
        return frame
