"""Training without acting: on what the replay holds, episodes from elsewhere among it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jepa_rl.agent.acting import PlanningAlgorithm
from jepa_rl.agent.replay import SequenceReplay
from jepa_rl.agent.training_log import TrainingLog


class OfflineTraining(PlanningAlgorithm):
    """The base of JEPAAgent that has a replay and takes gradient steps on it."""

    replay: SequenceReplay  # where there are environments
    training_log: TrainingLog
    updates_besides: int

    def add_episode(
        self, observations: Sequence[Any], actions: npt.ArrayLike, rewards: npt.ArrayLike, *, terminated: bool
    ) -> None:
        """Put L steps of an episode from elsewhere into the replay, for ``train``; ``learn`` then begins new ones.

        The agent must have one environment (``n_envs`` 1), which says what the spaces are.

        Args:
            observations: L + 1 of them, as the environment gives them, the final one included.
            actions: L, as the environment takes them.
            rewards: [L], environment units.
            terminated: whether the episode ended with its last step; False where it was cut off there.

        Raises, with nothing stored: ValueError for an agent of several environments or of none, for one with tasks that are
        labelled while collecting, for lengths that do not fit together, and for what the spaces do not hold;
        FloatingPointError for what is not finite.
        """
        self._require_replay("add_episode stores in")
        if tasks := self.config.model.labelled_while_collecting:
            raise ValueError(f"add_episode has no labels for {', '.join(tasks)}, which only collecting gives")
        if self.n_envs != 1:
            raise ValueError(f"add_episode needs an agent of one environment (n_envs 1), got one of {self.n_envs}")
        store_episode(
            self.replay,
            observation=np.stack([self.observation_adapter.pack(observation) for observation in observations]),
            action=self.action_adapter.from_env(actions),
            reward=rewards,
            terminated=terminated,
        )
        self._last_obs = None  # the episode that was open in the environment is no longer the replay's newest

    def train(self, updates: int) -> None:
        """Take ``updates`` gradient steps on batches from the replay; none while it is empty.

        Outside of ``learn`` they come on top of those that it takes, whose number they leave as it is. Under a cosine
        schedule the learning rate is that of the moment: the full one before the first ``learn``, next to none after one
        that came to its end.

        Raises ValueError for an agent that was loaded without environments, which has no replay.
        """
        self._require_replay("train draws from")
        before = self._n_updates
        try:
            self._update(updates)
        finally:
            self.updates_besides += self._n_updates - before

    def _require_replay(self, whose: str) -> None:
        if self.env is None:
            raise ValueError(f"the replay that {whose} comes with environments: give some to load or set_env")

    def _update(self, updates: int) -> None:
        if not len(self.replay):
            return  # it was not loaded: the updates that are due wait for the first step
        training = self.config.training
        for _ in range(updates):
            batch = self.replay.sample(training.batch_size, training.transitions, self.streams.replay)
            figures = self.learner.update(batch.to(self.device), training.rate_share(self._current_progress_remaining))
            self._n_updates += 1
            self.training_log.updates.add(figures)


def store_episode(
    replay: SequenceReplay, *, observation: npt.NDArray[Any], action: npt.ArrayLike, reward: npt.ArrayLike, terminated: bool
) -> None:
    """Store a whole episode of L >= 1 steps in a replay of one environment.

    Args:
        replay: to store it in.
        observation: packed [L + 1, ...], the final one included.
        action, reward: [L, ...] and [L].
        terminated: whether the episode ended with its last step; False where it was cut off there.

    Raises what ``SequenceReplay.add`` does, and ValueError for lengths that do not fit together, before anything is stored.
    """
    action, reward = np.asarray(action), np.asarray(reward)
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        reward = reward.astype(np.float32, casting="same_kind")
    if not np.isfinite(reward).all():
        raise FloatingPointError(f"the reward of step {np.isfinite(reward).argmin()} is not finite")
    steps = len(observation) - 1
    if steps < 1 or not len(action) == len(reward) == steps:
        raise ValueError(
            "an episode needs L + 1 observations and L actions and rewards, L at least 1, got "
            f"{len(observation)} observations, {len(action)} actions, {len(reward)} rewards"
        )
    replay.begin(observation[:1])
    for step in range(steps):
        last = step == steps - 1
        replay.add(
            action=action[step : step + 1],
            reward=reward[step : step + 1],
            terminated=np.array([last and terminated]),
            truncated=np.array([last and not terminated]),
            next_observation=observation[step + 1 : step + 2],
            # After the last step the row of an episode without a transition, which the next one takes.
            reset_observation=observation[:1],
        )
