"""The pieces benchmark: each row switches off what it says and nothing else, and the page says what was measured."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, preset
from jepa_rl.agent.config import from_dict
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.minigrid_benchmark.summary import Results, Run
from jepa_rl.scripts.minigrid_benchmark.tasks import Task
from jepa_rl.scripts.minigrid_benchmark.tasks import task as known_task
from jepa_rl.scripts.pieces_benchmark import command
from jepa_rl.scripts.pieces_benchmark.page import _search, _spacing
from jepa_rl.scripts.pieces_benchmark.pieces import PRESET, SLUGS, TASKS, cells

TINY = [
    *("--agent.model.latent-dim", "8", "--agent.model.encoder.hidden", "8", "--agent.model.dynamics.hidden", "8"),
    *("--agent.training.starts", "16", "--agent.training.batch-size", "2", "--agent.training.updates-per-step", "0.1"),
]


def differences(first: object, second: object, path: str = "") -> set[str]:
    """The settings in which two configurations differ."""
    if not dataclasses.is_dataclass(first):
        return set() if first == second else {path.strip(".")}
    names = [entry.name for entry in dataclasses.fields(first)]
    return set().union(*(differences(getattr(first, name), getattr(second, name), f"{path}.{name}") for name in names))


def test_each_row_switches_off_what_it_says_and_nothing_else():
    base = preset(PRESET).agent
    found = {
        cell["algo"]: differences(base, from_dict(AgentConfig, cell["settings"]["agent"]))
        for cell in cells(TASKS[:1], SLUGS, 1, episodes=1)
    }
    assert found == {
        "preset": set(),
        "no-memory": {"planner.revisit_cost"},
        "no-novelty": {f"exploration.{name}" for name in ("kind", "warmup", "epsilon_start", "epsilon_steps")},
        "values-of-reward-alone": {"model.value.novelty"},
        "more-seeking": {"exploration.epsilon_start"},
        "no-random-auxiliary": {"model.auxiliaries"},
        "no-search": {"planner.kind", "planner.horizon"},
        "leaves-alone": {"planner.trace"},
        "weights-as-trained": {"acting_weights"},
        "no-outcomes": {"model.value.at_least_outcome"},
        "no-gap": {"model.value.gap"},
        "rewarded-windows": {"replay.prioritised_fraction"},
        "rewards-as-paid": {"replay.rewards"},
        "fewer-updates": {"training.updates_per_step"},
        "convolutions": {"model.encoder.grid_encoder"},
    }


def test_the_grid_has_every_row_on_every_task():
    grid = cells(TASKS, SLUGS, 2, episodes=50)
    assert len({(cell["name"], cell["seed"]) for cell in grid}) == len(grid) == 2 * len(TASKS) * len(SLUGS)
    with pytest.raises(ValueError, match="unknown piece 'no-memories'; did you mean no-memory"):
        cells(TASKS, ["no-memories"], 1, episodes=1)


def test_other_tasks_have_the_budget_of_our_agent():
    ours = known_task("DoorKey-6x6").for_ours()
    assert (ours.env_steps, ours.eval_every) == known_task("DoorKey-6x6").ours
    assert ours.budget("jepa").env_steps == ours.env_steps


def test_the_command_runs_what_is_missing_and_writes_the_page(tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    monkeypatch.setattr(command, "QUICK_TASK", Task("MiniGrid-Empty-5x5-v0", 48, 16))
    monkeypatch.setattr(command, "QUICK_EPISODES", 2)
    monkeypatch.setattr("jepa_rl.scripts.grid.cpu_count", lambda: 1)
    line = ["benchmark", "pieces", "--quick", "--jobs", "1", "--out", str(tmp_path), *TINY]
    assert run(line) == 0
    assert "no-memory" in capsys.readouterr().out
    page = (tmp_path / "minigrid_pieces.md").read_text()
    assert "Not the benchmark itself: 2 runs" in page
    assert "| without memory in planning | plans may lead back to what the episode has seen |" in page
    kept = tmp_path / "Empty-5x5-no-memory-seed0.json"
    assert json.loads(kept.read_text())["cell"]["settings"]["agent"]["planner"]["revisit_cost"] == 0
    before = kept.stat().st_mtime_ns
    assert run(line) == 0
    assert kept.stat().st_mtime_ns == before


def a_run(chosen, slug, success):
    """A finished cell with a curve of sampled success."""
    cell = {"env_id": chosen.env_id, "algo": slug, "env_steps": chosen.env_steps, "eval_every": chosen.eval_every}
    return Run({"cell": cell}, {"success_sampled": np.array(success), "env_steps": np.arange(1.0, 5.0)})


def test_the_page_sets_the_agent_without_search_beside_the_preset():
    runs = [a_run(each, "preset", [0.0, 1.0, 1.0, 1.0]) for each in TASKS] * 3
    worse = [a_run(TASKS[0], "no-search", [0.0, 0.7, 1.0, 1.0]), a_run(TASKS[1], "no-search", [0.2, 1.0, 1.0, 1.0])] * 3
    told = " ".join(_search(Results((*runs, *worse), unfinished=0)).split())
    assert "against the preset: DoorKey-5x5 0.90 against 1.00 at the end, 0.68 against 0.75 over the budget" in told
    assert told.endswith("(3 seeds).")
    assert _search(Results((*runs,), unfinished=0)) == ""
    assert "(one seed)" in _search(Results((*runs[:2], *worse[:2]), unfinished=0))


def test_the_page_says_that_its_steps_are_coarser_than_the_other_pages():
    told = _spacing(Results(tuple(a_run(each, "preset", [1.0] * 4) for each in TASKS), unfinished=0))
    assert (
        "every 1,000 on DoorKey-5x5 and 1,500 on SimpleCrossingS9N1. [minigrid.md](minigrid.md) evaluates every 500" in told
    )
