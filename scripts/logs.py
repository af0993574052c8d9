"""Where a run's log goes: progress.csv, TensorBoard, wandb; each is one output of Stable-Baselines3's logger."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import struct
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat


class ProgressCSV(KVWriter):
    """progress.csv: one row per log, columns in order of appearance, then by name.

    Stable-Baselines3's own writer empties the file when it opens it and orders new columns at random, so a resumed run
    could neither go on nor be compared. ``rows`` is what a checkpoint keeps and a resumed run starts from.
    """

    def __init__(self, path: Path, rows: list[dict[str, Any]]) -> None:
        self.path = path
        self.rows = rows
        self.columns: list[str] = []
        for row in rows:
            self._add_columns(row)
        self._rewrite()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        row = {name: _cell(value) for name, value in key_values.items() if "csv" not in (key_excluded.get(name) or ())}
        self.rows.append(row)
        if self._add_columns(row):
            self._rewrite()
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns).writerow(row)

    def close(self) -> None:
        """Nothing is held open."""

    def _add_columns(self, row: dict[str, Any]) -> bool:
        new = sorted(set(row) - set(self.columns))
        self.columns += new
        return bool(new)

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        if self.columns:
            writer.writeheader()
        writer.writerows(self.rows)
        self.path.write_text(text.getvalue(), newline="")


def _cell(value: Any) -> Any:
    """The value as a checkpoint can keep it; what is not finite, which JSON does not know, as its text."""
    value = value.item() if isinstance(value, np.generic) else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def require_wandb() -> None:
    """Raise ImportError or ValueError, saying what to do, where wandb is not installed or knows no account."""
    try:
        import wandb
    except ImportError as error:
        raise ImportError("--wandb needs the wandb package: pip install 'jepa-rl[wandb]'") from error
    if os.environ.get("WANDB_MODE", "online") != "online":
        return
    try:
        wandb.login()
    except wandb.errors.Error as error:
        raise ValueError(f"--wandb needs an account, or WANDB_MODE=offline: {error}") from error


class FilmOutput(ABC):
    """An output that shows films as well as figures."""

    @abstractmethod
    def show_film(self, name: str, path: Path, step: int) -> None:
        """Show the GIF at ``path``, taken after ``step`` environment steps."""


class TensorBoardOutput(TensorBoardOutputFormat, FilmOutput):
    """TensorBoard; films stand among its images.

    Stable-Baselines3's Video would have TensorBoard encode the film anew, which needs moviepy.
    """

    def show_film(self, name: str, path: Path, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        data = path.read_bytes()
        width, height = struct.unpack("<HH", data[6:10])  # where the format has them
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=data)
        assert self.writer.file_writer is not None
        self.writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)
        self.writer.flush()


class WandbOutput(KVWriter, FilmOutput):
    """Weights & Biases as one more output. Works without an account when WANDB_MODE=offline."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        require_wandb()
        import wandb

        try:
            self._run = wandb.init(
                project="jepa_rl", dir=str(folder), name=folder.name, config=config, id=_wandb_id(folder), resume="allow"
            )
        except wandb.errors.Error as error:
            way_on = f"go on with --no-wandb, or with WANDB_MODE=offline: jepa-rl resume {folder}"
            raise ValueError(f"wandb cannot begin a run: {error}; {way_on}") from error

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self._run.log(key_values, step=step)

    def show_film(self, name: str, path: Path, step: int) -> None:
        import wandb

        self._run.log({name: wandb.Video(str(path))}, step=step)

    def close(self) -> None:
        self._run.finish()


def _wandb_id(folder: Path) -> str:
    """The id of the folder's run at Weights & Biases, alike for every process that goes on with it."""
    file = folder / "wandb-id"
    if not file.exists():
        file.write_text(uuid.uuid4().hex)
    return file.read_text()


def make_logger(
    folder: Path, progress: list[dict[str, Any]], config: dict[str, Any], *, wandb: bool
) -> tuple[Logger, ProgressCSV]:
    """The logger of a run whose log so far is ``progress``, and its CSV output."""
    table = ProgressCSV(folder / "progress.csv", progress)
    outputs: list[KVWriter] = [table]
    # TensorBoard comes with the "report" extra; progress.csv has the same numbers.
    with contextlib.suppress(AssertionError):
        outputs.append(TensorBoardOutput(str(folder / "tensorboard")))
    if wandb:
        outputs.append(WandbOutput(folder, config))
    return Logger(str(folder), outputs), table
