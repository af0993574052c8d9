"""``jepa-rl paper alignment``: every run of the study, resumable, and the page that reports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.scripts.alignment_study.evidence import Evidence
from jepa_rl.scripts.alignment_study.measure import train_and_measure
from jepa_rl.scripts.alignment_study.page import render, table_of
from jepa_rl.scripts.alignment_study.rows import SEEDS, cells, quick_cells
from jepa_rl.scripts.alignment_study.summary import Results
from jepa_rl.scripts.grid import run_grid
from jepa_rl.scripts.grid_args import GridArgs

VERSION = 1  # of the result files; goes up when the same settings no longer give the same entries
RESULTS = Path("docs/results/alignment")
PAGE = Path("docs/alignment.md")
EVIDENCE = Path("scripts/alignment_study/evidence.json")


@dataclass(frozen=True, kw_only=True)
class AlignmentArgs(GridArgs):
    """Which auxiliary tasks help, which harm, and whether the angle of their gradients foretells it.

    Trains the counting setting with twelve auxiliaries, from well aligned to plain noise: alone and beside the reward, with
    weights over decades, in pairs, and with weights that are found automatically. Looks at the encoder's gradients early
    and late, and measures the final weights on held-out images. A run that is finished is not run again, so that the
    command can be stopped and started.

    Examples:
      jepa-rl paper alignment --quick
      jepa-rl paper alignment --jobs 2
      jepa-rl paper alignment --render
    """

    seeds: int = SEEDS
    """Seeds of every run; what they are set against has at least five."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Six runs of the grid with one seed, and a table of them: under five minutes on two cores."""
    evidence: Path | None = None
    """The file to write the findings to that jepa-rl advise rests on: that of the package for the results of the
    documentation, evidence.json beside any others."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(AlignmentArgs, prog="jepa-rl paper alignment", args=arguments)
    out, page = args.places(RESULTS, PAGE)
    if args.quick and args.render:
        raise ValueError("--quick and --render exclude each other: the page needs the whole grid")
    if not args.render:
        grid = quick_cells() if args.quick else cells(args.seeds)
        print(table_of(run_grid(grid, train_and_measure, out, args.jobs, args.backend, VERSION)))
    if not args.quick:
        results = Results.load(out)
        evidence = Evidence.of(results)
        print(f"wrote {render(results, evidence, page)}")
        found = args.evidence or (EVIDENCE if out.resolve() == RESULTS.resolve() else out / EVIDENCE.name)
        evidence.write(found)
        print(f"wrote {found}")
