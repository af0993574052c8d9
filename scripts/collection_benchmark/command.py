"""``jepa-rl benchmark collection``: whether environments in processes of their own are worth it."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from jepa_rl.scripts.collection_benchmark.measure import collecting, measure, table
from jepa_rl.scripts.run_folder import write_json

RESULTS = Path("runs/collection")
BUSY = 0.5  # processes per core


@dataclass(frozen=True, kw_only=True)
class CollectionArgs:
    """Environment steps a second that JEPAAgent collects from an environment that sleeps in every step.

    From one environment, and from eight in DummyVecEnv, which waits for one after the other, and in SubprocVecEnv, where
    they sleep side by side. The agent plans every action and takes no updates. Rounds alternate in one process; the
    figures are medians. Ten seconds and the start of eight processes.

    Example: jepa-rl benchmark collection --sleep-ms 20
    """

    sleep_ms: float = 5.0
    """Milliseconds that a step takes."""
    rounds: int = 5
    """Times that each way is timed."""
    out: Path = RESULTS
    """Folder of collection.json."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(CollectionArgs, prog="jepa-rl benchmark collection", args=arguments)
    if args.sleep_ms < 0:
        raise ValueError(f"--sleep-ms must be at least 0, got {args.sleep_ms:g}")
    if args.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, got {args.rounds}")
    load = os.getloadavg()[0]
    # Once in the server that processes are forked from, instead of once in each of them.
    multiprocessing.set_forkserver_preload(["stable_baselines3"])
    found = measure(collecting(), args.sleep_ms / 1_000, args.rounds)
    about = {
        "sleep_ms": args.sleep_ms,
        "measured": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": load,  # processes that wanted a core in the minute before
    }
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "collection.json", about | found)
    print(f"{table(found)}\n\nwrote {args.out / 'collection.json'}")
    if load > BUSY * (os.cpu_count() or 1):
        print(f"the machine was busy (load {load:.1f}): waiting for cores hides what waiting for environments costs")
