"""Co-training: the P-JEPA losses on the encoder that a Stable-Baselines3 algorithm acts with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from jepa_rl.agent.algorithm import file_of
from jepa_rl.agent.config import AgentConfig, ReplayConfig, TrainingConfig
from jepa_rl.agent.env_faults import successors
from jepa_rl.agent.jepa_agent import JEPAAgent
from jepa_rl.agent.learner import Learner
from jepa_rl.agent.random_streams import RandomStreams
from jepa_rl.agent.replay import SequenceReplay
from jepa_rl.agent.sb3 import JEPAFeaturesExtractor
from jepa_rl.agent.sb3_windows import ReplayBufferWindows
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.agent.task_targets import reward_labels
from jepa_rl.agent.training_log import Means
from jepa_rl.world_model import Batch, ModelConfig


class JEPAAuxiliaryCallback(BaseCallback):
    """Trains the encoder of an algorithm's JEPAFeaturesExtractor with the P-JEPA losses while the algorithm learns.

    Dynamics and heads are the callback's own, and so is the optimiser. Windows come from an off-policy algorithm's replay
    buffer, which does not tell what is new to an episode, so that ``model.value.novelty`` counts as 0. An on-policy one's
    rollout buffer holds neither the final observations of episodes nor the plain rewards of their last transitions, so
    there the same rollouts are remembered as they are collected.

    The updates are taken before each rollout, and at the end, not between a rollout and the algorithm's update on it: PPO
    compares its new policy with the one that acted, which a change of the encoder in between would falsify.

    Args:
        model_config: None for the extractor's; its encoder and latent_dim must be those of the extractor.
        run: a saved agent or a run's folder, whose dynamics and heads to begin with, beside an extractor with the encoder
            of the same run. ``model_config`` is then the run's. None begins with random ones.
        training: the update and its pace, counted in environment steps since the callback was first used.
        replay: the memory of an on-policy algorithm's rollouts; of an off-policy one's buffer it decides ``rewards`` alone.
        seed: decides the initial weights and the batches.

    Raises TypeError for a ``model_config`` that is no ModelConfig and a ``run`` that is no path, and, when learning begins:
        TypeError: the algorithm has no JEPAFeaturesExtractor, or no buffer.
        ValueError: its extractor is frozen, or it has several (see ``share_features_extractor`` of its policy), or the
            encoder is not that of ``model_config``, or that has tasks whose labels only JEPAAgent collects, or the
            actions are not those of ``run``.
        CheckpointError: ``run`` cannot be read.
    """

    def __init__(
        self,
        model_config: ModelConfig | None = None,
        *,
        run: str | Path | None = None,
        training: TrainingConfig | None = None,
        replay: ReplayConfig | None = None,
        seed: int = 0,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if model_config is not None and run is not None:
            raise ValueError("model_config must be None where run is given, whose own configuration serves; got both")
        if not isinstance(model_config, ModelConfig | None):
            raise TypeError(f"model_config must be a ModelConfig (a saved agent is run=PATH), got {model_config!r}")
        if run is not None:
            file_of(run)  # what is no path is refused here and not only when learning begins
        self.model_config = model_config
        self.run = run
        self.training = training or TrainingConfig()
        self.replay_config = replay or ReplayConfig(capacity=10_000)
        self.streams = RandomStreams(seed)
        self.steps_seen = 0  # environment steps
        self.updates = 0
        self.learner: Learner | None = None

    def _init_callback(self) -> None:
        algorithm = self.model
        if not isinstance(algorithm, OnPolicyAlgorithm | OffPolicyAlgorithm):
            raise TypeError(
                f"JEPAAuxiliaryCallback needs an on-policy or off-policy algorithm, got {type(algorithm).__name__}"
            )
        extractor = shared_extractor(algorithm)
        self.actions = ActionAdapter(algorithm.action_space)
        if self.learner is None or self.learner.model.encoder is not extractor.encoder:
            self.extractor = extractor
            self.learner = self._make_learner(algorithm.gamma)
            self.memory: SequenceReplay | None = None
            if isinstance(algorithm, OnPolicyAlgorithm):
                self.memory = self._make_memory(algorithm)
        if isinstance(algorithm, OffPolicyAlgorithm):
            assert algorithm.replay_buffer is not None
            self.windows: SequenceReplay | ReplayBufferWindows = ReplayBufferWindows(
                algorithm.replay_buffer,
                self.extractor.observations,
                self.actions,
                rewards=self.replay_config.rewards,
                normalize=algorithm.get_vec_normalize_env(),
            )
        else:
            assert self.memory is not None
            self.windows = self.memory

    def _make_learner(self, discount: float) -> Learner:
        agent = None if self.run is None else JEPAAgent.load(file_of(self.run), device="cpu")
        extractor = self.extractor
        config = agent.config.model if agent else self.model_config or extractor.config
        for name in ("latent_dim", "encoder"):
            ours, theirs = getattr(config, name), getattr(extractor.config, name)
            if ours != theirs:
                whose = "model_config" if agent is None else "the run's model"
                raise ValueError(f"{whose}.{name} must be that of the features extractor, {theirs}, got {ours}")
        if collected := config.labelled_while_collecting:
            raise ValueError(
                "model_config must be without tasks that are read from the environment or labelled in part, which only "
                f"JEPAAgent collects labels for, got {', '.join(collected)}"
            )
        if agent and agent.action_space != self.model.action_space:
            raise ValueError(f"run must be of the actions {self.model.action_space}, got {agent.action_space}")
        if isinstance(self.model, OffPolicyAlgorithm):
            config = dataclasses.replace(config, value=dataclasses.replace(config.value, novelty=0.0))
        learner = Learner(
            AgentConfig(model=config, training=self.training, discount=discount),
            observation=extractor.observations.adapter.spec,
            action_counts=self.actions.counts,
            box_size=self.actions.box_size,
            initialisation=self.streams.initialisation,
            training=self.streams.training,
            device=self.model.device,
            encoder=extractor.encoder,
        )
        if agent:
            learned = {"model": agent.model, "ema": agent.learner.ema}
            for name, part in learned.items():
                if part is not None:
                    kept = {key: value for key, value in part.state_dict().items() if not key.startswith("encoder.")}
                    getattr(learner, name).load_state_dict(kept, strict=False)
        return learner

    def _make_memory(self, algorithm: OnPolicyAlgorithm) -> SequenceReplay:
        packed = self.extractor.observations.adapter
        return SequenceReplay(
            capacity=self.replay_config.capacity,
            n_envs=algorithm.n_envs,
            observation_shape=packed.shape,
            observation_dtype=packed.dtype,
            action_shape=self.actions.shape,
            action_dtype=self.actions.dtype,
            prioritised_fraction=self.replay_config.prioritised_fraction,
            rewards=self.replay_config.rewards,
            discount=algorithm.gamma,
            first_visits=True,
        )

    def _on_training_start(self) -> None:
        if self.memory is not None:
            self.memory.begin(self.extractor.observations.pack(self.model._last_obs))

    def _on_step(self) -> bool:
        self.steps_seen += self.training_env.num_envs
        if self.memory is not None:
            self._remember(self.memory)
        return True

    def _remember(self, memory: SequenceReplay) -> None:
        done, infos, pack = self.locals["dones"], self.locals["infos"], self.extractor.observations.pack
        normalize = self.model.get_vec_normalize_env()
        following = pack(self.locals["new_obs"])
        reached = successors(following, done, infos, pack)
        memory.add(
            action=self.actions.from_env(self.locals.get("clipped_actions", self.locals["actions"])),
            reward=self.locals["rewards"] if normalize is None else normalize.get_original_reward(),
            terminated=reached.terminated,
            truncated=reached.truncated,
            next_observation=reached.observation,
            reset_observation=following,
            label=reward_labels(infos),
        )

    def _on_rollout_start(self) -> None:
        self._train()

    def _on_training_end(self) -> None:
        self._train()

    def _train(self) -> None:
        training = self.training
        due = training.updates_by(self.steps_seen) - self.updates
        if due < 1 or not len(self.windows):
            return
        assert self.learner is not None
        means = Means()
        for _ in range(due):
            means.add(self.learner.update(self.sample(), training.rate_share(self.model._current_progress_remaining)))
            self.updates += 1
        for name, mean in means.current().items():
            self.logger.record(f"auxiliary/{name}", mean)
        self.logger.record("auxiliary/updates", self.updates)

    def sample(self) -> Batch:
        """The next batch, on the algorithm's device."""
        training = self.training
        return self.windows.sample(training.batch_size, training.transitions, self.streams.replay).to(self.model.device)


def shared_extractor(algorithm: BaseAlgorithm) -> JEPAFeaturesExtractor:
    """The one trainable JEPAFeaturesExtractor that an algorithm acts with; see JEPAAuxiliaryCallback for the errors."""
    parts: dict[str, Any] = dict(algorithm.policy.named_modules())
    found = [part for name, part in parts.items() if isinstance(part, JEPAFeaturesExtractor) and "_target" not in name]
    if not found:
        chosen = getattr(algorithm.policy, "features_extractor_class", type(None)).__name__
        raise TypeError(f"the algorithm's features_extractor_class must be JEPAFeaturesExtractor, got {chosen}")
    if len(found) > 1:
        raise ValueError(f"the policy must share its features extractor (share_features_extractor=True), got {len(found)}")
    if not found[0].trainable:
        raise ValueError("the features extractor must be trainable, got a frozen one")
    return found[0]
