"""The benchmarks' committed results are those of today's grids: the commands go on from them."""

import json
from pathlib import Path

import pytest

from jepa_rl.agent import preset
from jepa_rl.scripts.anchors_benchmark import command as anchors
from jepa_rl.scripts.anchors_benchmark import variants
from jepa_rl.scripts.control_benchmark import command as control
from jepa_rl.scripts.control_benchmark import tasks as control_tasks
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.minigrid_benchmark import command as minigrid
from jepa_rl.scripts.minigrid_benchmark import tasks as minigrid_tasks
from jepa_rl.scripts.pieces_benchmark import command as pieces
from jepa_rl.scripts.pieces_benchmark import pieces as switched_off
from jepa_rl.scripts.sb3_benchmark import command as sb3
from jepa_rl.scripts.sb3_benchmark import tasks as sb3_tasks
from jepa_rl.scripts.train import overridden

ROOT = Path(__file__).parents[2]


def beside_baselines(tasks, name):
    agent = preset(name).agent
    return tasks.cells(tasks.TASKS, tasks.ALGORITHMS, tasks.SEEDS, preset=name, agent=agent, episodes=tasks.EPISODES)


def of_unseen_tasks():
    agent, episodes = preset("minigrid").agent, minigrid_tasks.EPISODES
    tasks, seeds = minigrid_tasks.UNSEEN_TASKS, minigrid_tasks.SEEDS
    return minigrid_tasks.cells(tasks, minigrid_tasks.ALGORITHMS, seeds, preset="minigrid", agent=agent, episodes=episodes)


def of_tasks_that_an_earlier_preset_met():
    agent, episodes = overridden(preset("minigrid").agent, BEFORE_NOVELTY), minigrid_tasks.EPISODES
    return minigrid_tasks.cells(minigrid_tasks.UNSEEN_TASKS, ["jepa"], 1, preset="minigrid", agent=agent, episodes=episodes)


def of_random_stretches():
    agent = overridden(preset("minigrid").agent, (*BEFORE_NOVELTY, "--exploration.random-share", "0.5"))
    episodes = minigrid_tasks.EPISODES
    tasks = (*minigrid_tasks.TASKS, *minigrid_tasks.UNSEEN_TASKS)
    return minigrid_tasks.cells(tasks, ["jepa"], 1, preset="minigrid", agent=agent, episodes=episodes)


def of_pictures():
    chosen, episodes = preset("minigrid-pixels"), minigrid_tasks.EPISODES
    return minigrid_tasks.cells(
        *(minigrid_tasks.TASKS, ["jepa"], minigrid_tasks.SEEDS),
        **{"preset": "minigrid-pixels", "agent": overridden(chosen.agent, BEFORE_NOVELTY), "episodes": episodes},
        **{"env": chosen.env, "device": "cuda"},
    )


def of_variants():
    return variants.cells(variants.TASKS, list(variants.NAMES), variants.SEEDS, episodes=minigrid_tasks.EPISODES)


def of_pieces():
    return switched_off.cells(switched_off.TASKS, switched_off.SLUGS, switched_off.SEEDS, episodes=minigrid_tasks.EPISODES)


def of_encoders():
    return sb3_tasks.cells(sb3_tasks.TASKS, sb3_tasks.SLUGS, sb3_tasks.SEEDS, episodes=minigrid_tasks.EPISODES)


@pytest.mark.parametrize(
    ("command", "folder", "grid"),
    [
        (control, control.RESULTS, beside_baselines(control_tasks, "control")),
        (minigrid, minigrid.PLACES[0], beside_baselines(minigrid_tasks, "minigrid")),
        (minigrid, minigrid.UNSEEN_PLACES[0], of_unseen_tasks()),
        (minigrid, Path("docs/results/minigrid_unseen_before"), of_tasks_that_an_earlier_preset_met()),
        (minigrid, Path("docs/results/minigrid_random_share"), of_random_stretches()),
        (minigrid, minigrid.PIXEL_PLACES[0], of_pictures()),
        (anchors, anchors.RESULTS, of_variants()),
        (sb3, sb3.RESULTS, of_encoders()),
        (pieces, pieces.RESULTS, of_pieces()),
    ],
    ids=lambda each: each.name if isinstance(each, Path) else "",
)
def test_the_kept_results_are_of_todays_grid(command, folder, grid):
    cell_of = {(cell["name"], cell["seed"]): cell for cell in json.loads(json.dumps(grid))}
    kept = [json.loads(path.read_text()) for path in sorted((ROOT / folder).glob("*-seed*.json"))]
    assert kept
    for found in kept:
        assert found["version"] == command.VERSION
        cell = todays_form(found["cell"])
        assert cell == cell_of[cell["name"], cell["seed"]]
