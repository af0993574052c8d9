"""The auxiliary tasks of the study, from what the dynamics ask for anyway to what nothing could tell.

A target that is a real number has mean 0 and standard deviation 1 over the images, so that each such loss begins near 1
and a weight means about the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepa_rl.envs.counting import IMAGE_SIZE, SHAPES
from jepa_rl.scripts.counting_study.rows import TARGET
from jepa_rl.world_model import AuxiliaryConfig, register_auxiliary
from jepa_rl.world_model.task_config import TaskLikelihood

COUNTS = np.arange(9)
POSITION_STD = 9.2  # pixels, of the mean position of 0 to 8 objects
COLOR_STD = 56.6  # of a uniform integer in 30..225
RANDOM_OUTPUTS = 64


def _unit(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


_COUNT = _unit(COUNTS)
_DENSE = _unit(-np.abs(COUNTS - TARGET))


def _parity(_: Any, info: Mapping[str, Any]) -> int:
    return info["count"] % 2


def _count(_: Any, info: Mapping[str, Any]) -> float:
    return float(_COUNT[info["count"]])


def _dense(_: Any, info: Mapping[str, Any]) -> float:
    return float(_DENSE[info["count"]])


def _position(_: Any, info: Mapping[str, Any]) -> np.ndarray:
    return (np.array(info["position"]) - IMAGE_SIZE / 2) / POSITION_STD


def _color(_: Any, info: Mapping[str, Any]) -> np.ndarray:
    return (np.array(info["color"]) - 127.5) / COLOR_STD


def _shape(_: Any, info: Mapping[str, Any]) -> np.ndarray:
    return np.eye(len(SHAPES))[info["shape"]]


register_auxiliary("count_number", _count, likelihood="gaussian")
register_auxiliary("count_parity", _parity, likelihood="bernoulli")
register_auxiliary("dense_reward", _dense, likelihood="gaussian")
register_auxiliary("mean_position", _position, size=2, likelihood="gaussian")
register_auxiliary("object_color", _color, size=3, likelihood="gaussian")
register_auxiliary("object_shape", _shape, size=len(SHAPES), likelihood="bernoulli")


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """One auxiliary task."""

    slug: str  # names it in results
    name: str  # as in tables
    about: str  # what its head must say
    target: str  # the task's name in the model
    likelihood: TaskLikelihood = "auto"
    size: int = 0

    def config(self, weight: float, *, trains_encoder: bool = True) -> AuxiliaryConfig:
        """The task's settings; of the reward, which has a section of its own, there are none."""
        return AuxiliaryConfig(
            target=self.target,
            weight=weight,
            trains_encoder=trains_encoder,
            likelihood=self.likelihood,
            size=self.size,
        )


REWARD = Auxiliary(slug="reward", name="reward", about="whether the count is the target", target="reward")
AUXILIARIES = (
    REWARD,
    Auxiliary(
        slug="dense", name="dense reward", about="minus the distance of the count to the target", target="dense_reward"
    ),
    Auxiliary(slug="count", name="count", about="the count itself", target="count_number"),
    Auxiliary(slug="parity", name="parity", about="whether the count is odd", target="count_parity"),
    Auxiliary(
        slug="inverse", name="inverse dynamics", about="the action, from the latents before and after", target="inverse"
    ),
    Auxiliary(
        slug="position",
        name="position",
        about="the mean position of the objects, which every action draws anew",
        target="mean_position",
    ),
    Auxiliary(slug="color", name="colour", about="the objects' colour, which stays for an episode", target="object_color"),
    Auxiliary(slug="shape", name="shape", about="the objects' shape, which stays for an episode", target="object_shape"),
    Auxiliary(
        slug="linear",
        name="random linear",
        about=f"{RANDOM_OUTPUTS} fixed random linear functions of the pixels",
        target="random_linear",
        size=RANDOM_OUTPUTS,
    ),
    Auxiliary(
        slug="network",
        name="random network",
        about=f"{RANDOM_OUTPUTS} outputs of a fixed random network",
        target="random_network",
        size=RANDOM_OUTPUTS,
    ),
    Auxiliary(
        slug="shuffled",
        name="shuffled reward",
        about="the rewards of each batch, dealt out anew among its images",
        target="shuffled_reward",
        likelihood="bernoulli",
    ),
    Auxiliary(slug="noise", name="noise", about="a normal number, another one in every update", target="noise"),
)


def auxiliary(slug: str) -> Auxiliary:
    """The auxiliary of this slug."""
    return next(each for each in AUXILIARIES if each.slug == slug)
