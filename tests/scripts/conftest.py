"""One small trained run for every test that only looks at one, and an environment of Dict observations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from jepa_rl.scripts import report
from jepa_rl.scripts import train as training
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.reporting import drawing, exhibits, film

COUNTING_RUN = [
    *("--seed", "3", "--env.target", "2", "--discount", "0.95", "--episodes", "4", "--quiet"),
    *("--total-timesteps", "400", "--log-interval", "100", "--checkpoint-interval", "100"),
    *("--training.starts", "50", "--training.updates-per-step", "0.05", "--training.batch-size", "4"),
    *("--exploration.warmup", "50", "--exploration.epsilon-steps", "100", "--replay.capacity", "500"),
    *("--planner.kind", "exhaustive", "--planner.horizon", "3"),
    *("--model.value.weight", "0", "--model.termination.weight", "0"),
]


@pytest.fixture(scope="session")
def counting_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the counting preset; to be copied where it is changed."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "HELDOUT_IMAGES", 90)
        assert run(["train", "counting", "--out", str(folder), *COUNTING_RUN]) == 0
    return folder


@pytest.fixture(scope="module")
def small_reports() -> Iterator[None]:
    """Less of everything in a report that takes time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "DPI", 50)
        patch.setattr(film, "ENOUGH_FRAMES", 8)
        patch.setattr(film, "MOST_FRAMES", 12)
        patch.setattr(training, "HELDOUT_IMAGES", 90)
        patch.setattr(exhibits, "DECODER_UPDATES", 3)
        patch.setattr(report, "TRANSITIONS", 320)
        patch.setattr(report, "HELDOUT_IMAGES", 180)
        yield


class Lamp(gym.Env):
    """A lamp to be moved to the right end of a row of eight places; a camera sees it, nothing is rendered."""

    observation_space = spaces.Dict(camera=spaces.Box(0, 255, (24, 24, 3), np.uint8), place=spaces.Discrete(8))
    action_space = spaces.Discrete(2)

    def _observation(self) -> dict[str, Any]:
        camera = np.zeros((24, 24, 3), np.uint8)
        camera[8:16, 3 * self.place : 3 * self.place + 3] = (255, 160, 0)
        return {"camera": camera, "place": self.place}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(7))
        return self._observation(), {}

    def step(self, action):
        self.place = int(np.clip(self.place + 2 * int(action) - 1, 0, 7))
        there = self.place == 7
        return self._observation(), float(there), there, False, {"is_success": there}


@pytest.fixture(scope="session")
def lamp() -> Iterator[str]:
    """The id of an environment with Dict observations, one of them an image, that cannot be rendered."""
    gym.register("Lamp-v0", entry_point=Lamp, max_episode_steps=40)
    yield "Lamp-v0"
    del gym.registry["Lamp-v0"]


LAMP_RUN = [
    *("--total-timesteps", "240", "--log-interval", "60", "--episodes", "4", "--quiet", "--model.latent-dim", "16"),
    *("--training.starts", "40", "--training.updates-per-step", "0.1", "--training.batch-size", "4"),
    *("--model.dynamics.hidden", "16", "--model.reward.hidden", "16", "--model.termination.hidden", "16"),
    *("--exploration.warmup", "40", "--exploration.epsilon-steps", "100", "--replay.capacity", "500"),
    *("--planner.kind", "cem", "--planner.horizon", "3", "--planner.samples", "16", "--planner.elites", "4"),
]


@pytest.fixture(scope="session")
def lamp_run(lamp: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on ``lamp`` that was filmed every 100 steps; to be copied where it is changed."""
    folder = tmp_path_factory.mktemp("runs") / "lamp"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "DPI", 50)
        patch.setattr(film, "ENOUGH_FRAMES", 8)
        patch.setattr(film, "MOST_FRAMES", 12)
        options = ["--env-id", lamp, "--video-every", "100"]
        assert run(["train", "default", "--out", str(folder), *options, *LAMP_RUN]) == 0
    return folder


@pytest.fixture(scope="session")
def lamp_options() -> list[str]:
    """How ``lamp_run`` was trained, but for its films."""
    return LAMP_RUN
