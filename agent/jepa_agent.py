"""JEPAAgent: a world model trained online from its own rollouts, acting by planning in its latent space."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from jepa_rl.agent.algorithm import existing_device, file_of, with_suffix
from jepa_rl.agent.checkpoint import read_checkpoint, write_checkpoint
from jepa_rl.agent.collect import make_collector
from jepa_rl.agent.config import AgentConfig
from jepa_rl.agent.env_faults import naming_dead_processes
from jepa_rl.agent.episodes import EnvLike, as_vec_env
from jepa_rl.agent.familiarity import Familiarity
from jepa_rl.agent.learner import Learner
from jepa_rl.agent.novelty import Successes
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.agent.offline import OfflineTraining
from jepa_rl.agent.presets import Preset, preset
from jepa_rl.agent.random_streams import RandomStreams
from jepa_rl.agent.snapshot import capture, describe, restore
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.agent.training_log import TrainingLog, allow_long_names
from jepa_rl.planners import Planner, PlannerConfig
from jepa_rl.world_model import WorldModel


class JEPAAgent(OfflineTraining):
    """A Stable-Baselines3 algorithm: its callbacks, logger, Monitor, VecEnvs and evaluate_policy serve as they are.

    Args:
        config: the name of a preset, or an AgentConfig.
        env: a Gymnasium environment, its registered id, a function that makes one, or a VecEnv. From an id or a function
            the agent makes ``config.n_envs`` of them. Only ``load`` does without: its agent knows the spaces.
        seed: decides every random choice; None draws one.
        device: "auto", "cpu" or "cuda".
        tensorboard_log: folder for TensorBoard logs.
        verbose: 1 prints logs to standard output.

    Raises:
        TypeError: a ``config`` that is neither, a ``seed`` that is no whole number, an ``env`` that is none of these.
        ValueError: an unknown preset, a device that there is not, a negative seed, or a space that is not supported, saying
            which are.
    """

    def __init__(
        self,
        config: str | AgentConfig,
        env: EnvLike | None,
        *,
        seed: int | None = None,
        device: torch.device | str = "auto",
        tensorboard_log: str | None = None,
        verbose: int = 0,
        _init_setup_model: bool = True,
    ) -> None:
        self.config = preset(config).agent if isinstance(config, str) else config
        if not isinstance(self.config, AgentConfig):
            hint = " (preset(NAME).agent is one)" if isinstance(config, Preset) else ""
            raise TypeError(f"config must be the name of a preset or an AgentConfig{hint}, got {config!r}")
        if not isinstance(seed, int | np.integer | None):
            raise TypeError(f"seed must be a whole number or None, got {seed!r}")
        if seed is not None and seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        if env is None and _init_setup_model:
            raise ValueError("a new agent needs an environment, which has the spaces; only JEPAAgent.load does without")
        super().__init__(
            policy=None,  # type: ignore[arg-type]  # the policy is a planner; there is no class to look up
            env=None if env is None else as_vec_env(env, self.config.n_envs, check=self._check_spaces),
            learning_rate=self.config.training.learning_rate,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=existing_device(device),
            support_multi_env=True,
            seed=int(np.random.SeedSequence().generate_state(1)[0] if seed is None else seed),
        )
        self.steps_taken = 0  # environment steps in all calls of learn(), also those that reset num_timesteps
        self.updates_besides = 0  # of ``_n_updates``, those that calls of train() took, beside what learn() owes
        self.wall_seconds = 0.0  # spent in learn(), over all of the run's processes
        self.attachments: dict[str, Any] = {}  # JSON-able data of the caller's that is saved and loaded with the agent
        self.training_log = TrainingLog()
        self.left_replay_behind = False  # in the file that the agent was loaded from, without environments
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        assert self.seed is not None
        if self.device.type == "cuda":
            # As Stable-Baselines3's set_random_seed does: on a GPU, too, the same seed is to give the same run.
            torch.backends.cudnn.deterministic = True
        self.action_adapter = ActionAdapter(self.action_space)
        encoder = self.config.model.encoder
        self.observation_adapter = ObservationAdapter(self.observation_space, encoder.kind, vocabulary=encoder.vocabulary)
        self.streams = RandomStreams(self.seed)
        self.learner = Learner(
            self.config,
            observation=self.observation_adapter.spec,
            action_counts=self.action_adapter.counts,
            box_size=self.action_adapter.box_size,
            initialisation=self.streams.initialisation,
            training=self.streams.training,
            device=self.device,
        )
        counts = self.action_adapter.counts
        self.successes = Successes()
        one_choice = len(counts) == 1 and not self.action_adapter.shape
        self.familiarity = Familiarity(counts[0], self._model_to_act_with) if one_choice else None
        self.policy = self.model  # type: ignore[assignment]  # where Stable-Baselines3's callbacks look for a module
        super().set_planner(self.config.planner)
        if self.env is not None:
            self.env.seed(self.seed)
            self._make_collector(self.env)

    def _model_to_act_with(self) -> WorldModel:
        return self.acting_model

    def set_planner(self, config: PlannerConfig, planner: Planner | None = None) -> None:
        super().set_planner(config, planner)
        if config.revisit_cost and self.familiarity and self.familiarity.error is None and self.steps_taken:
            warnings.warn(
                "the agent was trained without a memory of the episode, so that nothing is known of how well its dynamics "
                "imagine: planner.revisit_cost counts only places where the episode acted before",
                stacklevel=2,
            )
        if self.env is not None:
            self._tell_collector()

    def _tell_collector(self) -> None:
        """How far the planner plans, and whether exploration or planning needs memories of the open episodes."""
        self.collector.plan_ahead(self.planner_config.horizon)
        needed = self.config.exploration.kind == "novelty" or self.planner_config.revisit_cost > 0
        self.collector.remember_with(self.familiarity if needed else None)

    def _make_collector(self, env: VecEnv) -> None:
        self.collector = make_collector(
            self.config,
            venv=env,
            observations=self.observation_adapter,
            actions=self.action_adapter,
            streams=self.streams,
            decide=self._decide,
            familiarity=self.familiarity,
            successes=self.successes,
        )
        self._tell_collector()
        self.replay = self.collector.replay

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1_000,
        tb_log_name: str = "JEPA",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Collect and train for ``total_timesteps`` environment steps; every ``log_interval`` steps the logger writes.

        It also does so at the end, where steps have passed since; with ``log_interval`` None, only where a callback calls
        ``dump_logs``.
        A callback's ``on_step`` runs after the step was stored; ``on_rollout_end`` before each writing of the log.
        """
        if log_interval is not None and log_interval < 1:
            raise ValueError(f"log_interval must be at least 1 environment step, got {log_interval}")
        if self.env is None:
            raise ValueError("the agent has no environments to learn in; give some to the constructor, load or set_env")
        assert self.seed is not None
        with naming_dead_processes(self.env):
            if not self.collector.episodes.come_back(self.seed, self.collector.observation):
                self._last_obs = None
            begins = reset_num_timesteps or self._last_obs is None
            total_timesteps, callback = self._setup_learn(
                total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
            )
        allow_long_names(self.logger)
        if begins:
            assert self._last_obs is not None
            self.collector.begin(self._last_obs)
        callback.on_training_start(locals(), globals())
        callback.on_rollout_start()
        began, before = time.perf_counter(), self.wall_seconds
        if total_timesteps:  # a run that was stopped in its last step has the updates of that step before it
            self._update_current_progress_remaining(max(self.num_timesteps - self.n_envs, 0), total_timesteps)
        try:
            while self.num_timesteps < total_timesteps:
                # Training comes first, so that a checkpoint taken in on_step resumes exactly there.
                self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
                self._begin_due_episodes()
                self._take_due_updates()
                self._collect(callback)
                self.wall_seconds = before + time.perf_counter() - began
                if log_interval is not None and self.crossed(log_interval):
                    callback.on_rollout_end()
                    self.dump_logs()
                    callback.on_rollout_start()
                if not callback.on_step():
                    break
            self._take_due_updates()
        finally:
            self.wall_seconds = before + time.perf_counter() - began
        # Only where the run is complete: one that is interrupted goes on, and its log must not show where.
        if log_interval is not None and self.num_timesteps >= total_timesteps and self.training_log.lacks_steps(self):
            callback.on_rollout_end()
            self.dump_logs()
        callback.on_training_end()
        return self

    def _begin_due_episodes(self) -> None:
        """As ``learn`` does at first, after a callback that set other environments or another seed, or added an episode."""
        assert self.env is not None
        if self._last_obs is None:
            with naming_dead_processes(self.env):
                first = self.env.reset()
            self._last_obs = first  # type: ignore[assignment]  # the annotation leaves out tuples
            self._last_episode_starts = np.ones(self.n_envs, bool)
            self.collector.begin(first)

    def _collect(self, callback: BaseCallback) -> None:
        step = self.collector.step(self.num_timesteps)
        self._last_obs = step.observation  # type: ignore[assignment]  # the annotation leaves out tuples
        self._last_episode_starts = step.done
        self.num_timesteps += self.n_envs
        self.steps_taken += self.n_envs
        self._episode_num += int(step.done.sum())
        self._update_info_buffer(step.info, step.done)
        if step.decision is not None:
            self.training_log.add_decision(step.decision)
        callback.update_locals(
            {
                "actions": step.action,
                "new_obs": step.observation,
                "rewards": step.reward,
                "dones": step.done,
                "infos": step.info,
            }
        )

    def crossed(self, interval: int) -> bool:
        """Whether the last step of all environments passed a multiple of ``interval`` environment steps."""
        return self.num_timesteps // interval > (self.num_timesteps - self.n_envs) // interval

    def _take_due_updates(self) -> None:
        taken = self._n_updates - self.updates_besides
        self._update(self.config.training.updates_by(self.steps_taken) - taken)

    def dump_logs(self) -> None:
        """Write the log now, besides every ``log_interval`` steps of ``learn``."""
        self.training_log.write(self)

    def save(  # type: ignore[override]  # include has no meaning here: everything is saved
        self, path: str | Path, exclude: Iterable[str] | None = None
    ) -> None:
        """Write everything that ``load`` needs to go on exactly, to one file (".zip" is added where no suffix is given).

        ``exclude={"replay"}`` leaves the replay out: the file is small, and training from it starts with an empty replay.
        """
        path = with_suffix(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(path, capture(self, frozenset(exclude or ())))

    @classmethod
    def load(  # type: ignore[override]  # nothing pickled, so no custom_objects
        cls,
        path: str | Path,
        env: EnvLike | None = None,
        device: torch.device | str = "auto",
        **kwargs: Any,
    ) -> Self:
        """The agent of a file that ``save`` wrote, or of a run's folder; with ``env`` it can go on learning.

        Environments that the agent made itself (from an id, a function or a single environment) are brought back to the
        middle of their open episodes; others begin new ones. ``kwargs`` may be ``tensorboard_log`` and ``verbose``, which
        are otherwise those of the saved agent: configuration and seed are the file's.

        Raises CheckpointError for a file that is not a whole, unaltered checkpoint of this version, TypeError for other
        ``kwargs``.
        """
        if others := sorted(set(kwargs) - {"tensorboard_log", "verbose"}):
            raise TypeError(f"load takes env, device, tensorboard_log and verbose, got {', '.join(others)}")
        path = file_of(path)
        checkpoint = read_checkpoint(path)
        config, observation_space, action_space, seed = describe(path, checkpoint)
        kwargs = checkpoint.state.get("logging", {}) | kwargs
        agent = cls(config, env, seed=seed, device=device, _init_setup_model=False, **kwargs)
        restore(agent, path, checkpoint, observation_space, action_space)
        return agent
