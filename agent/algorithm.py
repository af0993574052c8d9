"""What can be exchanged in an agent between two calls of learn(): environments, seed, parameters."""

from __future__ import annotations

import copy
import os
import warnings
from abc import abstractmethod
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from jepa_rl.agent.checkpoint import read_checkpoint
from jepa_rl.agent.collect import Collector
from jepa_rl.agent.config import AgentConfig
from jepa_rl.agent.episodes import EnvLike, as_vec_env
from jepa_rl.agent.learner import Learner
from jepa_rl.agent.observation_spaces import observation_spec
from jepa_rl.agent.random_streams import RandomStreams
from jepa_rl.agent.snapshot import own_moments, parameters_in, require_spaces
from jepa_rl.agent.spaces import ActionAdapter


class Algorithm(BaseAlgorithm):
    """The base of JEPAAgent: Stable-Baselines3's, with its ways to exchange parts made to fit ours."""

    config: AgentConfig
    steps_taken: int
    learner: Learner
    collector: Collector
    streams: RandomStreams

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        # Images stay as they are (no VecTransposeImage): the encoder reads either order of axes.
        return as_vec_env(env, 1)

    def _check_spaces(self, env: gym.Env[Any, Any] | VecEnv) -> None:
        observation_spec(env.observation_space, self.config.model.encoder.kind)
        ActionAdapter(env.action_space)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the world model."""
        return self.learner.optimizer

    @abstractmethod
    def _make_collector(self, env: VecEnv) -> None:
        """Make the replay and what fills it."""

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Learn in other environments from now on; what was learned and remembered stays.

        Args:
            env: as in the constructor.
            force_reset: begin new episodes, seeded as the first ones were. False where ``env`` wraps the environments that
                the agent was in, as they are.

        Raises ValueError for other spaces than the agent's, and for another number of environments than its replay has.
        """
        n_envs = self.config.n_envs if self.env is None else self.n_envs
        venv = as_vec_env(env, n_envs, check=self._check_spaces)
        require_spaces(venv, self.observation_space, self.action_space)
        if self.env is not None and venv.num_envs != n_envs:
            raise ValueError(
                f"env must be {n_envs} parallel environments, as the agent's replay is, got {venv.num_envs}; save the "
                "agent and load it with them: it keeps what it learned and begins with an empty replay"
            )
        if self.env is None:
            if self.steps_taken:
                warnings.warn("the agent begins with an empty replay; load(path, env) keeps the saved one", stacklevel=2)
            self._make_collector(venv)
        self.collector.connect(venv)
        self.env, self.n_envs, self._vec_normalize_env = venv, venv.num_envs, unwrap_vec_normalize(venv)
        if force_reset:
            self._begin_anew()

    def set_random_seed(self, seed: int | None = None) -> None:
        """Decide every random choice from here on; the environments begin new episodes. None changes nothing."""
        if seed is None:
            return
        seed = int(seed)
        super().set_random_seed(seed)
        self.seed = seed
        self.streams.load_state(*RandomStreams(seed).state())
        if self.env is not None:
            self._begin_anew()

    def _begin_anew(self) -> None:
        assert self.env is not None
        self.env.seed(self.seed)
        self.collector.episodes.forget()
        self._last_obs = None

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["model", "optimizer", *([] if self.learner.ema is None else ["learner.ema"])], []

    def set_parameters(
        self,
        load_path_or_dict: str | Path | dict[str, Any],
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """Take over the weights and the state of the optimiser of ``get_parameters`` or of a file of ``save``.

        ``exact_match=False`` allows some of them to be missing. The device stays the agent's own.

        Raises:
            ValueError: names that are unknown, or missing.
            RuntimeError: weights of another model. Nothing has changed then.
        """
        given = load_path_or_dict
        if not isinstance(given, dict):
            given = parameters_in(read_checkpoint(file_of(given)), self.learner)
        expected = self._get_torch_save_params()[0]
        if set(given) - set(expected) or (exact_match and set(given) != set(expected)):
            raise ValueError(f"parameters must be those of {', '.join(expected)}, got {', '.join(given) or 'none'}")
        if "optimizer" in given:
            given = {**given, "optimizer": own_moments(self.optimizer, given["optimizer"])}
        before: dict[str, Any] = copy.deepcopy(self.get_parameters())
        try:
            super().set_parameters(given, exact_match=exact_match)  # type: ignore[arg-type]  # state dicts, not tensors
        except RuntimeError:
            super().set_parameters(before)  # what fits was loaded before the rest was refused
            raise


def existing_device(device: torch.device | str) -> torch.device:
    """The device of this name; ValueError where there is none, where Stable-Baselines3 would take the CPU in silence."""
    try:
        wanted = get_device("auto") if device == "auto" else torch.device(device)
        if wanted.type not in ("cpu", "cuda"):
            raise RuntimeError("agents are made for no other kind of device")
        torch.empty(0, device=wanted)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device must be auto, cpu, or a CUDA device that torch finds, got {device!r}: {error}") from error
    return wanted


def file_of(run: str | os.PathLike[str]) -> Path:
    """The file of a saved agent, or the last checkpoint in a run's folder; TypeError for what is no path.

    Where both have the name, what ``save`` wrote comes first.
    """
    if not isinstance(run, str | os.PathLike):
        raise TypeError(f"run must be the path of a saved agent or of a run's folder, got {type(run).__name__}")
    file = with_suffix(run)
    return Path(run) / "checkpoint" / "agent.zip" if Path(run).is_dir() and not file.is_file() else file


def with_suffix(path: str | os.PathLike[str]) -> Path:
    """``path`` with ".zip", if it has no suffix, as Stable-Baselines3 adds it."""
    path = Path(path)
    return path if path.suffix else path.with_suffix(".zip")
