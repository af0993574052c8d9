"""Grids of runs skip what is done and never mix settings; the log file and the ablation table say what was measured."""

import csv
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, preset
from jepa_rl.scripts import ablate, cli, grid
from jepa_rl.scripts.ablate import CHOICES, summarise
from jepa_rl.scripts.grid import GridError, checkpoint_file, result_file, run_grid
from jepa_rl.scripts.logs import ProgressCSV
from jepa_rl.scripts.options import env_options, split_env_options
from jepa_rl.scripts.train import overridden


def cells_of(*seeds, name="a", **settings):
    return [{"name": name, "seed": seed, **settings} for seed in seeds]


def test_finished_cells_are_not_measured_again(tmp_path):
    measured = []

    def measure(cell):
        measured.append(cell["seed"])
        return {"double": 2 * cell["seed"]}

    assert [r["double"] for r in run_grid(cells_of(1, 2), measure, tmp_path, jobs=1)] == [2, 4]
    assert [r["double"] for r in run_grid(cells_of(3, 1, 2), measure, tmp_path, jobs=1)] == [6, 2, 4]
    assert measured == [1, 2, 3]


def test_the_progress_bar_counts_the_whole_grid_and_is_silent_when_nothing_is_missing(tmp_path, capsys):
    run_grid(cells_of(1, 2, 3), nothing, tmp_path, jobs=1)
    assert "3/3" in capsys.readouterr().err
    run_grid(cells_of(1, 2, 3, 4), nothing, tmp_path, jobs=1)
    bar = capsys.readouterr().err
    assert "3/4" in bar
    assert "4/4" in bar
    run_grid(cells_of(1, 2, 3, 4), nothing, tmp_path, jobs=1)
    assert capsys.readouterr().err == ""


def test_cells_run_in_other_processes_too(tmp_path):
    results = run_grid(cells_of(0, 1, 2), square, tmp_path, jobs=2)
    assert [result["square"] for result in results] == [0, 1, 4]
    assert all(result["process"] != os.getpid() for result in results)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a-seed{seed}.json" for seed in range(3)]


def threads(cell):
    return {"threads": torch.get_num_threads()}


def test_a_single_job_has_all_cores_and_leaves_the_callers_threads_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "cpu_count", lambda: 3)
    before = torch.get_num_threads()
    (found,) = run_grid(cells_of(1), threads, tmp_path, jobs=1)
    assert (found["threads"], torch.get_num_threads()) == (3, before)


def nothing(cell):
    return {}


def square(cell):
    return {"square": cell["seed"] ** 2, "process": os.getpid()}


def test_a_result_of_other_settings_is_not_taken_for_this_one(tmp_path):
    run_grid(cells_of(1, model={"rate": 0.1, "width": 8}), nothing, tmp_path, jobs=1)
    with pytest.raises(
        ValueError, match=r"a-seed1.json holds the result of other settings \(model.rate is 0.1 there, 0.2 here\)"
    ):
        run_grid(cells_of(0, 1, model={"rate": 0.2, "width": 8}), nothing, tmp_path, jobs=1)
    assert not (tmp_path / "a-seed0.json").exists()


def test_seeds_and_names_outside_the_grid_may_lie_beside_it(tmp_path):
    run_grid(cells_of(0, 1, 2, steps=5) + cells_of(0, name="b", steps=5), nothing, tmp_path, jobs=1)
    (tmp_path / "notes-seeds.json").write_text("[1]")
    assert len(run_grid(cells_of(0, steps=5), nothing, tmp_path, jobs=1)) == 1


def test_another_seed_of_the_same_name_must_share_what_the_seeds_share(tmp_path):
    run_grid(cells_of(2, steps=5, file="2"), nothing, tmp_path, jobs=1)
    with pytest.raises(ValueError, match=r"a-seed2.json .*other settings \(steps is 5 there, 6 here\)"):
        run_grid(cells_of(0, steps=6, file="0") + cells_of(1, steps=6, file="1"), nothing, tmp_path, jobs=1)
    run_grid(cells_of(0, steps=5, file="0") + cells_of(1, steps=5, file="1"), nothing, tmp_path, jobs=1)


def test_another_seed_of_the_same_name_must_share_all_with_one_alone(tmp_path):
    run_grid(cells_of(1, 2, steps=5), nothing, tmp_path, jobs=1)
    with pytest.raises(ValueError, match=r"a-seed1.json .*other settings \(steps is 5 there, 6 here\)"):
        run_grid(cells_of(0, steps=6), nothing, tmp_path, jobs=1)
    run_grid(cells_of(0, steps=5), nothing, tmp_path, jobs=1)


def test_what_a_cell_kept_of_its_way_goes_when_its_result_is_there(tmp_path):
    def measure(cell):
        checkpoint_file(tmp_path, cell).write_text("half way")
        if cell["seed"]:
            raise ValueError("no memory left")
        return {}

    with pytest.raises(GridError):
        run_grid(cells_of(0, 1), measure, tmp_path, jobs=1)
    assert [checkpoint_file(tmp_path, cell).exists() for cell in cells_of(0, 1)] == [False, True]


def test_a_cell_that_is_finished_while_failures_are_told_is_none(tmp_path, monkeypatch):
    (cell,) = cells_of(0)

    def finished_meanwhile(out, cell):
        result_file(out, cell).write_text("{}")
        return out / "its error file is gone"

    monkeypatch.setattr(grid, "_error", finished_meanwhile)
    grid._raise_failures(tmp_path, [cell])
    assert result_file(tmp_path, cell).exists()


def test_the_folder_of_another_grid_is_refused(tmp_path):
    run_grid(cells_of(0, name="b", target=2), nothing, tmp_path, jobs=1)
    with pytest.raises(ValueError, match=r"b-seed0.json holds the result of another grid .*'target'.*'steps'"):
        run_grid(cells_of(0, steps=6), nothing, tmp_path, jobs=1)


def test_a_setting_that_a_kept_result_lacks_counts_as_one_at_its_default(tmp_path):
    today = dataclasses.asdict(AgentConfig())
    older = {name: value for name, value in today.items() if name != "discount"}
    (tmp_path / "a-seed0.json").write_text(json.dumps({"cell": cells_of(0, agent=older)[0], "old": True}))
    (kept,) = run_grid(cells_of(0, agent=today), nothing, tmp_path, jobs=1)
    assert kept["old"]
    with pytest.raises(ValueError, match=r"other settings \(agent.discount is 0.99 there, 0.5 here\)"):
        run_grid(cells_of(0, agent=today | {"discount": 0.5}), nothing, tmp_path, jobs=1)


def test_results_of_another_version_are_refused_and_those_without_one_are_of_version_1(tmp_path):
    run_grid(cells_of(0), nothing, tmp_path, jobs=1, version=3)
    file = tmp_path / "a-seed0.json"
    assert json.loads(file.read_text())["version"] == 3
    with pytest.raises(ValueError, match=r"a-seed0.json holds the result of version 3, expected version 4"):
        run_grid(cells_of(0), nothing, tmp_path, jobs=1, version=4)
    file.write_text(json.dumps({"cell": cells_of(0)[0], "old": True}))
    assert run_grid(cells_of(0), nothing, tmp_path, jobs=1)[0]["old"]
    with pytest.raises(ValueError, match="version 1, expected version 3"):
        run_grid(cells_of(0), nothing, tmp_path, jobs=1, version=3)


@pytest.mark.parametrize(("text", "message"), [('{"cell": ', "not readable JSON"), ("{}", "something else than a grid")])
def test_a_file_that_is_no_result_is_named(tmp_path, text, message):
    (tmp_path / "a-seed0.json").write_text(text)
    with pytest.raises(ValueError, match=f"a-seed0.json.*{message}"):
        run_grid(cells_of(0), nothing, tmp_path, jobs=1)


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        (cells_of(1, 1), ValueError, "two cells have the name 'a' and the seed 1"),
        (cells_of(1, name="../a"), ValueError, "usable as a file's name, got '../a'"),
        (cells_of(1, name=""), ValueError, "usable as a file's name, got ''"),
        (cells_of("1"), TypeError, "must be an int, got '1'"),
    ],
)
def test_cells_that_cannot_be_told_apart_by_their_files_are_refused(tmp_path, cells, error, message):
    with pytest.raises(error, match=message):
        run_grid(cells, nothing, tmp_path, jobs=1)


@pytest.mark.parametrize("error", [FloatingPointError("out of luck"), SystemExit("out of luck")])
def test_a_failed_cell_keeps_the_others_and_its_traceback_until_it_succeeds(tmp_path, error):
    lucky = False

    def fail_at_one(cell):
        if cell["seed"] == 1 and not lucky:
            raise error
        return {}

    told = rf"1 of 3 cells failed[\s\S]*a-seed1.error.txt: {type(error).__name__}: out of luck"
    with pytest.raises(GridError, match=told):
        run_grid(cells_of(0, 1, 2), fail_at_one, tmp_path, jobs=1)
    files = ["a-seed0.json", "a-seed1.error.txt", "a-seed2.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert "in fail_at_one" in (tmp_path / "a-seed1.error.txt").read_text()
    lucky = True
    assert len(run_grid(cells_of(0, 1, 2), fail_at_one, tmp_path, jobs=1)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a-seed{seed}.json" for seed in range(3)]


@pytest.mark.parametrize(
    ("result", "message"), [({"version": 7}, "are the grid's own"), ({"value": {1, 2}}, "not JSON serializable")]
)
def test_a_result_that_cannot_be_kept_fails_its_cell(tmp_path, result, message):
    with pytest.raises(GridError, match=message):
        run_grid(cells_of(0), lambda cell: result, tmp_path, jobs=1)


def test_a_killed_workers_cell_is_run_again(tmp_path):
    cells = cells_of(0, 1, 2, tries=str(tmp_path / "tries"))
    results = run_grid(cells, die_the_first_time, tmp_path / "out", jobs=2)
    assert [result["square"] for result in results] == [0, 1, 4]
    assert tries_of(tmp_path / "tries", 1) == 2


def test_a_cell_that_always_kills_its_worker_fails_after_two_tries_and_takes_no_other_with_it(tmp_path):
    with pytest.raises(GridError, match=r"1 of 3 cells failed[\s\S]*a-seed1.error.txt: Its worker was killed twice"):
        run_grid(cells_of(0, 1, 2, tries=str(tmp_path / "tries")), always_die_in_company, tmp_path / "out", jobs=2)
    files = ["a-seed0.json", "a-seed1.error.txt", "a-seed2.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    assert tries_of(tmp_path / "tries", 1) == 2


def test_a_cell_that_another_process_runs_is_left_to_it(tmp_path):
    cells = cells_of(0, 1, signs=str(tmp_path))
    out = tmp_path / "out"
    told = r"1 of 2 cells failed[\s\S]*a-seed0.error.txt: .*another process is running it"
    with running_elsewhere(cells[0], out) as other, pytest.raises(GridError, match=told):
        run_grid(cells, square, out, jobs=1)
    theirs, ours = run_grid(cells, square, out, jobs=1)
    assert (theirs["process"], ours["process"]) == (other.pid, os.getpid())
    assert sorted(path.name for path in out.iterdir()) == ["a-seed0.json", "a-seed1.json"]


def test_a_cell_that_another_call_finished_meanwhile_is_taken_if_it_is_of_the_same_settings(tmp_path):
    def other_call(steps):
        """Finishes the second cell while the first is measured."""

        def measure(cell):
            run_grid(cells_of(1, steps=steps), lambda cell: {"theirs": True}, tmp_path, jobs=1)
            return {"theirs": False}

        return measure

    results = run_grid(cells_of(0, 1, steps=5), other_call(5), tmp_path, jobs=1)
    assert [result["theirs"] for result in results] == [False, True]
    for seed in range(2):
        (tmp_path / f"a-seed{seed}.json").unlink()
    with pytest.raises(ValueError, match=r"a-seed1.json .*other settings \(steps is 6 there, 5 here\)"):
        run_grid(cells_of(0, 1, steps=5), other_call(6), tmp_path, jobs=1)


def test_a_killed_process_does_not_keep_its_cells_from_others(tmp_path):
    (cell,) = cells_of(0, signs=str(tmp_path))
    out = tmp_path / "out"
    with running_elsewhere(cell, out) as other:
        other.kill()
    assert run_grid([cell], square, out, jobs=1)[0]["process"] == os.getpid()
    assert [path.name for path in out.iterdir()] == ["a-seed0.json"]


@contextmanager
def running_elsewhere(cell, out):
    """A process that has begun the cell, and finishes it afterwards unless it was killed; both tell by files in "signs"."""
    signs = Path(cell["signs"])
    other = multiprocessing.get_context("spawn").Process(target=run_grid, args=([cell], wait_for_go, out, 1))
    other.start()
    try:
        wait_for(signs / "begun")
        yield other
    finally:
        (signs / "go").touch()
        other.join()


def wait_for_go(cell):
    signs = Path(cell["signs"])
    (signs / "begun").touch()
    wait_for(signs / "go")
    return square(cell)


def wait_for(file):
    deadline = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not come"
        time.sleep(0.01)


def die_the_first_time(cell):
    if note_try(cell) == 1 and cell["seed"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(cell)


def always_die_in_company(cell):
    """Cell 1 kills its process, when it can while cell 0 runs beside it."""
    tried, seed = note_try(cell), cell["seed"]
    deadline = time.monotonic() + 2
    while seed < 2 and tries_of(Path(cell["tries"]), 1 - seed) < tried and time.monotonic() < deadline:
        time.sleep(0.02)
    if seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    return {}


def note_try(cell):
    """Which try of the cell this is, from 1."""
    folder = Path(cell["tries"])
    folder.mkdir(exist_ok=True)
    (folder / f"{cell['seed']}-{time.time_ns()}").touch()
    return tries_of(folder, cell["seed"])


def tries_of(folder, seed):
    return len(list(folder.glob(f"{seed}-*")))


def test_the_command_says_that_cells_failed(tmp_path, monkeypatch, capsys):
    def fail(cell):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(ablate, "measure", fail)
    assert cli.run(["ablate", "--out", str(tmp_path), "--seeds", "1", "--jobs", "1"]) == 1
    assert "cells failed" in capsys.readouterr().err
    assert cli.run(["ablate", "--out", str(tmp_path), "--seeds", "0"]) == 2


def test_the_ablation_accepts_the_results_in_the_repository(tmp_path, capsys):
    kept = Path(__file__).parents[2] / "docs" / "results" / "counting_choices"
    shutil.copytree(kept, tmp_path / "choices")
    assert cli.run(["ablate", "--out", str(tmp_path / "choices")]) == 0
    assert capsys.readouterr().out.strip() == (kept / "table.csv").read_text().strip()


def test_a_quick_ablation_has_two_rows_in_a_folder_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = {"updates_to_goal": None, "seconds_to_goal": None, "last_accuracy": 0.5, "milliseconds_per_update": 1.0}
    monkeypatch.setattr(ablate, "measure", lambda cell: found)
    monkeypatch.setattr(ablate, "run_grid", lambda cells, measure, *_: [measure(cell) | {"cell": cell} for cell in cells])
    (tmp_path / "runs/counting_choices-quick").mkdir(parents=True)
    assert cli.run(["ablate", "--quick"]) == 0
    rows = (tmp_path / "runs/counting_choices-quick/table.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["preset", "random actions only"]
    assert cli.run(["ablate", "--quick", "--out", "docs/results/counting_choices"]) == 2
    assert "--quick needs an --out other than" in capsys.readouterr().err


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
    first.write({"a": float("nan"), "b": np.float32("inf")}, {})
    rows = [{"a": "2.5", "b": "1", "c": ""}, {"a": "3.0", "b": "", "c": "4"}, {"a": "nan", "b": "inf", "c": ""}]
    assert list(csv.DictReader(path.open())) == rows
    json.dumps(first.rows, allow_nan=False)  # as a checkpoint keeps them
    text = path.read_text()
    ProgressCSV(path, first.rows)
    assert path.read_text() == text


def test_environment_options_are_python_literals_or_text():
    rest, env = split_env_options(
        ["counting", "--env.target", "2", "--env.reward=dense", "--seed", "1", "--env.render-mode", "None"]
    )
    assert rest == ["counting", "--seed", "1"]
    assert env == {"target": 2, "reward": "dense", "render_mode": None}
    assert split_env_options(["--env.pixels", "false", "--env.size=(3, [4])"]) == ([], {"pixels": False, "size": [3, [4]]})


@pytest.mark.parametrize("value", [2, "2", "true", "a b", "", None, True, -1.5, [1, "x"], {"a": [None]}])
def test_environment_options_give_the_keywords_again(value):
    assert split_env_options(env_options({"name": value})) == ([], {"name": value})
