"""``jepa-rl advise``: how each loss of a run pulls the encoder, and what the alignment study suggests to change."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.alignment_study.advice import Reading, limits, study_base, suggestions
from jepa_rl.scripts.alignment_study.evidence import Evidence
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.world_model import Batch, ModelConfig, loss_weights
from jepa_rl.world_model.alignment import encoder_pulls, gradient_shares, trains_encoder

COLLECTED = 2_000  # environment steps, where the checkpoint has no replay

Source = Literal["replay", "collected"]


@dataclass(frozen=True, kw_only=True)
class AdviseArgs:
    """How each loss of a run pulls the encoder, and what the alignment study suggests to change; nothing is changed.

    Example: jepa-rl advise runs/demo --batches 64
    """

    run: tyro.conf.Positional[Path]
    """The run's folder; its last checkpoint is read."""
    batches: int = 32
    """Batches that cosines are averaged over."""
    windows: int = 64
    """Windows of each batch, as training draws them."""
    updates_between: int = 3
    """Updates that a copy of the agent takes between two batches: a cosine swings from one update to the next, so that one
    moment tells little. 0 measures the checkpoint as it is. Nothing is saved."""
    seed: int = 0
    """Decides which windows are drawn."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON instead of a table."""
    device: str = "auto"
    """auto takes a GPU where torch finds one; cpu, cuda."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What was measured, what it suggests, and what it does not say."""

    run: str
    updates: int  # that the checkpoint has
    updates_measured: int  # further ones of a copy, over which the figures are means
    progress: float  # share of the run's environment steps that are done
    source: Source  # of the windows
    transitions: int  # that the windows are drawn from
    weighting: str
    reference: str  # the loss that cosines are with
    readings: tuple[Reading, ...]
    suggestions: tuple[str, ...]
    limits: tuple[str, ...]


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(AdviseArgs, prog="jepa-rl advise", args=arguments)
    for name in ("batches", "windows"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(args, name)}")
    for name in ("updates_between", "seed"):
        if getattr(args, name) < 0:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 0, got {getattr(args, name)}")
    found = advise(
        RunFolder.open(args.run),
        batches=args.batches,
        windows=args.windows,
        updates_between=args.updates_between,
        seed=args.seed,
        device=args.device,
    )
    print(json.dumps(dataclasses.asdict(found), indent=2) if args.json else text(found))


def advise(run: RunFolder, *, batches: int, windows: int, updates_between: int, seed: int, device: str) -> Advice:
    """Measure the run's last checkpoint; ValueError where it has nothing to compare."""
    config = run.config()
    reference = reference_of(config.agent.model)
    agent = run.load_agent(env=True, device=device)
    updates, steps = agent._n_updates, min(agent.num_timesteps, config.total_timesteps)
    progress, source = steps / config.total_timesteps, _fill(agent)
    agent._update_current_progress_remaining(steps, config.total_timesteps)  # where the learning rate's schedule is
    readings = measure(agent, reference, batches=batches, windows=windows, updates_between=updates_between, seed=seed)
    evidence, model = Evidence.kept(), config.agent.model
    return Advice(
        run=str(run.path),
        updates=updates,
        updates_measured=agent._n_updates - updates,
        progress=progress,
        source=source,
        transitions=len(agent.replay),
        weighting=model.weighting,
        reference=reference,
        readings=readings,
        suggestions=suggestions(readings, model, evidence, progress),
        limits=limits(evidence, study_base(model), one_moment=not updates_between),
    )


def reference_of(config: ModelConfig) -> str:
    """The loss whose gradient the others are compared with: L_dyn, or masked prediction where that is all there is.

    Raises ValueError for a model without either of them, or without any task.
    """
    weights = loss_weights(config)
    if not any(name in weights for name in config.tasks):
        raise ValueError("the run has no task beside its dynamics (every weight is 0): there is nothing to compare")
    for name in ("dynamics", "masked"):
        if name in weights:
            return name
    raise ValueError(
        "the run has neither L_dyn nor masked prediction (model.dynamics.weight and model.masked.weight are 0): there is "
        "nothing to compare its tasks with"
    )


def measure(
    agent: JEPAAgent, reference: str, *, batches: int, windows: int, updates_between: int, seed: int
) -> tuple[Reading, ...]:
    """One reading for each loss in use; the agent goes on training by ``updates_between`` between two batches."""
    config, rng = agent.config.model, np.random.default_rng(seed)

    def drawn() -> Iterator[Batch]:
        for index in range(batches):
            agent.train(updates_between if index else 0)
            yield agent.replay.sample(windows, agent.config.training.transitions, rng).to(agent.device)

    found = encoder_pulls(
        agent.model,
        agent.learner.ema,
        drawn(),
        config,
        reference=reference,
        discount=agent.config.discount,
        generator=torch.Generator().manual_seed(seed),
    )
    weights = loss_weights(config) | agent.learner.learned_weights()
    shares = gradient_shares({name: pull.norm for name, pull in found.items()}, weights, config)
    return tuple(
        Reading(
            loss_name=name,
            weight=weights[name],
            trains_encoder=trains_encoder(name, config),
            loss=pull.loss,
            share=shares[name],
            cosine=pull.cosine,
            standard_error=pull.standard_error,
            batches=pull.batches,
        )
        for name, pull in found.items()
    )


def _fill(agent: JEPAAgent) -> Source:
    """See to it that the agent has transitions to draw from, without training on them."""
    if len(agent.replay):
        return "replay"
    training = dataclasses.replace(agent.config.training, starts=agent.steps_taken + COLLECTED)  # no update comes due
    agent.config = dataclasses.replace(agent.config, training=training)
    agent.learn(COLLECTED, reset_num_timesteps=False)
    return "collected"


def text(found: Advice) -> str:
    """The advice as a person reads it."""
    origin = {
        "replay": f"the run's replay of {found.transitions:,} transitions",
        "collected": f"{found.transitions:,} transitions collected now, because the checkpoint has no replay",
    }[found.source]
    how = {
        "fixed": "weights are fixed",
        "uncertainty": "weights are learned; shown as they are by now",
        "pcgrad": "weights are fixed; shares are those before conflicting gradients are projected",
    }[found.weighting]
    header = f"{'term':<20} {'cosine':>16} {'batches':>8} {'share':>7} {'weight':>9} {'loss':>10}  trains the encoder"
    lines = [
        f"{found.run}: {found.updates:,} updates, {100 * found.progress:.0f} % of training, and {found.updates_measured} "
        f"more of a copy; windows from {origin}; {how}",
        "",
        header,
    ]
    for each in found.readings:
        lines.append(
            f"{each.loss_name:<20} {_cosine(each, found.reference):>16} {each.batches:>8} {100 * each.share:>5.1f} % "
            f"{each.weight:>9.3g} {each.loss:>10.4g}  {'yes' if each.trains_encoder else 'no'}"
        )
    lines += ["", f"cosine: with the gradient of {found.reference} on the encoder, ± standard error over batches"]
    lines += ["", "Suggestions:", *(f"- {each}" for each in found.suggestions)]
    return "\n".join([*lines, "", "What this cannot support:", *(f"- {each}" for each in found.limits)])


def _cosine(reading: Reading, reference: str) -> str:
    if reading.loss_name == reference or reading.cosine is None:
        return "-"
    error = "" if reading.standard_error is None else f" ± {reading.standard_error:.2f}"
    return f"{reading.cosine:+.2f}{error}"
