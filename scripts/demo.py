"""``jepa-rl demo``: the counting preset from nothing to a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from jepa_rl.scripts import resume, train
from jepa_rl.scripts.report import write_report
from jepa_rl.scripts.reporting.facts import measured, read_result
from jepa_rl.scripts.run_folder import RunFolder

SHOWN = ("success", "held-out accuracy", "ARI", "training", "evaluation", "report", "peak memory", "update / bare")


@dataclass(frozen=True, kw_only=True)
class DemoArgs:
    """Train the counting preset, evaluate it and write its report. A finished run is used again, a stopped one goes on.

    Example: jepa-rl demo --seed 1 --out runs/demo1
    """

    out: Path = Path("runs/demo")
    """The run's folder."""
    seed: int = 0
    """Decides every random choice: the same seed gives the same run."""
    total_timesteps: int | None = None
    """Environment steps; by default those of the preset, or of the run that is there."""
    device: str = "auto"
    """auto takes a GPU where torch finds one; cpu, cuda."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(DemoArgs, prog="jepa-rl demo", args=arguments)
    run = finished_run(args)
    began = time.perf_counter()
    page = write_report([run], device=args.device)
    report_seconds = time.perf_counter() - began
    result = read_result(run)
    assert result is not None
    rows = measured(result) | {"report": f"{report_seconds:.0f} s"}
    print("\n" + "\n".join(f"{name:<18}  {rows[name]}" for name in SHOWN if name in rows))
    print(f"\nreport: {page}")


def finished_run(args: DemoArgs) -> RunFolder:
    """The trained and evaluated run in ``args.out``, whatever of it there was before.

    Raises ValueError where the folder holds a run of another seed, preset or length.
    """
    options = ["--device", args.device]
    if args.total_timesteps is not None:
        options += ["--total-timesteps", str(args.total_timesteps)]
    if not (args.out / "config.json").is_file():
        train.main(["counting", "--out", str(args.out), "--seed", str(args.seed), *options])
        return RunFolder.open(args.out)
    run = RunFolder.open(args.out)
    config = run.config()
    wanted = ("counting", args.seed, args.total_timesteps or config.total_timesteps)
    if (config.preset, config.seed, config.total_timesteps) != wanted:
        raise ValueError(
            f"{args.out} holds a run of preset {config.preset}, seed {config.seed} and {config.total_timesteps} steps; "
            "choose another --out"
        )
    if run.result.is_file():
        print(f"{args.out} is trained already")
    else:
        resume.main([str(args.out), *options])
    return run
