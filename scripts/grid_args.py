"""What the commands that run a grid of training runs and write a page have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.grid import Backend


@dataclass(frozen=True, kw_only=True)
class GridArgs:
    """Options of the command line; a study adds its own and says what ``quick`` is."""

    seeds: int
    """Seeds of every run."""
    out: Path | None = None
    """Folder of the raw results: that of the documentation by default, runs/STUDY-quick with --quick. Several processes or
    machines may fill one: each leaves to the others what they are running."""
    jobs: int = 2
    """Runs side by side; the cores are shared among them."""
    backend: Backend = "local"
    """local: processes on this machine; ray: a Ray cluster (pip install "jepa-rl[ray]")."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    render: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only remake the page and its figures from the results that are there."""
    page: Path | None = None
    """The page to write; its figures go to figures/STUDY beside it. That of the documentation for the documentation's
    results, otherwise in the folder of the results."""

    def places(self, results: Path, page: Path) -> tuple[Path, Path]:
        """The folder of the results and the page, where the documentation has ``results`` and ``page``.

        Raises as ``results_folder`` does.
        """
        out = results_folder(self.out, results, seeds=self.seeds, quick=self.quick)
        return out, self.page or (page if out.resolve() == results.resolve() else out / page.name)


def results_folder(out: Path | None, results: Path, *, seeds: int, quick: bool) -> Path:
    """Where a study's raw results go, whose documentation has them in ``results``.

    Raises ValueError for less than one seed, and for quick runs among the documentation's results.
    """
    if seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {seeds}")
    out = out or (Path("runs") / f"{results.name}-quick" if quick else results)
    if quick and out.resolve() == results.resolve():
        raise ValueError(f"--quick needs an --out other than {results}, which holds the documentation's results")
    return out
