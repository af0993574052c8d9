"""``jepa-rl ablate``: what each choice of the counting preset buys, by switching it off once."""

from __future__ import annotations

import csv
import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.agent import JEPAAgent, preset
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.evaluate import HELDOUT_IMAGES, heldout_latents
from jepa_rl.scripts.grid import Backend, Cell, run_grid
from jepa_rl.scripts.grid_args import results_folder
from jepa_rl.scripts.train import overridden
from jepa_rl.world_model import diagnostics

GOAL = 0.95  # held-out accuracy
LOOK_EVERY = 1_000  # environment steps between two looks at it
QUICK_STEPS = 4_000
QUICK = ("preset", "random actions only")
DEFAULT = Path("docs/results/counting_choices")
RESULT_VERSION = 1  # goes up when the same settings no longer give the same entries

CHOICES: dict[str, tuple[str, ...]] = {
    "preset": (),
    "no contrast normalisation": ("--model.encoder.contrast", "none"),
    "plain L_dyn": ("--model.dynamics.no-scale-free",),
    "no prioritised windows": ("--replay.prioritised-fraction", "0"),
    "heads on encoded latents only": ("--model.no-imagined-heads",),
    "8x8 stride-4 convolution first": (
        "--model.encoder.convolutions",
        *("32", "8", "4", "0"),
        *("64", "3", "2", "0"),
        *("64", "3", "1", "0"),
    ),
    "learning rate halved": ("--training.learning-rate", "1e-3"),
    "random actions only": ("--exploration.kind", "random"),
}


@dataclass(frozen=True, kw_only=True)
class AblateArgs:
    """Train the counting preset with each of its choices switched off, until held-out accuracy 0.95 or ``--steps``.

    Finished runs are skipped. Writes one JSON per run and table.csv: updates and seconds to 0.95, medians over seeds.

    Examples:
      jepa-rl ablate --quick
      jepa-rl ablate --seeds 3 --jobs 2
    """

    out: Path | None = None
    """docs/results/counting_choices by default, runs/counting_choices-quick with --quick."""
    seeds: int = 3
    steps: int = 20_000
    """Environment steps after which a run that is not there yet gives up; its schedules are those of the whole preset."""
    jobs: int = 2
    """Runs side by side; the cores are shared among them."""
    backend: Backend = "local"
    """Where they run: processes here, or tasks with one core each on a Ray cluster that sees ``--out``."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Two rows, one seed, 4,000 steps: a minute."""


class AccuracyProbe(BaseCallback):
    """Looks at the held-out accuracy every ``LOOK_EVERY`` steps; stops at ``GOAL`` or after ``steps``."""

    def __init__(self, env_id: str, steps: int) -> None:
        super().__init__()
        self.env_id = env_id
        self.steps = steps
        self.curve: list[tuple[int, float, float]] = []  # updates, seconds of training, accuracy
        self.looking = 0.0

    def _on_step(self) -> bool:
        agent = self.model
        assert isinstance(agent, JEPAAgent)
        if not agent.crossed(LOOK_EVERY):
            return True
        began = time.perf_counter()
        held = heldout_latents(agent, lambda: make_env(self.env_id), HELDOUT_IMAGES, seed=0)
        assert held is not None
        accuracy = diagnostics.heldout_accuracy(held.latent, held.count)
        self.curve.append((agent._n_updates, agent.wall_seconds - self.looking, accuracy))
        self.looking += time.perf_counter() - began
        return accuracy < GOAL and agent.num_timesteps < self.steps


def measure(cell: Cell) -> dict[str, Any]:
    """Train one variant with one seed."""
    chosen = preset("counting")
    probe = AccuracyProbe(chosen.env_id, cell["steps"])
    agent = JEPAAgent(overridden(chosen.agent, cell["options"]), lambda: make_env(chosen.env_id), seed=cell["seed"])
    agent.learn(chosen.total_timesteps, callback=probe)
    updates, seconds, accuracy = probe.curve[-1]
    reached = accuracy >= GOAL
    return {
        "updates_to_goal": updates if reached else None,
        "seconds_to_goal": seconds if reached else None,
        "last_accuracy": accuracy,
        "updates": agent._n_updates,
        "milliseconds_per_update": 1000 * seconds / max(updates, 1),
        "curve": probe.curve,
    }


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(AblateArgs, prog="jepa-rl ablate", args=arguments)
    out = results_folder(args.out, DEFAULT, seeds=args.seeds, quick=args.quick)
    if not LOOK_EVERY <= args.steps <= preset("counting").total_timesteps:
        raise ValueError(
            f"--steps must lie between {LOOK_EVERY:,}, where accuracy is first looked at, and the preset's "
            f"{preset('counting').total_timesteps:,}, got {args.steps:,}"
        )
    choices = {name: CHOICES[name] for name in QUICK} if args.quick else CHOICES
    base = preset("counting").agent
    cells: list[Cell] = [
        {
            "name": slug(name),
            "seed": seed,
            "steps": QUICK_STEPS if args.quick else args.steps,
            "options": list(options),
            "agent": dataclasses.asdict(overridden(base, options)),
        }
        for seed in range(1 if args.quick else args.seeds)
        for name, options in choices.items()
    ]
    results = run_grid(cells, measure, out, args.jobs, args.backend, RESULT_VERSION)
    rows = [summarise(name, [r for r in results if r["cell"]["name"] == slug(name)]) for name in choices]
    with (out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print((out / "table.csv").read_text())


def slug(name: str) -> str:
    """A choice's name as part of a file's name."""
    return name.replace(" ", "_")


def summarise(name: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over seeds; a run that never got there counts as slower than any that did."""
    reached = [result for result in results if result["updates_to_goal"] is not None]

    def median(key: str) -> str:
        values = [result[key] if result[key] is not None else float("inf") for result in results]
        middle = statistics.median(values)
        return "not reached" if middle == float("inf") else f"{middle:.0f}"

    return {
        "choice": name,
        "reached": f"{len(reached)} of {len(results)}",
        "updates to 0.95": median("updates_to_goal"),
        "seconds to 0.95": median("seconds_to_goal"),
        "last accuracy (median)": f"{statistics.median(r['last_accuracy'] for r in results):.3f}",
        "ms per update (median)": f"{statistics.median(r['milliseconds_per_update'] for r in results):.1f}",
    }
