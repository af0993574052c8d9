"""An agent as a Checkpoint, and back: the list of everything that a run consists of."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from jepa_rl.agent.checkpoint import Checkpoint, CheckpointError
from jepa_rl.agent.config import AgentConfig, from_dict
from jepa_rl.agent.env_faults import naming_dead_processes
from jepa_rl.agent.episode_memory import pack_memories, unpack_memories
from jepa_rl.agent.learner import Learner
from jepa_rl.agent.spaces import space_from_json, space_to_json
from jepa_rl.planners import PlannerConfig

if TYPE_CHECKING:
    from jepa_rl.agent.jepa_agent import JEPAAgent

COUNTERS = ("num_timesteps", "steps_taken", "_episode_num", "_n_updates", "wall_seconds", "_total_timesteps")

# What they are in files that were written before they existed.
NEWER_COUNTERS = {"updates_besides": 0, "_current_progress_remaining": 1.0}

COLLECTOR_ARRAYS = ("plan", "warm")


def capture(agent: JEPAAgent, exclude: frozenset[str]) -> Checkpoint:
    """Everything of ``agent`` but the parts to ``exclude``, of which there is one: "replay"."""
    if exclude - {"replay"}:
        raise ValueError(f"exclude must be within {{'replay'}}, got {sorted(exclude)}")
    if agent.left_replay_behind and agent.env is None and "replay" not in exclude:
        raise ValueError(
            "the agent was loaded without environments and so without the replay of its file, which saving would lose: "
            "load it with env, or save with exclude={'replay'}"
        )
    numpy_streams, torch_streams = agent.streams.state()
    state: dict[str, Any] = {
        "config": _as_json(agent.config),
        "planner": _as_json(agent.planner_config),  # that of the configuration, unless another was set
        "has_own_planner": agent.has_own_planner,
        "observation_space": space_to_json(agent.observation_space),
        "action_space": space_to_json(agent.action_space),
        "seed": agent.seed,
        "counters": {name: getattr(agent, name) for name in (*COUNTERS, *NEWER_COUNTERS)},
        "training_log": agent.training_log.state(),
        "episodes": [_plain(entry) for entry in agent.ep_info_buffer or () if isinstance(entry, dict)],
        "successes": [float(entry) for entry in agent.ep_success_buffer or ()],
        "streams": numpy_streams,
        "attachments": agent.attachments,
        "logging": {"tensorboard_log": agent.tensorboard_log, "verbose": agent.verbose},
        "prediction_error": None if agent.familiarity is None else agent.familiarity.error,
        "exploration": dataclasses.asdict(agent.successes),
        "collector": None,
    }
    tensors = {f"model/{name}": value for name, value in agent.model.state_dict().items()}
    if agent.learner.ema is not None:
        tensors |= {f"ema/{name}": value for name, value in agent.learner.ema.state_dict().items()}
    for index, moments in agent.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in moments.items()}
    tensors |= {f"streams/{name}": value for name, value in torch_streams.items()}
    arrays: dict[str, np.ndarray] = {}
    # Where the very first observations were refused, learning begins anew.
    if agent.env is not None and (len(agent.replay) or agent.collector.episodes.begun) and "replay" not in exclude:
        collector = agent.collector
        # New environments or a new seed have closed the episodes, but what they taught stays.
        opened = agent._last_obs is not None and collector.episodes.begun
        state["collector"] = {"n_envs": agent.n_envs, "rebuildable": collector.episodes.rebuildable and opened}
        arrays |= {f"replay/{name}": value for name, value in agent.replay.state().items()}
        arrays |= {f"collector/{name}": getattr(collector, name) for name in COLLECTOR_ARRAYS}
        arrays |= {f"exploration/{name}": value for name, value in collector.explorer.state().items()}
        if collector.memories:
            arrays |= {f"memories/{name}": value for name, value in pack_memories(collector.memories).items()}
        arrays["collector/last_observation"] = collector.observation
        arrays["collector/episode"] = collector.episodes.number
        for env, actions in enumerate(collector.episodes.actions):
            arrays[f"collector/open_actions/{env}"] = np.array(actions)
    return Checkpoint(state=state, tensors=tensors, arrays=arrays)


def describe(path: Path, checkpoint: Checkpoint) -> tuple[AgentConfig, spaces.Space[Any], spaces.Space[Any], int]:
    """Configuration, observation space, action space and seed of a saved agent."""
    state = checkpoint.state
    with _blaming(path):
        config = from_dict(AgentConfig, state["config"])
        return (
            config,
            space_from_json(state["observation_space"]),
            space_from_json(state["action_space"]),
            int(state["seed"]),
        )


def restore(
    agent: JEPAAgent,
    path: Path,
    checkpoint: Checkpoint,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
) -> None:
    """Make a freshly constructed ``agent`` (without its model yet) the saved one.

    What its environments raise when their episodes are repeated passes through.
    """
    if agent.env is None:
        agent.observation_space, agent.action_space = observation_space, action_space
    else:
        require_spaces(agent.env, observation_space, action_space)
    with _blaming(path):
        agent._setup_model()
        agent.set_parameters(parameters_in(checkpoint, agent.learner))
        state = checkpoint.state
        agent.set_planner(from_dict(PlannerConfig, state["planner"]))
        if state.get("has_own_planner"):
            warnings.warn(
                f"{path} was saved by an agent with a planner of its own, which no file holds: until set_planner gives it "
                "again, it plans as its planner_config says",
                stacklevel=3,
            )
        for name in COUNTERS:
            setattr(agent, name, state["counters"][name])
        for name, before in NEWER_COUNTERS.items():
            setattr(agent, name, state["counters"].get(name, before))
        agent.training_log.load_state(state["training_log"])
        agent.attachments = dict(state["attachments"])
        if agent.familiarity is not None:
            agent.familiarity.error = state["prediction_error"]
        for name, value in state.get("exploration", _older_successes(checkpoint.arrays)).items():
            setattr(agent.successes, name, value)
        agent.ep_info_buffer = deque(state["episodes"], maxlen=agent._stats_window_size)
        agent.ep_success_buffer = deque(state["successes"], maxlen=agent._stats_window_size)
        agent.streams.load_state(state["streams"], _part(checkpoint.tensors, "streams"))
        saved = state["collector"]
        agent.left_replay_behind = saved is not None and agent.env is None
        if saved is None and agent.env is not None and agent.steps_taken:
            warnings.warn(f"{path} was saved without its replay: learning begins with an empty one", stacklevel=3)
        if saved is not None and agent.env is not None:
            if agent.env.num_envs == saved["n_envs"]:
                _restore_collector(agent, saved, checkpoint.arrays)
            else:
                warnings.warn(
                    f"the replay of {path} is left out: it is that of {saved['n_envs']} parallel environments, got "
                    f"{agent.env.num_envs}",
                    stacklevel=3,
                )
                saved = None
    if saved is not None and agent.env is not None:
        _reopen_episodes(agent, path, saved)


def parameters_in(checkpoint: Checkpoint, learner: Learner) -> dict[str, dict[str, Any]]:
    """The saved parameters in the form of ``JEPAAgent.get_parameters``."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _part(checkpoint.tensors, "optimizer").items():
        index, field = name.split("/")
        moments.setdefault(int(index), {})[field] = value
    groups = learner.optimizer.state_dict()["param_groups"]
    found = {"model": _part(checkpoint.tensors, "model"), "optimizer": {"state": moments, "param_groups": groups}}
    return found if learner.ema is None else {**found, "learner.ema": _part(checkpoint.tensors, "ema")}


def own_moments(optimizer: torch.optim.Optimizer, given: dict[str, Any]) -> dict[str, Any]:
    """A state of an optimiser that shares nothing with ``given`` and fits the parameters of ``optimizer``.

    Raises ValueError for moments of other parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for index, moments in given["state"].items():
        if index not in range(len(parameters)):
            raise ValueError(f"the optimiser has {len(parameters)} parameters, got a state of number {index}")
        parameter, state[index] = parameters[index], {}
        for name, value in moments.items():
            if value.dim() and value.shape != parameter.shape:
                expected, got = list(parameter.shape), list(value.shape)
                raise ValueError(f"{name} of the optimiser's parameter {index} must have shape {expected}, got {got}")
            # The fused optimiser walks memory, so its moments must lie in it as the parameters do (channels-last).
            state[index][name] = torch.empty_like(parameter).copy_(value) if value.dim() else value.clone()
    return {**given, "state": state}


def _older_successes(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """``Successes`` where files had them while they belonged to the replay."""
    names = {"any": "exploration/rewarded", "share": "exploration/success"}
    return {name: arrays[older].item() for name, older in names.items() if older in arrays}


def _restore_collector(agent: JEPAAgent, saved: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    agent.replay.load_state(_part(arrays, "replay"))
    collector = agent.collector
    collector.explorer.load_state(_part(arrays, "exploration"))
    for name in COLLECTOR_ARRAYS:
        getattr(collector, name)[...] = arrays[f"collector/{name}"]
    collector.observation = arrays["collector/last_observation"]
    if memories := _part(arrays, "memories"):
        assert agent.familiarity is not None
        collector.memories = unpack_memories(memories, agent.action_adapter.counts[0])
    collector.episodes.number[...] = arrays["collector/episode"]
    collector.episodes.actions = [list(arrays[f"collector/open_actions/{env}"]) for env in range(saved["n_envs"])]


def _reopen_episodes(agent: JEPAAgent, path: Path, saved: dict[str, Any]) -> None:
    """Bring the environments to the middle of their open episodes; else ``learn`` begins new ones."""
    episodes = agent.collector.episodes
    assert agent.env is not None and agent.seed is not None
    if not episodes.rebuildable:
        episodes.forget()  # learn() will reset the environments
        _seed_anew(agent)
        return
    if not saved["rebuildable"]:
        if episodes.begun:
            with naming_dead_processes(agent.env):
                episodes.close(agent.seed)
        return
    with naming_dead_processes(agent.env):
        lost = episodes.rebuild(agent.seed, agent.collector.observation)
    if lost:
        warnings.warn(
            f"the open episodes of {path} are left out, new ones begin: environment {lost[0]} does not come back to its "
            "last observation when its episode's seed and actions are repeated, so it is not deterministic under its seed, "
            "or another than the agent was saved with",
            stacklevel=4,
        )
        return
    agent._last_obs = agent.observation_adapter.unpack(agent.collector.observation)
    agent._last_episode_starts = np.zeros(saved["n_envs"], bool)


def _seed_anew(agent: JEPAAgent) -> None:
    """Seeded as they were at first, environments would begin with the episodes that the replay has already."""
    assert agent.env is not None and agent.seed is not None
    agent.env.seed(int(np.random.SeedSequence((agent.seed, agent.steps_taken)).generate_state(1)[0] >> 1))


def require_spaces(
    env: VecEnv | gym.Env[Any, Any], observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> None:
    """Raise ValueError where environments have other spaces than an agent's."""
    pairs = {"Observation": (observation_space, env.observation_space), "Action": (action_space, env.action_space)}
    for name, (ours, theirs) in pairs.items():
        # Descriptions are compared, for they are what a file keeps: of MiniGrid's missions only that they are texts.
        if space_to_json(ours) != space_to_json(theirs):
            raise ValueError(f"{name} spaces do not match: the agent's {ours} != {theirs} of the environments")


def _part(entries: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in entries.items() if name.startswith(f"{prefix}/")}


def _plain(episode: dict[str, Any]) -> dict[str, Any]:
    """What a log reads of an episode, and what else of it are finite numbers, texts and truth values."""
    numbers = {name: _python(value) if isinstance(value, np.generic) else value for name, value in episode.items()}
    return {name: value for name, value in numbers.items() if isinstance(value, str) or _finite(value)}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _as_json(config: Any) -> Any:
    """A configuration as JSON has it: tuples as lists, NumPy's numbers as Python's."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=_python))


def _python(number: Any) -> Any:
    """The Python number that NumPy's stands for; TypeError for anything else."""
    if isinstance(number, np.generic):
        return number.item()
    raise TypeError(f"expected a number, got {number!r}")


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """A file whose parts do not fit together is a bad file, whatever part notices it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(f"{path} does not hold a usable agent: {error}") from error
