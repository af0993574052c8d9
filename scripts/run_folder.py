"""A run's folder: what is in it, and how to get its agent and environment back."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import gymnasium as gym

from jepa_rl.agent import AgentConfig, CheckpointError, JEPAAgent
from jepa_rl.agent.config import from_dict
from jepa_rl.agent.snapshot import require_spaces
from jepa_rl.envs.make import import_module_of, make_env
from jepa_rl.scripts.claims import claimed


class RunStoppedError(Exception):
    """Training stopped on an error, of the environment's or of the numbers; the run can be resumed."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run keeps of itself while it trains, and how it is measured at the end; nothing here changes the agent."""

    log_interval: int = 1_000
    """Environment steps between two rows of progress.csv."""
    checkpoint_interval: int = 10_000
    """Environment steps between two checkpoints; a stopped run resumes from the last."""
    video_every: int = 0
    """Environment steps between two films of held-out episodes, RUN/videos/step-N.gif; 0 for none. The seconds that they
    take count as training."""
    episodes: int = 200
    """Held-out episodes of the final evaluation."""
    wandb: bool = False
    """Log to Weights & Biases as well (WANDB_MODE=offline needs no account)."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What defines a run; config.json holds it."""

    preset: str
    env_id: str
    seed: int
    total_timesteps: int
    agent: AgentConfig
    env: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the environment
    recording: Recording = field(default_factory=Recording)

    def factory(self, render_mode: str | None = None) -> Callable[[], gym.Env[Any, Any]]:
        """A function that makes the run's environment."""
        return functools.partial(make_env, self.env_id, self.env, render_mode)


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> Self:
        """Start a run in a folder that must not exist or be empty."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(f"{path} exists; choose another --out, or go on with it: jepa-rl resume {path}")
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.write_config(config)
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An existing run; FileNotFoundError where there is none."""
        path = Path(path)
        if path.is_file():
            raise FileNotFoundError(
                f"{path} is a file, not a run folder: an agent that JEPAAgent.save wrote is loaded in Python, by "
                "JEPAAgent.load, and measured by Stable-Baselines3's evaluate_policy"
            )
        if not (path / "config.json").is_file():
            raise FileNotFoundError(f"{path} is not a run folder: it has no config.json")
        return cls(path)

    def claimed(self) -> AbstractContextManager[None]:
        """For training: BlockingIOError where another process trains the run."""
        return claimed(self.path / ".lock", f"another process is training {self.path}; wait for it, or stop it first")

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint" / "agent.zip"

    @property
    def progress(self) -> Path:
        return self.path / "progress.csv"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def videos(self) -> Path:
        return self.path / "videos"

    def config(self) -> RunConfig:
        try:
            kept = json.loads((self.path / "config.json").read_text())
            import_module_of(kept["env_id"])  # which may register the auxiliary tasks that the configuration names
            return from_dict(RunConfig, kept)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path / 'config.json'} is not a run's configuration: {error}") from error

    def write_config(self, config: RunConfig) -> None:
        write_json(self.path / "config.json", dataclasses.asdict(config))

    def write_result(self, result: dict[str, Any]) -> None:
        write_json(self.result, result)

    def load_agent(self, *, env: bool = False, device: str = "auto") -> JEPAAgent:
        """The agent of the last checkpoint, with the run's environments if ``env``, so that it can go on learning.

        Raises ValueError where the environment has other spaces now than the agent.
        """
        if not self.checkpoint.is_file():
            raise CheckpointError(f"{self.path} has no checkpoint yet")
        factory = self.config().factory()
        agent = JEPAAgent.load(self.checkpoint, env=factory if env else None, device=device)
        if not env:
            with factory() as made:
                require_spaces(made, agent.observation_space, agent.action_space)
        return agent


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write in one step: a crash leaves the old file or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2) + "\n")
    partial.replace(path)
