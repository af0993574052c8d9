"""The benchmarks' committed results are those of today's grids: the commands go on from them."""

import json
from pathlib import Path

import pytest

from jepa_rl.agent import preset
from jepa_rl.scripts.control_benchmark import command as control
from jepa_rl.scripts.control_benchmark import tasks as control_tasks
from jepa_rl.scripts.minigrid_benchmark import command as minigrid
from jepa_rl.scripts.minigrid_benchmark import tasks as minigrid_tasks

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "tasks", "name"),
    [(control, control_tasks, "control"), (minigrid, minigrid_tasks, "minigrid")],
    ids=["control", "minigrid"],
)
def test_the_kept_results_are_of_todays_grid(command, tasks, name):
    grid = tasks.cells(
        tasks.TASKS, tasks.ALGORITHMS, tasks.SEEDS, preset=name, agent=preset(name).agent, episodes=tasks.EPISODES
    )
    cell_of = {(cell["name"], cell["seed"]): cell for cell in json.loads(json.dumps(grid))}
    kept = [json.loads(path.read_text()) for path in sorted((ROOT / command.RESULTS).glob("*-seed*.json"))]
    assert kept
    for found in kept:
        assert found["version"] == command.VERSION
        cell = json.loads(json.dumps(minigrid_tasks.complete(found["cell"])))
        assert cell == cell_of[cell["name"], cell["seed"]]
