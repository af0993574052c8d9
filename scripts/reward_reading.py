"""What an environment's reward is a function of, read off how well trees predict it from one thing or another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

from jepa_rl.scripts.env_rollout import Step

FOLDS = 3
TREES = 30
MOST_STEPS = 2_000  # that the trees see
FEWEST_PAID = 10  # rewards other than the usual one, for R^2 among them to mean anything
PREDICTED = 0.5  # R^2 below which nothing is read off
EQUAL = 0.02  # R^2 that observation may fall behind the transition, which has more to go by
BY_TIME = 0.1  # R^2 that the step number must add

Reading = tuple[Literal["ok", "warn"], str, str, tuple[str, ...]]


def read_reward(steps: Sequence[Step]) -> Reading:
    """Status, what was found, advice, and the options of the reward head that fits.

    MOST_STEPS steps are used at most. Rewards that are not finite are left to the check of numbers.
    """
    kept = [step for step in steps if np.isfinite(step.reward)][:MOST_STEPS]
    rewards = np.array([step.reward for step in kept])
    if len(kept) == 0 or (rewards == rewards[0]).all():
        return _constant(kept)
    values, counts = np.unique(rewards, return_counts=True)
    usual = values[counts.argmax()]
    paid = [step for step in kept if step.reward != usual]
    if len(paid) < FEWEST_PAID:
        found = f"{usual:g} in all but {len(paid)} of {len(kept)} steps under random actions: too sparse to read more off"
        return "warn", found, "look again with more --steps; expect a long search for the first rewards", ()
    scores = prediction_scores(kept)
    # Whether there is a reward at all drowns what it amounts to, where it is rare.
    rare = len(paid) < len(kept) / 2 and len({step.reward for step in paid}) > 1
    among_paid = prediction_scores(paid) if rare else None
    return _verdict(scores, among_paid)


def prediction_scores(steps: Sequence[Step]) -> dict[str, float]:
    """Cross-validated R^2 of the reward from the observation reached, from (observation, action), and from the
    observation reached with the step number; whole episodes are held out where there are enough of them.
    """
    target = np.array([step.reward for step in steps])
    after, before, action = (np.stack([getattr(step, name) for step in steps]) for name in ("after", "before", "action"))
    number = np.array([[step.number] for step in steps])
    episodes = np.array([step.episode for step in steps])
    inputs = {
        "observation": after,
        "transition": np.hstack([before, action]),
        "observation and time": np.hstack([after, number]),
    }
    return {name: _r2(columns, target, episodes) for name, columns in inputs.items()}


def _r2(columns: np.ndarray, target: np.ndarray, episodes: np.ndarray) -> float:
    columns = columns[:, (columns != columns[0]).any(axis=0)]
    if columns.shape[1] == 0:
        return 0.0
    by_episode = len(np.unique(episodes)) >= FOLDS
    folds = GroupKFold(FOLDS) if by_episode else KFold(FOLDS, shuffle=True, random_state=0)
    trees = ExtraTreesRegressor(TREES, random_state=0, n_jobs=1)
    predicted = cross_val_predict(trees, columns, target, groups=episodes if by_episode else None, cv=folds)
    return float(r2_score(target, predicted))


def _constant(steps: Sequence[Step]) -> Reading:
    if not steps:
        return "warn", "no reward is finite", "see numbers", ()
    paid = steps[0].reward
    if paid != 0 and any(step.terminated for step in steps):
        return "ok", f"{paid:g} at every step: what there is to learn is when episodes terminate", "", ()
    found = f"{paid:g} at each of {len(steps)} random steps: sparse, or none at all"
    return (
        "warn",
        found,
        "look again with more --steps; expect a long search for the first rewards, or make them denser",
        (),
    )


def _verdict(scores: dict[str, float], among_paid: dict[str, float] | None) -> Reading:
    found = f"R^2 {_listed(scores)}"
    tables = [scores]
    if among_paid is not None:
        found += f"; among those other than the usual {_listed(among_paid)}"
        tables.append(among_paid)
    for table in tables:
        timeless = max(table["observation"], table["transition"], 0.0)
        if table["observation and time"] > max(timeless + BY_TIME, PREDICTED):
            advice = (
                "the reward depends on the step number, which no observation shows: judge by success, and learn from it "
                "with gymnasium.wrappers.TransformReward(env, lambda reward: float(reward > 0)), or observe the time"
            )
            return "warn", f"{found}: it depends on time", advice, ()
    if max(scores.values()) < PREDICTED:
        advice = "it is noise, rests on what is hidden, or is beyond trees on reduced observations; keep the default head"
        return "warn", f"{found}: not well predicted", advice, ()
    chosen = "observation" if scores["observation"] >= scores["transition"] - EQUAL else "transition"
    options = ("--model.reward.input", chosen)
    return "ok", f"{found}: fits {' '.join(options)}", "", options


def _listed(scores: dict[str, float]) -> str:
    return ", ".join(f"{score:.2f} from {name}" for name, score in scores.items())
