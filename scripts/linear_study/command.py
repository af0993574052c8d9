"""``jepa-rl paper linear``: computes the raw tables, draws the figures and writes the page."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm.auto import tqdm

from jepa_rl.scripts.linear_study.experiments import jobs
from jepa_rl.scripts.linear_study.figures import draw_all
from jepa_rl.scripts.linear_study.page import page
from jepa_rl.scripts.linear_study.settings import QUICK, Study
from jepa_rl.scripts.linear_study.tables import Table, joined, read_table, write_table
from jepa_rl.scripts.run_folder import write_json

DEFAULT = Path("docs/results/linear")
QUICK_OUT = Path("runs/linear-quick")
FACTS = "study.json"


@dataclass(frozen=True, kw_only=True)
class LinearArgs:
    """Which features deep linear JEPA and MAE learn first (arXiv:2407.03475).

    Follows the ODEs, the matrix flow and minibatch descent, and compares them with the paper's critical times. Writes raw
    tables as CSV, five figures, and a page that explains them. About half a minute on one core.

    Example: jepa-rl paper linear --quick
    """

    out: Path | None = None
    """Folder of the raw tables: docs/results/linear by default, runs/linear-quick with --quick. The page and its figures go
    into it, as linear.md and figures/; with docs/results/linear they are docs/linear.md and docs/figures/linear."""
    render: bool = False
    """Only redraw figures and page from the raw tables in --out."""
    quick: bool = False
    """Coarse grids and few runs, in seconds, to see that everything works."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(LinearArgs, prog="jepa-rl paper linear", args=arguments)
    if args.render and args.quick:
        raise ValueError("--render computes nothing, so --quick means nothing to it; give one of them")
    out = args.out or (QUICK_OUT if args.quick else DEFAULT)
    if args.quick and out.resolve() == DEFAULT.resolve():
        raise ValueError(f"--quick needs an --out other than {DEFAULT}, which holds the documentation's results")
    if not args.render:
        compute(out, QUICK if args.quick else Study(), quick=args.quick)
    print(render(out))


def compute(out: Path, study: Study, *, quick: bool) -> None:
    """Run every experiment; raw tables and the settings go to ``out``."""
    began = time.perf_counter()
    parts: dict[str, list[Table]] = defaultdict(list)
    for job in tqdm(jobs(study), desc="experiments"):
        for name, piece in job().items():
            parts[name].append(piece)
    out.mkdir(parents=True, exist_ok=True)
    for name, pieces in parts.items():
        write_table(out / f"{name}.csv", joined(pieces))
    seconds = time.perf_counter() - began
    write_json(out / FACTS, {"quick": quick, "seconds": seconds, "study": dataclasses.asdict(study)})


def render(out: Path) -> Path:
    """Draw the figures and write the page from the raw tables in ``out``; returns the page's path."""
    if not (out / FACTS).exists():
        raise FileNotFoundError(f"no results in {out} ({FACTS} is missing): run without --render first")
    facts = json.loads((out / FACTS).read_text())
    tables = {path.stem: read_table(path) for path in sorted(out.glob("*.csv"))}
    standard = out.resolve() == DEFAULT.resolve()
    home = Path("docs/linear.md") if standard else out / "linear.md"
    figures = Path("docs/figures/linear") if standard else out / "figures"
    pictures = draw_all(tables)
    figures.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (figures / picture.name).write_bytes(picture.data)

    def link(path: Path) -> str:
        return Path(os.path.relpath(path, home.parent)).as_posix()

    home.write_text(page(tables, facts, pictures, figures=link(figures), raw=link(out), root=link(Path()) + "/"))
    return home
