"""An agent as a Checkpoint, and back: the list of everything that a run consists of."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces

from jepa_rl.agent.checkpoint import Checkpoint, CheckpointError
from jepa_rl.agent.config import AgentConfig, from_dict
from jepa_rl.agent.episodes import SeededEpisodes
from jepa_rl.agent.spaces import space_from_json, space_to_json

if TYPE_CHECKING:
    from jepa_rl.agent.jepa_agent import JEPAAgent

COUNTERS = ("num_timesteps", "steps_taken", "_episode_num", "_n_updates", "_loss_count", "wall_seconds", "_total_timesteps")


def capture(agent: JEPAAgent, exclude: frozenset[str]) -> Checkpoint:
    """Everything of ``agent`` but the parts to ``exclude``, of which there is one: "replay"."""
    if exclude - {"replay"}:
        raise ValueError(f"exclude must be within {{'replay'}}, got {sorted(exclude)}")
    numpy_streams, torch_streams = agent.streams.state()
    state: dict[str, Any] = {
        "config": json.loads(json.dumps(dataclasses.asdict(agent.config))),  # tuples as lists
        "observation_space": space_to_json(agent.observation_space),
        "action_space": space_to_json(agent.action_space),
        "seed": agent.seed,
        "counters": {name: getattr(agent, name) for name in COUNTERS},
        "loss_sums": agent._loss_sums,
        "episodes": [_plain(entry) for entry in agent.ep_info_buffer or ()],
        "successes": [bool(entry) for entry in agent.ep_success_buffer or ()],
        "streams": numpy_streams,
        "attachments": agent.attachments,
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
    if agent.env is not None and agent._last_obs is not None and agent.collector.begun and "replay" not in exclude:
        collector = agent.collector
        state["collector"] = {"n_envs": agent.n_envs, "held_steps": collector.held_steps}
        arrays |= {f"replay/{name}": value for name, value in agent.replay.state().items()}
        arrays |= {f"collector/{name}": getattr(collector, name) for name in ("plan", "warm", "held_action", "episode")}
        arrays["collector/last_observation"] = collector.observation
        for env, actions in enumerate(collector.open_actions):
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
    """Make a freshly constructed ``agent`` (without its model yet) the saved one."""
    if agent.env is None:
        agent.observation_space, agent.action_space = observation_space, action_space
    else:
        _require_space("Observation", observation_space, agent.env.observation_space)
        _require_space("Action", action_space, agent.env.action_space)
    with _blaming(path):
        agent._setup_model()
        _restore_parameters(agent, checkpoint.tensors)
        state = checkpoint.state
        for name in COUNTERS:
            setattr(agent, name, state["counters"][name])
        agent._loss_sums = dict(state["loss_sums"])
        agent.attachments = dict(state["attachments"])
        agent.ep_info_buffer = deque(state["episodes"], maxlen=agent._stats_window_size)
        agent.ep_success_buffer = deque(state["successes"], maxlen=agent._stats_window_size)
        agent.streams.load_state(state["streams"], _part(checkpoint.tensors, "streams"))
        saved = state["collector"]
        if saved is not None and agent.env is not None and agent.env.num_envs == saved["n_envs"]:
            _restore_collector(agent, saved, checkpoint.arrays)


def _restore_parameters(agent: JEPAAgent, tensors: dict[str, torch.Tensor]) -> None:
    agent.model.load_state_dict(_part(tensors, "model"))
    if agent.learner.ema is not None:
        agent.learner.ema.load_state_dict(_part(tensors, "ema"))
    parameters = [parameter for group in agent.optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _part(tensors, "optimizer").items():
        index, field = name.split("/")
        if value.dim():
            # The fused optimiser walks memory, so its moments must lie in it as the parameters do (channels-last).
            value = torch.empty_like(parameters[int(index)]).copy_(value)
        moments.setdefault(int(index), {})[field] = value
    agent.optimizer.load_state_dict({"state": moments, "param_groups": agent.optimizer.state_dict()["param_groups"]})


def _restore_collector(agent: JEPAAgent, saved: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    agent.replay.load_state(_part(arrays, "replay"))
    collector = agent.collector
    collector.held_steps = saved["held_steps"]
    for name in ("plan", "warm", "held_action", "episode"):
        getattr(collector, name)[...] = arrays[f"collector/{name}"]
    assert agent.env is not None and agent.seed is not None
    if not all(agent.env.env_is_wrapped(SeededEpisodes)):
        return  # learn() will reset environments whose episodes cannot be rebuilt
    for env in range(saved["n_envs"]):
        actions = list(arrays[f"collector/open_actions/{env}"])
        collector.open_actions[env] = actions
        (reached,) = agent.env.env_method(
            "rebuild_episode", agent.seed + env, int(collector.episode[env]), actions, indices=[env]
        )
        if not np.array_equal(agent.observation_adapter.pack(reached), arrays["collector/last_observation"][env]):
            raise ValueError(
                f"environment {env} does not come back to its last observation when its episode's seed and actions are "
                "repeated, so it is not deterministic under its seed; load with another environment or without one"
            )
    collector.observation = arrays["collector/last_observation"]
    agent._last_obs = agent.observation_adapter.unpack(collector.observation)
    agent._last_episode_starts = np.zeros(saved["n_envs"], bool)


def _require_space(name: str, saved: spaces.Space[Any], given: spaces.Space[Any]) -> None:
    # Descriptions are compared, for they are what a file keeps: of MiniGrid's missions only that they are texts.
    if space_to_json(saved) != space_to_json(given):
        raise ValueError(f"{name} spaces do not match: {saved} != {given}")


def _part(entries: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in entries.items() if name.startswith(f"{prefix}/")}


def _plain(episode: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "item", lambda value=value: value)() for name, value in episode.items()}


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """A file whose parts do not fit together is a bad file, whatever part notices it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(f"{path} does not hold a usable agent: {error}") from error
