"""A run's figures and settings as a person reads them."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from jepa_rl.agent import PRESETS, AuxiliaryConfig
from jepa_rl.scripts.options import env_options, format_auxiliary
from jepa_rl.scripts.reporting.page import Fact
from jepa_rl.scripts.run_folder import Recording, RunConfig, RunFolder

Result = Mapping[str, Any]

MEANINGS = {
    "success": "share of held-out episodes that reach the goal, final weights; 95 % Wilson interval",
    "return": "per held-out episode, mean ± standard deviation",
    "held-out accuracy": "counts told apart by the nearest centroid, centroids from other images",
    "ARI": "agreement of k-means clusters with the counts; 1 is perfect, 0 is chance",
    "separation": "smallest distance between two counts' centroids, in mean cluster radii",
    "effective rank": "directions that the latents use, whatever their size",
    "planning": "one decision for one observation, median",
    "training": "collecting, planning and gradient steps together, and filming where there is --video-every",
    "evaluation": "of the final weights: the episodes and the held-out images",
    "peak memory": "of the training process, evaluation included",
    "update / bare": "how many times longer a whole update takes than the forward and backward pass alone",
}
COMPARED = ("success", "return", "held-out accuracy", "ARI", "separation", "effective rank", "training", "peak memory")


def read_result(run: RunFolder) -> Result | None:
    """result.json, or None while the run is not finished."""
    return json.loads(run.result.read_text()) if run.result.is_file() else None


def measured(result: Result) -> dict[str, str]:
    """The figures that the result has, by name."""
    rows = {}
    if result.get("success_rate") is not None:
        low, high = result["success_interval"]
        rows["success"] = f"{result['success_rate']:.3f} ({low:.3f} to {high:.3f})"
    rows["return"] = f"{result['return_mean']:.2f} ± {result['return_std']:.2f}"
    for name, key in (("held-out accuracy", "heldout_accuracy"), ("ARI", "ari"), ("separation", "separation")):
        if key in result:
            rows[name] = f"{result[key]:.3f}"
    rows |= {
        "effective rank": f"{result['effective_rank']:.1f}",
        "planning": f"{result['planner_ms']:.1f} ms",
        "training": f"{result['wall_seconds']:.0f} s, {result['env_steps']:,} steps, {result['updates']:,} updates",
    }
    if "evaluation_seconds" in result:
        rows["evaluation"] = f"{result['evaluation_seconds']:.0f} s"
    if not math.isnan(result["peak_rss_mb"]):
        rows["peak memory"] = f"{result['peak_rss_mb']:,.0f} MB"
    return rows | {"update / bare": f"{result['update_over_bare']:.2f}"}


def facts(config: RunConfig, result: Result | None, *, logged_steps: int) -> list[Fact]:
    """The head of a run's section; its log goes up to ``logged_steps`` environment steps."""
    keywords = ", ".join(f"{name}={value!r}" for name, value in config.env.items())
    rows = [
        Fact(name="environment", value=f"{config.env_id}({keywords})" if keywords else config.env_id),
        Fact(name="preset", value=config.preset),
        Fact(name="seed", value=str(config.seed)),
    ]
    line = command(config)
    if line is not None:
        meaning = f"what these settings come from, --out and --device left out; read by jepa-rl {version('jepa-rl')}"
        rows.append(Fact(name="command", value=line, meaning=meaning))
    if result is None or result["env_steps"] < config.total_timesteps:
        reached = f"not finished: {logged_steps:,} of {config.total_timesteps:,} environment steps"
        meaning = "as far as is logged; a run that was stopped goes on from its last checkpoint with jepa-rl resume"
        rows.append(Fact(name="state", value=reached, meaning=meaning))
    if result is None:
        return rows
    return rows + [Fact(name=name, value=value, meaning=MEANINGS[name]) for name, value in measured(result).items()]


def headline(result: Result) -> str:
    """What the run came to, in a sentence."""
    found = measured(result)
    name = "success" if "success" in found else "return"
    episodes = f"{result['episodes']:,} held-out episodes" if "episodes" in result else "held-out episodes"
    return f"{name.capitalize()} {found[name]} in {episodes} after {result['env_steps']:,} environment steps."


def command(config: RunConfig) -> str | None:
    """The command line that a run's settings come from, the device left out; None for a preset that there is not."""
    if config.preset not in PRESETS:
        return None
    chosen = PRESETS[config.preset]
    words = ["jepa-rl", "train", config.preset, "--env-id", config.env_id, "--seed", str(config.seed)]
    words += ["--total-timesteps", str(config.total_timesteps)]
    words += env_options({name: value for name, value in config.env.items() if (name, value) not in chosen.env.items()})
    return shlex.join([*words, *_options(config.agent, chosen.agent), *_options(config.recording, Recording())])


def _options(given: Any, default: Any, prefix: str = "") -> list[str]:
    """The options of the command line that make ``given`` of ``default``, two instances of one config."""
    words = []
    for entry in dataclasses.fields(given):
        value, usual = getattr(given, entry.name), getattr(default, entry.name)
        name = entry.name.replace("_", "-")
        if value == usual:
            continue
        if dataclasses.is_dataclass(value):
            words += _options(value, usual, f"{prefix}{name}.")
        elif isinstance(value, bool):
            words.append(f"--{prefix}{name if value else f'no-{name}'}")
        else:
            words += [f"--{prefix}{name}", *_words(value)]
    return words


def _words(value: Any) -> list[str]:
    """A setting as the command line takes it."""
    if isinstance(value, tuple):
        return [word for part in value for word in _words(part)]
    return [format_auxiliary(value) if isinstance(value, AuxiliaryConfig) else str(value)]


def settings(config: RunConfig) -> dict[str, str]:
    """Every setting by its dotted name, as on the command line."""
    return _flat(dataclasses.asdict(config.agent)) | {
        "model.auxiliaries": " ".join(map(format_auxiliary, config.agent.model.auxiliaries)) or "-",
        "env_id": config.env_id,
        "seed": str(config.seed),
        "total_timesteps": str(config.total_timesteps),
        **{f"env.{name}": str(value) for name, value in config.env.items()},
    }


def differing(configs: Mapping[str, RunConfig]) -> dict[str, dict[str, str]]:
    """Setting -> run -> value, for the settings that are not the same in all runs."""
    every = {label: settings(config) for label, config in configs.items()}
    names = dict.fromkeys(name for flat in every.values() for name in flat)
    rows = {name: {label: flat.get(name, "-") for label, flat in every.items()} for name in names}
    return {name: row for name, row in rows.items() if len(set(row.values())) > 1}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = str(value)
    return flat
