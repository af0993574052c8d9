"""Grids of runs skip what is done and never mix settings; the log file and the ablation table say what was measured."""

import csv
import json

import pytest

from jepa_rl.agent import preset
from jepa_rl.scripts.ablate import CHOICES, summarise
from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.logs import ProgressCSV
from jepa_rl.scripts.train import overridden, split_env_options


def test_finished_cells_are_not_measured_again(tmp_path):
    measured = []

    def measure(cell):
        measured.append(cell["seed"])
        return {"double": 2 * cell["seed"]}

    cells = [{"name": "a", "seed": seed} for seed in (1, 2)]
    assert [r["double"] for r in run_grid(cells, measure, tmp_path, jobs=1)] == [2, 4]
    more = [{"name": "a", "seed": seed} for seed in (3, 1, 2)]
    assert [r["double"] for r in run_grid(more, measure, tmp_path, jobs=1)] == [6, 2, 4]
    assert measured == [1, 2, 3]


def test_a_result_of_other_settings_is_not_taken_for_this_one(tmp_path):
    run_grid([{"name": "a", "seed": 1, "rate": 0.1}], lambda cell: {}, tmp_path, jobs=1)
    with pytest.raises(ValueError, match="holds the result of other settings"):
        run_grid([{"name": "a", "seed": 1, "rate": 0.2}], lambda cell: {}, tmp_path, jobs=1)


def test_cells_run_in_other_processes_too(tmp_path):
    results = run_grid([{"name": "a", "seed": seed} for seed in range(3)], square, tmp_path, jobs=2)
    assert [result["square"] for result in results] == [0, 1, 4]


def square(cell):
    return {"square": cell["seed"] ** 2}


def test_a_cell_that_fails_keeps_the_others_and_can_be_run_again(tmp_path):
    def fail_at_two(cell):
        if cell["seed"] == 2:
            raise RuntimeError("out of luck")
        return {}

    cells = [{"name": "a", "seed": seed} for seed in (1, 2)]
    with pytest.raises(RuntimeError, match="out of luck"):
        run_grid(cells, fail_at_two, tmp_path, jobs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-seed1.json"]


def test_every_choice_of_the_ablation_changes_the_preset():
    base = preset("counting").agent
    changed = [overridden(base, options) for options in CHOICES.values()]
    assert changed[0] == base
    assert len({json.dumps(str(config)) for config in changed}) == len(CHOICES)


def test_a_run_that_never_reached_the_goal_is_slower_than_any_that_did():
    def result(updates):
        return {
            "updates_to_goal": updates,
            "seconds_to_goal": updates and updates / 10,
            "last_accuracy": 0.9,
            "milliseconds_per_update": 20.0,
        }

    row = summarise("x", [result(100), result(None), result(300)])
    assert (row["reached"], row["updates to 0.95"], row["seconds to 0.95"]) == ("2 of 3", "300", "30")
    assert summarise("x", [result(100), result(None), result(None)])["updates to 0.95"] == "not reached"


def test_the_log_keeps_its_columns_when_new_ones_appear_and_when_it_goes_on(tmp_path):
    path = tmp_path / "progress.csv"
    first = ProgressCSV(path, [])
    first.write({"b": 1, "a": 2.5}, {})
    first.write({"a": 3.0, "c": 4, "hidden": 5}, {"hidden": ("csv",)})
    rows = [{"a": "2.5", "b": "1", "c": ""}, {"a": "3.0", "b": "", "c": "4"}]
    assert list(csv.DictReader(path.open())) == rows
    text = path.read_text()
    ProgressCSV(path, first.rows)
    assert path.read_text() == text


def test_environment_options_are_python_literals_or_text():
    rest, env = split_env_options(
        ["counting", "--env.target", "2", "--env.reward=dense", "--seed", "1", "--env.render-mode", "None"]
    )
    assert rest == ["counting", "--seed", "1"]
    assert env == {"target": 2, "reward": "dense", "render_mode": None}
