"""The counting environment of arXiv:2509.12249: reach a given number of objects in an image.

Transitions are deterministic in the count and stochastic in the pixels, so whatever an encoder keeps beyond the count
cannot be predicted. That makes it a microscope for what a latent dynamics model and its auxiliary tasks preserve.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

IMAGE_SIZE = 64  # pixels
RADIUS = 3  # pixels; an object covers a square of 2 * RADIUS + 1
PLACEMENT_TRIES = 50
SHAPES = ("circle", "square", "triangle", "line")

ActionMode = Literal["discrete2", "discrete3", "continuous"]
RewardMode = Literal["sparse", "dense"]


def _stencils() -> dict[str, np.ndarray]:
    """Pixels that each shape covers around its centre, as bool[7, 7]."""
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    return {
        "circle": x**2 + y**2 <= (RADIUS + 0.5) ** 2,
        "square": np.ones_like(x, dtype=bool),
        "triangle": 2 * np.abs(x) <= y + RADIUS,
        "line": (x == y) | (x == y + 1),
    }


STENCILS = _stencils()


class CountingEnv(gym.Env[np.ndarray, Any]):
    """Add or remove objects until there are ``target`` of them.

    Observation: uint8[64, 64, 3], ``count`` objects of one shape and one colour on black. Shape and colour are drawn per
    episode; positions are redrawn by every action that tries to change the count, also at the bounds. The no-op of
    "discrete3" keeps the frame.

    Actions: "discrete2" is 0 = remove, 1 = add; "discrete3" is 0 = remove, 1 = nothing, 2 = add; "continuous" is the
    paper's scalar in [-1, 1], where a negative value removes and any other adds.

    Reward of the count that is reached: "sparse" is 1 at the target, else 0; "dense" is 1 - |count - target| / max_objects.

    ``info`` holds what the image shows: ``count``, ``position`` (the mean (x, y) of the objects' centres in pixels; that of
    the image where there are none), ``color`` (red, green, blue, 0..255) and ``shape`` (index in SHAPES). ``success`` says
    whether the count is the target, also as ``is_success``, the name that Stable-Baselines3 reads. After a step there
    is ``auxiliary``: the reward of the observation *before* the action, which labels the first of an episode too.

    An episode ends after ``episode_length`` steps (truncation) or on reaching the target by a step (termination, unless
    ``terminate_on_success`` is off); starting at the target does not end it. The default length lets every start reach the
    target, so that the best success rate is 1: 4 steps for the paper's target 4, 6 for targets 2 and 6.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (gymnasium declares it without ClassVar)

    def __init__(
        self,
        *,
        target: int = 4,
        max_objects: int = 8,
        episode_length: int | None = None,
        reward: RewardMode = "sparse",
        terminate_on_success: bool = True,
        actions: ActionMode = "discrete2",
        render_mode: str | None = None,
    ) -> None:
        for name, value in (("target", target), ("max_objects", max_objects), ("episode_length", episode_length or 0)):
            if not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be an integer, got {value!r}")
        if not 1 <= max_objects <= 40:
            raise ValueError(f"max_objects must lie in 1..40 (more do not fit a 64x64 image), got {max_objects}")
        if not 0 <= target <= max_objects:
            raise ValueError(f"target must lie in 0..max_objects={max_objects}, got {target}")
        if episode_length is None:
            # From the farthest start; and 2, because leaving the target and coming back takes that many.
            episode_length = max(target, max_objects - target, 2)
        if episode_length < 1:
            raise ValueError(f"episode_length must be at least 1 step, got {episode_length}")
        if reward not in ("sparse", "dense"):
            raise ValueError(f"reward must be 'sparse' or 'dense', got {reward!r}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.target = target
        self.max_objects = max_objects
        self.episode_length = episode_length
        self.reward_mode = reward
        self.terminate_on_success = terminate_on_success
        self.action_mode = actions
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        self.action_space: spaces.Space[Any]
        if actions == "continuous":
            self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        elif actions in ("discrete2", "discrete3"):
            self.action_space = spaces.Discrete(int(actions[-1]))
        else:
            raise ValueError(f"actions must be 'discrete2', 'discrete3' or 'continuous', got {actions!r}")
        self.count: int | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode at a uniform count, or at ``options["count"]``."""
        super().reset(seed=seed)
        rng = self.np_random
        count = int(rng.integers(self.max_objects + 1))
        if options and "count" in options:
            count = options["count"]
            if count not in range(self.max_objects + 1):
                raise ValueError(f"options['count'] must be an integer in 0..{self.max_objects}, got {count!r}")
        self.count = int(count)
        self.steps = 0
        self.shape = SHAPES[int(rng.integers(len(SHAPES)))]
        self.color = rng.integers(30, 226, size=3).astype(np.uint8)
        self.frame = self._draw()
        return self.frame.copy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.count is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        auxiliary = self.reward_of(self.count)
        change = self._change(action)
        self.count = min(max(self.count + change, 0), self.max_objects)
        self.steps += 1
        if change:
            self.frame = self._draw()
        terminated = self.terminate_on_success and self.count == self.target
        truncated = self.steps >= self.episode_length and not terminated
        return self.frame.copy(), self.reward_of(self.count), terminated, truncated, self._info() | {"auxiliary": auxiliary}

    def render(self) -> np.ndarray | None:
        """The current frame, uint8[64, 64, 3]; draws nothing at random."""
        return self.frame.copy() if self.render_mode == "rgb_array" and self.count is not None else None

    def _change(self, action: Any) -> int:
        if self.action_mode == "continuous":
            values = np.ravel(action)
            if len(values) != 1 or not -1.0 <= values[0] <= 1.0:
                raise ValueError(f"a continuous action must be one number in [-1, 1], got {action!r}")
            return -1 if values[0] < 0 else 1
        if not self.action_space.contains(action):
            raise ValueError(f"an action of {self.action_mode!r} must be an integer in {self.action_space}, got {action!r}")
        return 2 * int(action) - 1 if self.action_mode == "discrete2" else int(action) - 1

    def reward_of(self, count: int) -> float:
        """What reaching ``count`` pays: the label p(o) of an image of so many objects."""
        if self.reward_mode == "sparse":
            return float(count == self.target)
        return 1.0 - abs(count - self.target) / self.max_objects

    def _info(self) -> dict[str, Any]:
        success = self.count == self.target
        return {
            "count": self.count,
            "position": self.position,
            "color": tuple(self.color.tolist()),
            "shape": SHAPES.index(self.shape),
            "success": success,
            "is_success": success,
        }

    def _draw(self) -> np.ndarray:
        """A fresh image of ``count`` objects."""
        image = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        stencil = STENCILS[self.shape][..., None]
        centres = self._place(self.count or 0)
        self.position = tuple(np.mean(centres or [(IMAGE_SIZE // 2, IMAGE_SIZE // 2)], axis=0).tolist())
        for x, y in centres:
            covered = image[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1]
            np.copyto(covered, self.color, where=stencil)
        return image

    def _place(self, count: int) -> list[tuple[int, int]]:
        """Object centres, apart by at least an object's width; after 50 tries an overlap is accepted."""
        placed: list[tuple[int, int]] = []
        # Candidates come in blocks, because one call of the generator costs as much as forty of its numbers.
        candidates: list[list[int]] = []
        closest = (2 * RADIUS + 1) ** 2
        for _ in range(count):
            for _ in range(PLACEMENT_TRIES):
                if not candidates:
                    candidates = self.np_random.integers(RADIUS, IMAGE_SIZE - RADIUS, size=(2 * count, 2)).tolist()
                x, y = candidates.pop()
                if all((x - px) ** 2 + (y - py) ** 2 >= closest for px, py in placed):
                    break
            placed.append((x, y))
        return placed
