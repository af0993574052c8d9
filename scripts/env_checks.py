"""The checks of ``jepa-rl doctor``: one function each, from an environment and its random rollout to a ``Finding``."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from jepa_rl.agent import PRESETS
from jepa_rl.agent.env_faults import CheckedReturns
from jepa_rl.agent.observation_spaces import leaves_of, observation_spec, shown
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.envs import make_env
from jepa_rl.envs.make import MINIGRID_PREFIXES
from jepa_rl.scripts.env_rollout import Rollout, Step, describe, record
from jepa_rl.scripts.reward_reading import read_reward

Status = Literal["ok", "warn", "fail"]

REPEATED_STEPS = 500  # of the runs that are compared with one another
FIRST_STEP_SHARE = 0.25  # of the episodes: fewer may be starts beside the goal
UPDATES_PER_SECOND = 40  # of the presets on one core
_PLANNED = gym.spaces.Box | gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary  # actions
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class NoStepError(ValueError):
    """There is nothing to look at."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found, and what to do where that is not "ok"."""

    name: str
    status: Status
    found: str
    advice: str = ""
    options: tuple[str, ...] = ()
    """Options of ``jepa-rl train`` that follow from it."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """An environment to check: how to make it, its spaces, and its rollout under random actions."""

    env_id: str
    env_kwargs: dict[str, Any]
    observations: gym.Space[Any]
    actions: gym.Space[Any]
    steps: int
    seed: int
    rollout: Rollout

    def make(self, render_mode: str | None = None) -> gym.Env[Any, Any]:
        return make_env(self.env_id, self.env_kwargs, render_mode)

    @property
    def preset(self) -> tuple[str, str]:
        """The name of the preset to begin with, and why that one."""
        name = self.env_id.rpartition(":")[2]
        if name.startswith(MINIGRID_PREFIXES):
            if self.env_kwargs.get("pixels"):
                return "minigrid-pixels", "MiniGrid's view, drawn"
            return "minigrid", "MiniGrid's view in symbols"
        if name == PRESETS["counting"].env_id:
            return "counting", "the environment that it is made for"
        parts = [space for _, space in leaves_of("observation", self.observations)]
        if all(map(_is_vector, parts)) and isinstance(self.actions, _PLANNED):
            return "control", "observations are numbers, no image or grid; one setting serves all such tasks"
        return "default", "the others are for numbers that are no image or grid, for MiniGrid and for counting"


def api(patient: Patient) -> Finding:
    """gymnasium's own checker on the environment without its wrappers."""
    with warnings.catch_warnings(record=True) as caught, patient.make() as env:
        warnings.simplefilter("always")
        env.action_space.seed(patient.seed)
        env.unwrapped.action_space.seed(patient.seed)
        try:
            check_env(env.unwrapped, skip_render_check=True)  # it would open windows; render is a check below
        except (Exception, SystemExit) as error:  # the checker asserts, and the environment may raise anything
            return Finding(name="api", status="fail", found=describe(error), advice="follow gymnasium.Env's documentation")
    said = [_COLOUR.sub("", str(warning.message)) for warning in caught]
    said = list(dict.fromkeys(" ".join(text.removeprefix("WARN: ").split()) for text in said))
    if said:
        advice = "weigh it; unbounded observations are read as their symlog here, and actions scaled to [-1, 1]"
        return Finding(name="api", status="warn", found="; ".join(said), advice=advice)
    return Finding(name="api", status="ok", found="gymnasium's check_env has no complaint")


def spaces(patient: Patient) -> Finding:
    """Whether the encoder reads the observations and the planner the actions."""
    observations, actions = patient.observations, patient.actions
    errors, kind = [], "auto"
    try:
        observation_spec(observations, "auto")
    except ValueError as error:
        try:
            observation_spec(observations, "grid")
            kind = "grid"
        except ValueError:
            errors.append(str(error))
    try:
        ActionAdapter(actions)
    except ValueError as error:
        errors.append(str(error))
    if errors:
        return Finding(name="spaces", status="fail", found="; ".join(errors), advice="wrap the environment as it says")
    found = f"observations {shown(observations)}, actions {shown(actions)}"
    if kind == "auto":
        return Finding(name="spaces", status="ok", found=found)
    fitting, _ = patient.preset
    if PRESETS[fitting].agent.model.encoder.kind == kind:
        return Finding(name="spaces", status="ok", found=f"{found}; the preset {fitting} reads a grid of symbols")
    return Finding(
        name="spaces",
        status="warn",
        found=f"{found}: too small for an image",
        advice="--model.encoder.kind grid if its values are symbols, vector if they are quantities",
        options=("--model.encoder.kind", kind),
    )


def stepping(patient: Patient) -> Finding:
    """Whether random actions run through."""
    rollout = patient.rollout
    if rollout.error is not None:
        return Finding(name="steps", status="fail", found=rollout.error, advice="mend what raises it")
    return Finding(name="steps", status="ok", found=f"{len(rollout.steps)} random steps without an error")


def numbers(patient: Patient) -> Finding:
    """NaN and infinity, and observations outside of their space."""
    steps = _walked(patient)
    for index, step in enumerate(steps, 1):
        if not step.finite:
            what = "observation" if np.isfinite(step.reward) else f"reward ({step.reward})"
            advice = "training refuses it: clip or replace it where it arises"
            return Finding(name="numbers", status="fail", found=f"the {what} of step {index} is not finite", advice=advice)
    for index, step in enumerate(steps, 1):
        if step.refused:
            found = f"training refuses an observation of step {index}: {step.refused}"
            return Finding(name="numbers", status="fail", found=found, advice="correct it, or the space")
    outside = [index for index, step in enumerate(steps, 1) if not step.inside]
    if outside:
        found = f"{len(outside)} of {len(steps)} steps have observations outside of their space, the first is {outside[0]}"
        advice = "correct the space's bounds, shape or dtype: the encoder scales by them"
        return Finding(name="numbers", status="warn", found=found, advice=advice)
    return Finding(name="numbers", status="ok", found="observations lie in their space, all numbers are finite")


def determinism(patient: Patient) -> Finding:
    """Whether the same seed and actions give the same run, of a new copy and of one that was used before."""
    length = min(patient.steps, REPEATED_STEPS)
    with CheckedReturns(patient.make()) as env:
        runs = {
            "a new copy": record(env, length, patient.seed),
            "a copy that was used before": record(env, length, patient.seed),
        }
        declared = env.spec is not None and env.spec.nondeterministic
    first = Rollout(steps=_walked(patient)[:length], seconds=0.0, error=patient.rollout.error)
    for name, run in runs.items():
        difference = _difference(first, run)
        if difference is not None:
            return Finding(
                name="determinism",
                status="warn" if declared else "fail",
                found=f"with the same seed and actions, {name} differs {difference}",
                advice="draw every random number from self.np_random and let reset start everything anew; until then no "
                "run can be repeated or resumed exactly",
            )
    return Finding(name="determinism", status="ok", found=f"{len(first.steps)} steps repeat exactly under their seed")


def rendering(patient: Patient) -> Finding:
    """Whether drawing the environment leaves what follows as it was."""
    with patient.make() as env:
        if "rgb_array" not in env.metadata.get("render_modes", ()):
            return Finding(name="render", status="ok", found="no render mode rgb_array to check")
    length = min(patient.steps, REPEATED_STEPS // 5)
    runs = []
    for render in (False, True):
        with patient.make("rgb_array") as env:
            runs.append(record(env, length, patient.seed, render=render))
            picture: Any = env.render() if render and runs[1].error is None else None
    if runs[1].error is not None and runs[0].error is None:
        return Finding(name="render", status="fail", found=runs[1].error, advice="mend render(), or declare no rgb_array")
    difference = _difference(*runs)
    if difference is not None:
        return Finding(
            name="render",
            status="fail",
            found=f"with render() after every step, the run differs {difference}",
            advice="render() must change nothing: let it draw from a generator of its own, not from self.np_random",
        )
    if runs[1].error is not None:
        raise NoStepError("the steps fail by themselves")
    if not (isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.dtype == np.uint8):
        found = f"render() must give a picture uint8[H, W, C], got {_outline(picture)}"
        return Finding(name="render", status="warn", found=found, advice="mend render(): it cannot be filmed or reported")
    return Finding(name="render", status="ok", found=f"render() changes nothing in {len(runs[1].steps)} steps")


def reward(patient: Patient) -> Finding:
    """What the reward is a function of, by what predicts it."""
    status, found, advice, input_ = read_reward(_walked(patient))
    return Finding(name="reward", status=status, found=found, advice=advice, options=input_)


def ends(patient: Patient) -> Finding:
    """How episodes end and how long they are."""
    last = [step for step in _walked(patient) if step.terminated or step.truncated]
    if not last:
        found = f"no episode ended within {len(patient.rollout.steps)} steps"
        advice = (
            "look on with more --steps, or set a time limit: gymnasium.wrappers.TimeLimit, max_episode_steps of register"
        )
        return Finding(name="ends", status="warn", found=found, advice=advice)
    lengths = np.array([step.number for step in last])
    terminated, at_once = np.mean([step.terminated for step in last]), np.mean(lengths == 1)
    found = (
        f"{len(last)} episodes of {lengths.min()} to {lengths.max()} steps, {lengths.mean():.1f} on average; "
        f"{terminated:.0%} terminated, {1 - terminated:.0%} cut off by a time limit"
    )
    if at_once >= FIRST_STEP_SHARE:
        found, advice = f"{found}; {at_once:.0%} end on their first step", "start episodes where an action can still matter"
        return Finding(name="ends", status="warn", found=found, advice=advice)
    return Finding(name="ends", status="ok", found=found)


def success(patient: Patient) -> Finding:
    """Whether info tells success, which evaluation reads under Stable-Baselines3's name."""
    steps = _walked(patient)
    last = [step for step in steps if step.terminated or step.truncated] or steps
    told = frozenset.intersection(*(step.successes for step in last))
    if "is_success" in frozenset.union(*(step.successes for step in last)) - told:
        number = sum("is_success" in step.successes for step in last)
        found = f"info['is_success'] is there at the end of {number} of {len(last)} episodes"
        advice = "give it at every episode's end, False where it failed: of successes alone there is no rate"
        return Finding(name="success", status="warn", found=found, advice=advice)
    if "is_success" in told:
        return Finding(name="success", status="ok", found="info['is_success'] tells it")
    if "success" in told:
        found, advice = "info['success'] tells it, which evaluation does not read", "give it as info['is_success'] as well"
        return Finding(name="success", status="warn", found=found, advice=advice)
    return Finding(name="success", status="ok", found="info tells none: evaluation will show returns, but no success rate")


def speed(patient: Patient) -> Finding:
    """Steps per second, beside what learning takes."""
    per_second = len(_walked(patient)) / max(patient.rollout.seconds, 1e-9)
    per_step = PRESETS[patient.preset[0]].agent.training.updates_per_step
    share = UPDATES_PER_SECOND / (UPDATES_PER_SECOND + per_step * per_second)
    found = (
        f"{per_second:,.0f} steps per second: at {per_step:g} updates per step and about {UPDATES_PER_SECOND} updates per "
        f"second on one core, stepping takes {share:.1%} of the time"
    )
    if share > 0.5:
        return Finding(name="speed", status="warn", found=found, advice="the environment, not learning, sets the pace")
    return Finding(name="speed", status="ok", found=found)


def preset(patient: Patient) -> Finding:
    """Which preset fits the spaces."""
    return Finding(name="preset", status="ok", found=": ".join(patient.preset))


def _is_vector(space: gym.Space[Any]) -> bool:
    numbers = gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary
    return isinstance(space, numbers) or (isinstance(space, gym.spaces.Box) and len(space.shape) == 1)


def _walked(patient: Patient) -> tuple[Step, ...]:
    if not patient.rollout.steps:
        raise NoStepError("no step could be taken")
    return patient.rollout.steps


def _difference(one: Rollout, other: Rollout) -> str | None:
    """Where the second run first leaves the first, if it does."""
    for index, (a, b) in enumerate(zip(one.steps, other.steps, strict=False), 1):
        changed = [name for name, value in a.outcome.items() if b.outcome[name] != value]
        if changed:
            return f"from step {index} on ({', '.join(changed)})"
    if len(one.steps) != len(other.steps):
        return f"from step {min(len(one.steps), len(other.steps)) + 1} on ({other.error or one.error})"
    return None


def _outline(picture: Any) -> str:
    return f"{picture.dtype}{list(picture.shape)}" if isinstance(picture, np.ndarray) else type(picture).__name__
