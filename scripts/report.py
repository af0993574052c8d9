"""``jepa-rl report``: one or more runs as figures and a self-contained HTML page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from jepa_rl.agent import CheckpointError, JEPAAgent
from jepa_rl.scripts.evaluate import HELDOUT_IMAGES, HELDOUT_SEED, heldout_latents
from jepa_rl.scripts.reporting.exhibits import (
    Log,
    decoder_exhibit,
    health_exhibit,
    latent_exhibits,
    learning_exhibit,
    prediction_exhibits,
    read_log,
)
from jepa_rl.scripts.reporting.facts import COMPARED, differing, facts, headline, measured, read_result, settings
from jepa_rl.scripts.reporting.film import Frame, film, play
from jepa_rl.scripts.reporting.imagination import encode, record
from jepa_rl.scripts.reporting.page import Comparison, Exhibit, Section, render, write_pictures
from jepa_rl.scripts.reporting.views import NoPicturesError, image_reader
from jepa_rl.scripts.run_folder import RunFolder

TRANSITIONS = 1_600  # in each of the two recordings, one to fit the decoder and one to judge by
# Base seeds apart from those of training, of the evaluation and of the held-out images.
DECODER_SEED, JUDGED_SEED, FILM_SEED = 3 * HELDOUT_SEED, 4 * HELDOUT_SEED, 5 * HELDOUT_SEED


@dataclass(frozen=True, kw_only=True)
class ReportArgs:
    """Figures and an HTML page of one run, or of several with a comparison; what is not trained yet is left out.

    Example: jepa-rl report runs/seed0 runs/seed1 --out comparison.html
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The runs' folders; in them only report.html and figures/ are written."""
    out: Path | None = None
    """The HTML file; by default report.html in the first run's folder."""
    device: str = "auto"
    """auto takes a GPU where torch finds one; cpu, cuda."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(ReportArgs, prog="jepa-rl report", args=arguments)
    print(f"report: {write_report([RunFolder.open(run) for run in args.runs], args.out, device=args.device)}")


def write_report(runs: Sequence[RunFolder], out: Path | None = None, *, device: str = "auto") -> Path:
    """Write the page and every picture; return the page's path.

    Pictures go to each run's figures/, those of the comparison to the first run's.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    began, labels = time.perf_counter(), _labels(runs)
    comparison = _compare(labels, runs) if len(runs) > 1 else None
    threads = torch.get_num_threads()
    # Thousands of small operations: a second thread gains next to nothing, and waits wherever the processor is shared.
    torch.set_num_threads(1)
    try:
        sections = [_section(label, run, device) for label, run in zip(labels, runs, strict=True)]
    finally:
        torch.set_num_threads(threads)
    title = f"{runs[0].config().preset} · {labels[0]}" if len(runs) == 1 else f"{len(runs)} runs compared"
    lead = "A world model trained from its own rollouts, and the planner that acts in its latent space."
    out = out or runs[0].path / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(title, lead, comparison, sections), encoding="utf-8")
    print(f"written in {time.perf_counter() - began:.0f} s")
    return out


def _labels(runs: Sequence[RunFolder]) -> list[str]:
    """The folders' names, or whole paths where two are the same."""
    names = [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _compare(labels: Sequence[str], runs: Sequence[RunFolder]) -> Comparison:
    print("comparing the runs")
    logs: dict[str, Log] = {label: read_log(run.progress) for label, run in zip(labels, runs, strict=True)}
    configs = {label: run.config() for label, run in zip(labels, runs, strict=True)}
    rows = {}
    for label, run in zip(labels, runs, strict=True):
        result = read_result(run)
        found = measured(result) if result else {}
        rows[label] = {name: found[name] for name in COMPARED if name in found} or {"success": "not finished"}
    curves = learning_exhibit(logs, {label: config.agent.model for label, config in configs.items()}, prefix="comparison")
    exhibits = [curves] if curves else []
    write_pictures(runs[0].figures, exhibits)
    return Comparison(rows=rows, differing=differing(configs), exhibits=exhibits)


def _section(label: str, run: RunFolder, device: str) -> Section:
    config = run.config()
    exhibits: list[Exhibit] = []
    notes: list[str] = []
    print(f"{label}: learning curves")
    log = read_log(run.progress)
    curves = learning_exhibit({label: log}, {label: config.agent.model})
    if curves is None:
        notes.append("Learning curves: nothing has been logged yet.")
    else:
        exhibits.append(curves)
    health = health_exhibit(log, config.agent.training.max_gradient_norm)
    if health is not None:
        exhibits.append(health)
    try:
        agent = run.load_agent(device=device)
    except CheckpointError:
        if run.checkpoint.is_file():
            raise
        notes.append("Everything that needs the trained agent: the run has no checkpoint yet.")
    else:
        shown, missing = _agent_exhibits(label, run, agent)
        exhibits += shown
        notes += missing
    write_pictures(run.figures, exhibits)
    result = read_result(run)
    return Section(
        title=label,
        headline=headline(result) if result else "",
        facts=facts(config, result, logged_steps=_last_step(log)),
        settings=settings(config),
        exhibits=exhibits,
        notes=notes,
    )


def _last_step(log: Log) -> int:
    return max((int(steps[-1]) for steps, _ in log.values()), default=0)


def _agent_exhibits(label: str, run: RunFolder, agent: JEPAAgent) -> tuple[list[Exhibit], list[str]]:
    """What a trained agent shows on held-out episodes, and sentences on what it cannot."""
    config, factory = run.config(), run.config().factory()
    notes: list[str] = []
    print(f"{label}: an episode")
    exhibits = []
    try:
        frames = play(agent, config, seed=FILM_SEED)
        exhibits.append(_film_exhibit(frames, foresees_ends="termination" in agent.model.heads))
    except NoPicturesError as reason:
        notes.append(f"An episode: {reason}.")
    print(f"{label}: latents")
    held = heldout_latents(agent, factory, HELDOUT_IMAGES, seed=0)
    if held is not None:
        exhibits += latent_exhibits(held)
    else:
        notes.append("Latents by class: the environment's info has no count to colour them by.")
    print(f"{label}: held-out predictions")
    unseen = record(agent, factory, transitions=TRANSITIONS, seed=JUDGED_SEED)
    predictions, missing = prediction_exhibits(agent, unseen, encode(agent.acting_model, unseen.observation))
    exhibits += predictions
    notes += missing
    read = image_reader(agent.observation_adapter.spec)
    if read is not None:
        print(f"{label}: decoder")
        seen = record(agent, factory, transitions=TRANSITIONS, seed=DECODER_SEED)
        exhibits.append(decoder_exhibit(agent, read, seen, unseen, held))
    else:
        notes.append("Decoded observations: they hold no images.")
    return exhibits, notes


def _film_exhibit(frames: Sequence[Frame], *, foresees_ends: bool) -> Exhibit:
    blind = "" if foresees_ends else " This model has no termination head: it imagines on beyond the episode's end."
    return Exhibit(
        title="The agent at work",
        caption=(
            "Held-out episodes, always taking the best plan. The bars are the rewards that the model expects along the "
            "plan made at that moment, over the names of its actions; a good agent foresees the reward from the first "
            f"frame on, and then gets it.{blind}"
        ),
        pictures=[film(frames)],
    )
