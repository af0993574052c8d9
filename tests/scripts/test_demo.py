"""The demo trains once, goes on where it was stopped, and uses again what is finished."""

import json
import shutil

import pytest

from jepa_rl.scripts import demo
from jepa_rl.scripts.cli import run

pytestmark = pytest.mark.usefixtures("small_reports")


def test_it_trains_evaluates_and_reports(tmp_path):
    first = tmp_path / "run"
    assert run(["demo", "--out", str(first), "--seed", "3", "--total-timesteps", "320"]) == 0
    result = json.loads((first / "result.json").read_text())
    assert (result["preset"], result["seed"], result["env_steps"]) == ("counting", 3, 320)
    assert result["episodes"] == 200
    assert result["evaluation_seconds"] > 0
    assert (first / "report.html").is_file()
    assert (first / "figures" / "episode.gif").is_file()


def test_a_finished_run_is_not_trained_again(counting_run, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(counting_run, folder)
    before = (folder / "result.json").read_bytes(), (folder / "checkpoint" / "agent.zip").read_bytes()
    monkeypatch.setattr(demo.train, "main", None)
    monkeypatch.setattr(demo.resume, "main", None)
    monkeypatch.setattr(demo, "write_report", lambda runs, device: runs[0].path / "page.html")
    assert run(["demo", "--out", str(folder), "--seed", "3"]) == 0
    assert ((folder / "result.json").read_bytes(), (folder / "checkpoint" / "agent.zip").read_bytes()) == before
    output = capsys.readouterr().out
    shown = dict(line.split("  ", 1) for line in output.splitlines() if "  " in line)
    assert set(demo.SHOWN) == {name.strip() for name in shown}
    assert str(folder / "page.html") in output.splitlines()[-1]


def test_a_stopped_run_goes_on_from_its_checkpoint(counting_run, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(counting_run, folder)
    (folder / "result.json").unlink()
    monkeypatch.setattr(demo.train, "main", None)
    monkeypatch.setattr(demo, "write_report", lambda runs, device: runs[0].path)
    assert run(["demo", "--out", str(folder), "--seed", "3"]) == 0
    again, before = (json.loads((path / "result.json").read_text()) for path in (folder, counting_run))
    assert again["env_steps"] == before["env_steps"] == 400
    assert again["heldout_accuracy"] == before["heldout_accuracy"]


@pytest.mark.parametrize("options", [["--seed", "4"], ["--seed", "3", "--total-timesteps", "640"]])
def test_another_run_in_the_folder_is_refused(counting_run, capsys, options):
    assert run(["demo", "--out", str(counting_run), *options]) == 2
    assert "holds a run of preset counting, seed 3 and 400 steps" in capsys.readouterr().err
