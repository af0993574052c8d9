"""Episodes that came from elsewhere than the agent's own collecting."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jepa_rl.agent.replay import SequenceReplay


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
