"""--wandb is refused before anything is written where wandb cannot be reached."""

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


def test_an_account_is_asked_for_only_online(monkeypatch):
    def login():
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "login", login)
    monkeypatch.setenv("WANDB_MODE", "offline")
    require_wandb()
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(ValueError, match="account, or WANDB_MODE=offline: No API key configured"):
        require_wandb()
