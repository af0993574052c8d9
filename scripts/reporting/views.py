"""What there is to see of an observation and of an environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.run_folder import RunConfig
from jepa_rl.world_model import ObservationSpec

ImageReader = Callable[[np.ndarray], np.ndarray]
"""Maps packed observations [N, ...] to images uint8[N, H, W, C]."""


class NoPicturesError(ValueError):
    """Nothing of the environment can be shown; the message says why."""


def image_reader(spec: ObservationSpec) -> ImageReader | None:
    """Finds the image in packed observations, the first of several in a Dict or Tuple; None where there is none."""
    if spec.kind == "image":
        return lambda packed: as_images(packed, spec)
    start = 0
    for part in spec.parts:
        if part.kind == "image":
            columns = slice(start, start + part.bytes)
            return lambda packed: as_images(_part(packed[:, columns], part), part)
        start += part.bytes
    return None


def _part(columns: np.ndarray, part: ObservationSpec) -> np.ndarray:
    return np.ascontiguousarray(columns).view(part.dtype).reshape(len(columns), *part.shape)


def as_images(observation: np.ndarray, spec: ObservationSpec) -> np.ndarray:
    """Images uint8[N, H, W, C] of observations [N, ...] with or without a colour axis, which is the short one."""
    images = observation.reshape(len(observation), *spec.shape)
    if images.shape[1] < images.shape[3]:
        images = images.transpose(0, 2, 3, 1)
    if images.dtype == np.uint8 and (spec.low, spec.high) == (0, 255):
        return images
    scaled = (images.astype(np.float64) - spec.low) / (spec.high - spec.low)
    return np.round(255 * scaled.clip(0, 1)).astype(np.uint8)


def shown_channels(images: np.ndarray) -> np.ndarray:
    """Images [..., H, W, C] as they can be drawn, with C = 1 or 3: of stacked frames the newest, which stands last."""
    return images[..., -3:] if images.shape[-1] % 3 == 0 else images[..., -1:]


class View:
    """An environment of a run and how its moments look.

    Image observations are shown as they are. Of others the environment's own drawing is shown, or an image among them.

    Raises NoPicturesError where there is neither.
    """

    def __init__(self, agent: JEPAAgent, config: RunConfig) -> None:
        self._reader = image_reader(agent.observation_adapter.spec)
        self._pack = agent.observation_adapter.pack
        self.env = config.factory()()
        self._renders = False
        if agent.observation_adapter.spec.kind == "image":
            return
        self._renders = "rgb_array" in self.env.metadata.get("render_modes", ())
        if self._renders:
            self.env.close()
            self.env = _drawing_env(config)
        elif self._reader is None:
            self.env.close()
            raise NoPicturesError("the environment declares no render mode rgb_array, and observations hold no image")

    def picture(self, observation: Any) -> np.ndarray:
        """uint8[H, W, C] of the environment's current moment, C = 1 or 3; NoPicturesError where drawing fails."""
        if self._renders:
            return shown_channels(_drawn(self.env))
        assert self._reader is not None
        return shown_channels(self._reader(self._pack(observation)[None])[0])


def _drawing_env(config: RunConfig) -> gym.Env[Any, Any]:
    try:
        return config.factory(render_mode="rgb_array")()
    except (Exception, SystemExit) as error:  # an environment may raise anything, and a picture is not worth a report
        raise NoPicturesError(
            f"with render_mode='rgb_array' the environment raises {type(error).__name__}: {error}"
        ) from error


def _drawn(env: gym.Env[Any, Any]) -> np.ndarray:
    try:
        image = env.render()
    except (Exception, SystemExit) as error:  # as above: libraries for drawing are missing, or a display
        raise NoPicturesError(f"its render() raises {type(error).__name__}: {error}") from error
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.dtype != np.uint8:
        got = f"{image.dtype}{list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise NoPicturesError(f"its render() must give uint8[H, W, C], got {got}")
    return image[..., :3] if image.shape[-1] == 4 else image  # without the transparency that canvases have
