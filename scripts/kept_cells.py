"""Cells as results keep them, in the form that cells have today."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from jepa_rl.agent import AgentConfig
from jepa_rl.agent.config import from_dict

AGENTS = ("agent", "first_half")  # entries of a cell, at any depth, that hold an agent's settings


def todays_form(kept: Any) -> Any:
    """A kept cell as JSON has it, with settings of its agents that did not exist then at their defaults.

    Settings that are no more are left out where they had no effect. Anything else comes back as it is.
    """
    if not isinstance(kept, dict):
        return kept
    return {name: _completed(entry) if name in AGENTS else todays_form(entry) for name, entry in kept.items()}


def changed_settings(kept: Any, today: AgentConfig) -> list[str]:
    """The options that make of an agent's settings those of a kept cell, ``--NAME VALUE`` each; none where they agree.

    A setting that is a sequence or of another kind is named without a value.
    """
    before, now = (_leaves(settings) for settings in (_completed(kept), json.loads(json.dumps(dataclasses.asdict(today)))))
    options = []
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            value = before.get(name)
            shown = f" {value:g}" if isinstance(value, float) else f" {value}" if isinstance(value, int | str) else ""
            options.append(f"--{name.replace('_', '-')}{shown}")
    return options


def _leaves(settings: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(settings, dict):
        return {prefix: settings}
    nested = [_leaves(value, f"{prefix}.{name}" if prefix else name) for name, value in settings.items()]
    return {name: value for part in nested for name, value in part.items()}


def _completed(agent: Any) -> Any:
    try:
        return json.loads(json.dumps(dataclasses.asdict(from_dict(AgentConfig, _without_retired(agent)))))
    except (TypeError, ValueError):
        return agent


def _without_retired(agent: Any) -> Any:
    """Without ``exploration.novelty_discount``, which did something only where novelty was sought."""
    exploration = agent.get("exploration") if isinstance(agent, dict) else None
    if not isinstance(exploration, dict) or exploration.get("kind") == "novelty":
        return agent
    return agent | {"exploration": {name: value for name, value in exploration.items() if name != "novelty_discount"}}
