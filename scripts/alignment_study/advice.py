"""What the study's findings suggest for a run whose gradients were measured, and what they cannot support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jepa_rl.scripts.alignment_study.auxiliaries import auxiliary
from jepa_rl.scripts.alignment_study.evidence import Evidence
from jepa_rl.scripts.alignment_study.measure import PHASES
from jepa_rl.scripts.alignment_study.rows import BESIDE, FREE_ALONE, PLAIN_ALONE, Base
from jepa_rl.scripts.alignment_study.summary import Correlation, Effect
from jepa_rl.scripts.reporting.paragraphs import listed
from jepa_rl.world_model import ModelConfig

PAGE = "docs/alignment.md"
CLEAR = 2.0  # standard errors that a cosine must be away from 0
FAINT = 0.01  # share of the gradient that hardly trains anything
READ_BY_PLANNER = ("reward", "value", "termination")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One loss of a run at one moment."""

    loss_name: str
    weight: float  # learned, where weights are
    trains_encoder: bool
    loss: float  # unweighted
    share: float  # of the encoder's gradient
    cosine: float | None  # with the gradient of the reference loss; None where one of them is zero
    standard_error: float | None
    batches: int

    @property
    def sign(self) -> int:
        """1 or -1 where the cosine is clearly not 0, otherwise 0."""
        if self.cosine is None or self.standard_error is None or abs(self.cosine) <= CLEAR * self.standard_error:
            return 0
        return 1 if self.cosine > 0 else -1


def suggestions(readings: Sequence[Reading], config: ModelConfig, evidence: Evidence, progress: float) -> tuple[str, ...]:
    """What to change, or that nothing is known that would speak for a change.

    Args:
        readings: of every loss.
        config: of the run's model.
        evidence: what the study found.
        progress: share of the run's training that is done.
    """
    tasks = [each for each in readings if each.loss_name in config.tasks]
    attached = [each for each in tasks if each.trains_encoder]
    told = _of_the_measurement(tasks, frozen=not any(each.share for each in readings))
    base = study_base(config)
    if base is None:
        return (*told, f"The study did not try {listed(not_tried(config))}: nothing is suggested from its findings.")
    told += _of_cosines(attached, next(each for each in evidence.prediction if each.base == base.slug), base, progress)
    told += _of_shares(attached, evidence, base, progress)
    told += _of_weighting(attached, config, evidence)
    return told or ("Nothing in the study speaks for a change.",)


def not_tried(config: ModelConfig) -> list[str]:
    """What trains the run's encoder that no run of the study has; none where a base of the study is like it."""
    dynamics, masked, penalty = config.dynamics, config.masked, config.regularizer
    found = {
        "training without L_dyn in the encoder": not (dynamics.weight and dynamics.trains_encoder),
        "L_dyn with this target": bool(dynamics.weight) and dynamics.target != "same",
        "masked prediction": bool(masked.weight) and masked.trains_encoder,
        "a regulariser": bool(penalty.variance or penalty.covariance or penalty.sigreg),
        "a value head that trains the encoder": bool(config.value.weight) and config.value.trains_encoder,
        "a termination head that trains the encoder": bool(config.termination.weight) and config.termination.trains_encoder,
    }
    return [what for what, there in found.items() if there]


def study_base(config: ModelConfig) -> Base | None:
    """The base of the study that the run is most like; None where something else trains its encoder."""
    if not_tried(config):
        return None
    if not config.dynamics.scale_free:
        return PLAIN_ALONE
    return BESIDE if config.reward.weight and config.reward.trains_encoder else FREE_ALONE


def limits(evidence: Evidence, base: Base | None, *, one_moment: bool) -> tuple[str, ...]:
    """What stands against reading more into the figures; ``one_moment``: nothing was trained between the batches."""
    told = ["The cosine is that of whole gradients on all of the encoder's weights; layers may differ."]
    if one_moment:
        told.append(
            "The figures are of one moment: the standard error covers the choice of windows, not how a cosine swings from "
            f"one update to the next (in the study by {evidence.swing:.2f})."
        )
    like = f", of which '{base.name}' is the nearest to this run" if base else ""
    told.append(
        f"The study ({PAGE}) is one environment, one small network and {evidence.updates:,} updates a run{like}: a "
        "suggestion is something to try in a second run, not a prediction for yours."
    )
    return tuple(told)


def _of_the_measurement(tasks: Sequence[Reading], *, frozen: bool) -> tuple[str, ...]:
    """What follows from the figures alone."""
    told = ["Nothing trains the encoder: it stays as it began."] if frozen else []
    for each in tasks:
        if not each.trains_encoder:
            told.append(f"{each.loss_name} does not train the encoder: its cosine is what it would do.")
        elif each.share < FAINT:
            told.append(f"{each.loss_name} has {100 * each.share:.1f} % of the gradient: it hardly trains the encoder.")
    return tuple(told)


def _of_cosines(attached: Sequence[Reading], found: Correlation, base: Base, progress: float) -> tuple[str, ...]:
    study = f"in the study ({base.name}, rank correlation {found.text()})"
    if found.sign == 0:
        return (f"Leave weights alone as far as cosines go: {study} they did not foretell which auxiliary gains accuracy.",)
    if progress > PHASES["early"][1]:
        return (
            f"The cosines are those after {100 * progress:.0f} % of training. The study speaks of the first "
            f"{100 * PHASES['early'][1]:.0f} %; later a task has done what it does. Look at an earlier checkpoint.",
        )
    gained = {-found.sign: "less", found.sign: "more"}
    told = []
    for each in attached:
        if each.sign:
            what = "opposes" if each.sign < 0 else "agrees with"
            change = "" if each.sign == found.sign else "; compare with a run without it (weight 0)"
            told.append(f"{each.loss_name} {what} L_dyn: {study} such auxiliaries gained {gained[each.sign]}{change}.")
    return tuple(told)


def _of_shares(attached: Sequence[Reading], evidence: Evidence, base: Base, progress: float) -> tuple[str, ...]:
    """Tasks that pull harder than they harmed with in the study, early in training."""
    told = []
    for each in attached:
        harm = _harm_of(each.loss_name, evidence, base)
        if harm is None or each.loss_name in READ_BY_PLANNER or each.share < harm.share:
            continue
        if progress > PHASES["early"][1]:
            return (
                f"The shares are those after {100 * progress:.0f} % of training, when harmless tasks pull hard as well. Of "
                f"harm the study speaks by those of the first {100 * PHASES['early'][1]:.0f} %: look at an earlier "
                "checkpoint.",
            )
        other = auxiliary(harm.auxiliary)
        what = (
            f"it harmed from {100 * harm.share:.0f} % on"
            if other.target == each.loss_name
            else f"this task was not tried; the lightest pull that harmed was {other.name}'s with {100 * harm.share:.0f} %"
        )
        lighter = _weight_for(each, harm.share)
        told.append(
            f"{each.loss_name} has {100 * each.share:.0f} % of the gradient. In the study ({base.name}) {what}. If the "
            f"latents are not for this task, try the weight {lighter:.2g} instead of {each.weight:.2g}."
        )
    return tuple(told)


def _harm_of(loss_name: str, evidence: Evidence, base: Base) -> Effect | None:
    """The lightest harm of the task where the study tried it on the base, otherwise that of any task; None without one."""
    harms = [each for each in evidence.harm if each.base == base.slug]
    if loss_name in (each.target for each in base.added):
        harms = [each for each in harms if auxiliary(each.auxiliary).target == loss_name]
    return min(harms, key=lambda each: each.share, default=None)


def _weight_for(reading: Reading, share: float) -> float:
    """The weight with which the loss has this share of the gradient, if nothing else changes."""
    return reading.weight * share * (1 - reading.share) / ((1 - share) * reading.share)


def _of_weighting(attached: Sequence[Reading], config: ModelConfig, evidence: Evidence) -> tuple[str, ...]:
    if len(attached) < 2:
        return ()
    told = []
    for each in evidence.weighting:
        margin = f"accuracy {each.difference:+.3f} ({each.low:+.3f} to {each.high:+.3f})"
        if config.weighting == "fixed" and each.sign > 0:
            told.append(f"Try model.weighting {each.weighting}: in the study it beat the best fixed weight, {margin}.")
        if config.weighting == each.weighting and each.sign < 0:
            told.append(f"Try fixed weights: in the study the best one beat {each.weighting}, {margin}.")
    if config.weighting == "fixed" and not told:
        told.append("Fixed weights may stay: no automatic weighting beat the best fixed one in the study.")
    return tuple(told)
