"""``jepa-rl evaluate``: a trained agent on episodes that it never saw."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro
from scipy.stats import binomtest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import VecEnv

from jepa_rl.agent import JEPAAgent, vectorize
from jepa_rl.planners import PlannerConfig
from jepa_rl.scripts.options import run_named_first
from jepa_rl.scripts.progress_bar import progress_bar
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.scripts.trained_agents import latents_of
from jepa_rl.world_model import diagnostics

HELDOUT_SEED = 1_000_000  # base seeds of training are the run's seed and the few numbers after it
EVALUATION_ENVS = 8
HELDOUT_IMAGES = 2_000
LONGEST_EPISODE = 30_000  # environment steps
MOST_COUNTS = 50  # more are no classes to tell apart, but a number that goes on
TIMED_DECISIONS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What an agent achieves with its final weights and its planner, on held-out seeds."""

    episodes: int
    success_rate: float | None  # None where the environment does not say what success is
    success_interval: tuple[float, float] | None  # Wilson, 95 %
    return_mean: float
    return_std: float
    length_mean: float  # environment steps
    planner_ms: float  # per decision for one observation, median


def evaluate_agent(
    agent: JEPAAgent,
    factory: Callable[[], gym.Env[Any, Any]],
    *,
    episodes: int,
    seed: int,
    deterministic: bool = True,
    progress: bool = False,
) -> Evaluation:
    """Run ``episodes`` episodes of held-out base seeds; ``seed`` chooses which, ``progress`` shows a bar."""
    venv = heldout_envs(factory, episodes, seed)
    try:
        successes, returns, lengths = play(agent, venv, episodes, deterministic=deterministic, progress=progress)
        planner_ms = _decision_milliseconds(agent, agent.observation_adapter.pack(venv.reset()))
    finally:
        venv.close()
    interval = binomtest(sum(successes), len(successes)).proportion_ci(method="wilson") if successes else None
    return Evaluation(
        episodes=episodes,
        success_rate=float(np.mean(successes)) if successes else None,
        success_interval=None if interval is None else (float(interval.low), float(interval.high)),
        return_mean=float(np.mean(returns)),
        return_std=float(np.std(returns)),
        length_mean=float(np.mean(lengths)),
        planner_ms=planner_ms,
    )


def heldout_envs(factory: Callable[[], gym.Env[Any, Any]], episodes: int, seed: int) -> VecEnv:
    """Environments for ``episodes`` held-out episodes, seeded; ``seed`` chooses which episodes those are."""
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    venv = vectorize(factory, min(EVALUATION_ENVS, episodes))
    venv.seed(HELDOUT_SEED + seed * EVALUATION_ENVS)
    return venv


def play(
    policy: PolicyPredictor, venv: VecEnv, episodes: int, *, deterministic: bool, progress: bool = False
) -> tuple[list[bool], list[float], list[int]]:
    """Success (nothing where the environment does not say of every episode what it is), return and length of each episode.

    An environment that tells of its successes alone would seem never to fail: there is a warning, and no success. Raises
    ValueError where an episode is longer than LONGEST_EPISODE: of one that never ends there is nothing to measure.
    """
    successes: list[bool] = []
    with progress_bar(episodes, "episode", description="evaluation", shown=progress) as bar:

        def note(local: dict[str, Any], _: dict[str, Any]) -> None:
            if local["current_lengths"][local["i"]] > LONGEST_EPISODE:
                raise ValueError(
                    f"an episode did not end within {LONGEST_EPISODE:,} steps: give the environment a time limit, by "
                    "gymnasium.wrappers.TimeLimit or max_episode_steps of gymnasium.register"
                )
            if local["done"]:
                bar.update()
                if "is_success" in local["info"]:
                    successes.append(bool(local["info"]["is_success"]))

        returns, lengths = evaluate_policy(
            policy,
            venv,
            n_eval_episodes=episodes,
            deterministic=deterministic,
            callback=note,
            return_episode_rewards=True,
        )
    assert isinstance(returns, list)
    assert isinstance(lengths, list)
    if 0 < len(successes) < len(returns):
        warnings.warn(
            f"info['is_success'] was there at the end of {len(successes)} of {len(returns)} episodes: without it in every "
            "one of them there is no success rate",
            stacklevel=2,
        )
        successes = []
    return successes, returns, lengths


def _decision_milliseconds(agent: JEPAAgent, observations: np.ndarray) -> float:
    seconds = []
    for index in range(TIMED_DECISIONS):
        began = time.perf_counter()
        agent.predict(observations[index % len(observations)], deterministic=True)
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledLatents:
    """Held-out observations of an environment whose info has ``count``, a small whole number, their counts and latents."""

    observation: np.ndarray  # [N, ...], packed
    count: np.ndarray  # int[N]
    latent: np.ndarray  # float32[N, D]


def heldout_latents(
    agent: JEPAAgent, factory: Callable[[], gym.Env[Any, Any]], number: int, seed: int
) -> LabelledLatents | None:
    """First observations of ``number`` held-out episodes.

    None where the environment does not count: where info has no whole number under ``count``, always the same one, or more
    than ``MOST_COUNTS`` of them.
    """
    observations, counts = [], []
    with factory() as env:
        for index in range(number):
            # A stream of its own, apart from the evaluation episodes.
            observation, info = env.reset(seed=None if index else 2 * HELDOUT_SEED + seed)
            if not isinstance(info.get("count"), Integral):
                return None
            observations.append(agent.observation_adapter.pack(observation))
            counts.append(int(info["count"]))
    if not 2 <= len(set(counts)) <= MOST_COUNTS:
        return None
    packed = np.stack(observations)
    return LabelledLatents(observation=packed, count=np.array(counts), latent=latents_of(agent, packed))


def representation_figures(held: LabelledLatents) -> dict[str, float]:
    """How well the latents tell the counts apart, without having seen these images."""
    classes = len(np.unique(held.count))
    return {
        "heldout_accuracy": diagnostics.heldout_accuracy(held.latent, held.count),
        "ari": diagnostics.cluster_agreement(held.latent, held.count, classes),
        "separation": diagnostics.separation(held.latent, held.count),
        "effective_rank": diagnostics.effective_rank(held.latent),
    }


@dataclass(frozen=True, kw_only=True)
class EvaluateArgs:
    """Measure a trained agent on held-out seeds, with its own planner or another one.

    Example: jepa-rl evaluate runs/demo --planner.kind cem --episodes 500
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    planner: PlannerConfig
    episodes: int = 200
    """Episodes to run."""
    seed: int = 0
    """Which held-out episodes; none of them is a training episode, whatever the number."""
    sampled: bool = False
    """Draw among the good plans instead of taking the best."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON instead of a table."""
    device: str = "auto"
    """auto takes a GPU where torch finds one; cpu, cuda."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(EvaluateArgs, prog="jepa-rl evaluate", args=arguments, default=_defaults(arguments))
    run = RunFolder.open(args.run)
    agent = run.load_agent(device=args.device)
    agent.set_planner(args.planner)
    found = evaluate_agent(
        agent,
        run.config().factory(),
        episodes=args.episodes,
        seed=args.seed,
        deterministic=not args.sampled,
        progress=not args.json,
    )
    if args.json:
        print(json.dumps({"run": str(args.run), "planner": args.planner.kind, **dataclasses.asdict(found)}))
    else:
        print("\n".join(f"{name:<14}  {value}" for name, value in table(found).items()))


def _defaults(arguments: Sequence[str]) -> EvaluateArgs:
    """The run's own planner, which options change."""
    path = run_named_first(arguments, "evaluate")
    if path is None:
        return EvaluateArgs(run=tyro.MISSING, planner=PlannerConfig())
    return EvaluateArgs(run=path, planner=RunFolder.open(path).config().agent.planner)


def table(found: Evaluation) -> dict[str, str]:
    """The figures as a person reads them."""
    rows = {"episodes": str(found.episodes)}
    if found.success_rate is not None and found.success_interval is not None:
        low, high = found.success_interval
        rows["success"] = f"{found.success_rate:.3f}  (95 % Wilson interval {low:.3f} to {high:.3f})"
    return rows | {
        "return": f"{found.return_mean:.3f} ± {found.return_std:.3f}",
        "length": f"{found.length_mean:.2f} steps",
        "planner": f"{found.planner_ms:.2f} ms per decision",
    }
