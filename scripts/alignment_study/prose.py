"""What docs/alignment.md says, with the measured figures filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jepa_rl.scripts.alignment_study.auxiliaries import AUXILIARIES, auxiliary
from jepa_rl.scripts.alignment_study.evidence import Evidence
from jepa_rl.scripts.alignment_study.measure import EPISODES, IMAGES, LOOKS, WINDOWS
from jepa_rl.scripts.alignment_study.rows import BASES, BESIDE, LOSABLE, PHASES, SEEDS, Base, Phase, cells
from jepa_rl.scripts.alignment_study.summary import (
    FIGURES,
    LEAST_DROP,
    Comparison,
    Correlation,
    Figure,
    Results,
    chance_of_harm,
    prediction,
)
from jepa_rl.scripts.alignment_study.template import TEMPLATE
from jepa_rl.scripts.reporting.paragraphs import completeness, filled, reflowed

WEIGHTINGS = {"uncertainty": "Uncertainty weighting", "pcgrad": "PCGrad"}


def compose(results: Results, evidence: Evidence, tables: dict[str, str]) -> str:
    """The page, in Markdown; ``tables`` by the names in TEMPLATE."""
    seeds = sorted({len(results.added(base, each.slug, base.weights[0])) for base in BASES for each in base.added})
    base_seeds = sorted({len(results.of_base(base)) for base in BASES})
    shared = min(len(results.shared_seeds(base, each.slug)) for base in LOSABLE for each in base.added)
    judged = sum(len(base.added) * len(base.weights) for base in LOSABLE)
    whole = TEMPLATE.format(
        number=len(AUXILIARIES),
        state=_state(results),
        foretells=_answer(
            "Does early alignment foretell the benefit?",
            _foretells(results, evidence.prediction),
        ),
        harms=_answer(
            "Do conflicting auxiliaries harm, and from which weight?", _harms(results, evidence, chance_of_harm(shared))
        ),
        weighs=_answer(
            "Does an automatic weighting beat the best fixed weight?", " ".join(map(_weighs, evidence.weighting))
        ),
        updates=evidence.updates,
        c_dyn=_setting(results)["model"]["dynamics"]["weight"],
        rewarded=100 * _setting(results)["replay"]["prioritised_fraction"],
        looks=LOOKS,
        windows=WINDOWS,
        swing=evidence.swing,
        images=IMAGES,
        episodes=EPISODES,
        seeds=_span(seeds),
        shared=shared,
        base_seeds=_span(base_seeds),
        chance=round(1 / chance_of_harm(shared)),
        judged=judged,
        lucky=judged * chance_of_harm(shared),
        least_drop=LEAST_DROP,
        tried=", ".join(f"{weight:g}" for weight in BESIDE.weights),
        **{f"name_{base.slug}": _capitalised(base.name) for base in BASES},
        early=_percent("early"),
        late=_percent("late"),
        **tables,
    )
    return reflowed(whole) + "\n"


def _percent(phase: Phase) -> str:
    begin, end = PHASES[phase]
    return f"{100 * begin:g} to {100 * end:g}"


def _answer(question: str, answer: str) -> str:
    return filled(f"**{question}** {answer}")


def _span(numbers: Sequence[int]) -> str:
    return " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))


def _base(slug: str) -> Base:
    return next(base for base in BASES if base.slug == slug)


def _foretells(results: Results, found: Sequence[Correlation]) -> str:
    """The answer for accuracy; what the other figures say; and what cosines say that are known before a task is added."""
    verdicts = {
        1: "yes, the better aligned gain more",
        0: "it cannot be said, the interval holds 0",
        -1: "the other way round, the worse aligned gain more",
    }
    parts = [f"{_base(each.base).name}: {verdicts[each.sign]}, rank correlation {each.text()}" for each in found]
    if all(each.sign == 1 for each in found):
        head = "For accuracy yes, on all three bases."
    elif any(each.sign for each in found):
        head = "For accuracy not on every base."
    else:
        head = "For accuracy these runs cannot tell."
    others = " ".join(f"For the {name}: {_by_base(results, key)}." for key, name in FIGURES.items() if key != "accuracy")
    known = _by_base(results, "accuracy", watched=True)
    return f"{head} {_capitalised('; '.join(parts))}. {others} For accuracy, with the cosine before it is added: {known}."


def _by_base(results: Results, figure: Figure, *, watched: bool = False) -> str:
    return "; ".join(f"{base.name}: {prediction(results, base, figure, watched=watched).text()}" for base in BASES)


def _harms(results: Results, evidence: Evidence, chance: float) -> str:
    """The answer; ``chance`` is that of harm at a weight if an auxiliary does nothing."""
    sentences = [
        "Harm is counted where every run lies below every run of the base with the same seeds and the mean is lower by "
        f"{LEAST_DROP:g} or more; by luck alone a single weight comes to that at most {100 * chance:.0f} % of the time."
    ]
    for base in BASES:
        opposed = [each.slug for each in base.added if _opposes(results, base, each.slug)]
        if base not in LOSABLE:
            sentences += [_gain_of_opposed(results, base, slug) for slug in opposed]
            continue
        first = {each.auxiliary: each for each in evidence.harm if each.base == base.slug}
        told = [
            f"{auxiliary(slug).name} from c_p {each.weight:g} ({100 * each.share:.0f} % of the gradient)"
            for slug, each in first.items()
        ]
        sentences.append(
            f"{_capitalised(base.name)}: {len(first)} of {len(base.added)} auxiliaries harm at some weight"
            + (f": {', '.join(told)}." if told else ".")
        )
        sentences += _left_out(results, base)
        if opposed:
            both = [slug for slug in opposed if slug in first]
            names = ", ".join(auxiliary(slug).name for slug in opposed)
            sentences.append(
                f"Of those whose early gradient opposes that of L_dyn ({names}) {len(both)} of {len(opposed)} harm, of the "
                f"others {len(first) - len(both)} of {len(base.added) - len(opposed)}."
            )
        else:
            sentences.append("None has an early gradient that clearly opposes that of L_dyn.")
    return " ".join(sentences)


def _gain_of_opposed(results: Results, base: Base, slug: str) -> str:
    """Of an auxiliary that opposes a base which has nothing to lose: whether it gains there."""
    cosine, gain = results.cosine(base, slug, "early"), results.gain(base, slug, "accuracy").mean
    name = auxiliary(slug).name
    return f"{_capitalised(base.name)}: {name} opposes L_dyn (early cosine {cosine.text(2)}), and the gain is {gain:+.3f}."


def _left_out(results: Results, base: Base) -> list[str]:
    """A sentence for each run of the base that ends clearly lower than all that are compared, and has no counterpart."""
    compared = {seed for each in base.added for seed in results.shared_seeds(base, each.slug)}
    inside = [run["accuracy"] for run in results.of_base(base) if run["cell"]["seed"] in compared]
    if not inside:
        return []
    return [
        f"Seed {run['cell']['seed']} of this base ends at {run['accuracy']:.3f} without an auxiliary, the seeds that are "
        f"compared at {min(inside):.3f} to {max(inside):.3f}: the base alone can fail, too. It is left out, since no "
        "auxiliary was trained with that seed at every weight."
        for run in results.of_base(base)
        if run["cell"]["seed"] not in compared and run["accuracy"] <= min(inside) - LEAST_DROP
    ]


def _opposes(results: Results, base: Base, slug: str) -> bool:
    """The interval of its early cosine lies below 0."""
    found = results.cosine(base, slug, "early")
    return found.seeds > 2 and found.mean + found.half_width < 0


def _weighs(found: Comparison) -> str:
    verdict = {1: "Yes", 0: "It cannot be said", -1: "No"}[found.sign]
    return (
        f"{WEIGHTINGS[found.weighting]}: {verdict.lower()}; accuracy differs from the best fixed weight's by "
        f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f}) over {found.auxiliaries} auxiliaries, and is "
        f"higher with {found.better} of them."
    )


def _setting(results: Results) -> dict[str, Any]:
    """The agent's settings, in which all runs agree but for their losses and weights."""
    found: dict[str, Any] = results.runs[0]["cell"]["agent"]
    return found


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _state(results: Results) -> str:
    """Whether the page rests on the whole grid."""
    grid = {(cell["name"], cell["seed"]) for cell in cells(SEEDS)}
    done = {(run["cell"]["name"], run["cell"]["seed"]) for run in results.runs}
    return completeness(done, grid)
