"""--wandb is refused before anything is written where wandb cannot be reached."""

import shutil
import sys

import pytest
import wandb

from jepa_rl.scripts.cli import run
from jepa_rl.scripts.logs import require_wandb


def test_wandb_that_is_not_installed_leaves_no_folder_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run(["train", "default", "--wandb", "--out", str(tmp_path / "run")]) == 2
    assert "needs the wandb package: pip install 'jepa-rl[wandb]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_touched_where_it_cannot_be_resumed_with_wandb(counting_run, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(counting_run, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run(["resume", str(folder), "--wandb", "--total-timesteps", "500"]) == 2
    assert "needs the wandb package" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == (counting_run / "config.json").read_bytes()


def test_a_run_that_wandb_does_not_accept_can_go_on_without_it(tmp_path, monkeypatch, capsys):
    def begin(**_):
        raise wandb.errors.CommError("the server is away")

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(wandb, "init", begin)
    folder, short = tmp_path / "run", ["--quiet", "--episodes", "1"]
    assert run(["train", "default", "--wandb", "--out", str(folder), "--total-timesteps", "20", *short]) == 2
    assert f"the server is away; go on with --no-wandb, or with WANDB_MODE=offline: jepa-rl resume {folder}" in (
        capsys.readouterr().err
    )
    assert run(["resume", str(folder), "--quiet"]) == 2
    assert run(["resume", str(folder), "--quiet", "--no-wandb"]) == 0


def test_an_account_is_asked_for_only_online(monkeypatch):
    def login():
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "login", login)
    monkeypatch.setenv("WANDB_MODE", "offline")
    require_wandb()
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(ValueError, match="account, or WANDB_MODE=offline: No API key configured"):
        require_wandb()
