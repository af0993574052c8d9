"""docs/alignment.md and its figures, from the raw results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jepa_rl.scripts.alignment_study import drawings
from jepa_rl.scripts.alignment_study.auxiliaries import AUXILIARIES, auxiliary
from jepa_rl.scripts.alignment_study.evidence import Evidence
from jepa_rl.scripts.alignment_study.prose import compose
from jepa_rl.scripts.alignment_study.rows import AUTOMATIC, BASES, LOSABLE, PAIRS, PLAIN_ALONE, WEIGHTED, Base, Phase
from jepa_rl.scripts.alignment_study.summary import (
    FIGURES,
    Result,
    Results,
    automatic,
    best_fixed,
    effects,
    first_harm,
    prediction,
)
from jepa_rl.scripts.reporting.drawing import write_figures
from jepa_rl.scripts.reporting.tables import Estimate, estimate, markdown

PREDICTORS: tuple[tuple[str, Phase, bool], ...] = (
    ("early", "early", False),
    ("early, before it is added", "early", True),
    ("late", "late", False),
)


def render(results: Results, evidence: Evidence, page: Path) -> Path:
    """Write the page, and its figures to figures/alignment beside it."""
    drawn = {
        "prediction": drawings.prediction(results),
        "weights": drawings.weights(results),
        "weighting": drawings.weighting(results),
    }
    write_figures(drawn, page.parent / "figures" / "alignment")
    tables = {
        "auxiliaries": "\n".join(f"- **{each.name}**: {each.about}" for each in AUXILIARIES),
        **{f"cosines_{base.slug}": cosines_table(results, base) for base in BASES},
        "bases": bases_table(results),
        "gains": gains_table(results),
        "correlations": correlations_table(results),
        "harm": harm_table(results),
        "pairs": pairs_table(results),
        "weighting": weighting_table(results),
    }
    page.write_text(compose(results, evidence, tables))
    return page


def table_of(runs: Sequence[Result]) -> str:
    """The main figures of a few runs, for a terminal."""
    lines = [f"{'run':<34} {'seeds':>5} {'early cosine':>15} {'share':>7} {'accuracy':>15} {'success':>15}"]
    for name in dict.fromkeys(run["cell"]["name"] for run in runs):
        these = [run for run in runs if run["cell"]["name"] == name]
        added = list(these[0]["cell"]["tasks"])[-1:]
        phases = [run["phases"]["early"][slug] for run in these for slug in added]
        cosine = estimate([each["cosine"] for each in phases if each["cosine"] is not None]).text(2)
        share = estimate([each["share"] for each in phases]).mean if phases else 0.0
        figures = " ".join(f"{estimate([run[key] for run in these]).text():>15}" for key in ("accuracy", "success"))
        lines.append(f"{name:<34} {len(these):>5} {cosine:>15} {share:>7.2f} {figures}")
    return "\n".join(lines)


def bases_table(results: Results) -> str:
    """What the auxiliaries are added to."""
    body = []
    for base in BASES:
        runs = results.of_base(base)
        body.append([base.name, *(results.estimate(runs, figure).text() for figure in FIGURES), str(len(runs))])
    return markdown(["base", *FIGURES.values(), "seeds"], body)


def cosines_table(results: Results, base: Base) -> str:
    """Every auxiliary on a base: cosines, and accuracy at each weight with the share of the gradient."""
    body = []
    for each in base.added:
        cosines = [results.cosine(base, each.slug, phase, watched=watched) for _, phase, watched in PREDICTORS]
        reached = [
            f"{results.estimate(results.added(base, each.slug, weight), 'accuracy').text(2)} "
            f"({100 * results.share(base, each.slug, weight):.0f} %)"
            for weight in base.weights
        ]
        body.append([each.name, *(cosine.text(2) for cosine in cosines), *reached])
    return markdown(
        ["auxiliary", *(f"cosine, {name}" for name, _, _ in PREDICTORS), *(f"c_p {weight:g}" for weight in base.weights)],
        body,
    )


def gains_table(results: Results) -> str:
    """What every auxiliary adds, by all three figures."""
    body = [
        [
            each.name,
            *(
                signed(results.gain(base, each.slug, figure)) if each in base.added else "-"
                for base in BASES
                for figure in FIGURES
            ),
        ]
        for each in AUXILIARIES
    ]
    return markdown(["auxiliary", *(f"{base.name}: {name}" for base in BASES for name in FIGURES.values())], body)


def signed(found: Estimate) -> str:
    """A difference with its interval."""
    text = found.text(2)
    return text if text.startswith("-") else f"+{text}"


def correlations_table(results: Results) -> str:
    """Spearman's correlations of the cosines with the gains."""
    body = []
    for base in BASES:
        for name, phase, watched in PREDICTORS:
            found = [prediction(results, base, figure, phase, watched=watched) for figure in FIGURES]
            found.append(prediction(results, base, "accuracy", phase, watched=watched, best=True))
            body.append([base.name, name, str(found[0].auxiliaries), *(each.text() for each in found)])
    return markdown(["base", "cosine", "auxiliaries", *FIGURES.values(), "accuracy with the best weight"], body)


def harm_table(results: Results) -> str:
    """From which weight, and which share of the gradient, an auxiliary harms."""
    body = []
    for base in LOSABLE:
        found = effects(results, base)
        for each in base.added:
            first = first_harm(found, each.slug)
            if first is not None:
                heavier = [one for one in found if one.auxiliary == each.slug and one.weight > first.weight]
                body.append(
                    [
                        *(base.name, each.name, f"{first.weight:g}", f"{100 * first.share:.0f} %", f"{first.gain:+.3f}"),
                        f"{sum(one.harms for one in heavier)} of {len(heavier)}",
                    ]
                )
    header = ["base", "auxiliary", "harms from c_p", "its share of the gradient", "gain", "heavier weights that harm"]
    return markdown(header, body) if body else "No auxiliary harms at any weight."


def pairs_table(results: Results) -> str:
    """Two auxiliaries at once, neither of them the reward, with weight 1 each; and each of them alone."""

    def text(tasks: dict[str, float]) -> str:
        return results.estimate(results.of(PLAIN_ALONE.loss, tasks), "accuracy").text()

    body = []
    for pair in PAIRS:
        both: list[Estimate] = [
            estimate(
                [run["phases"]["early"][slug]["cosine"] for run in results.of(PLAIN_ALONE.loss, dict.fromkeys(pair, 1.0))]
            )
            for slug in pair
        ]
        body.append(
            [
                " + ".join(auxiliary(slug).name for slug in pair),
                text(dict.fromkeys(pair, 1.0)),
                *(text({slug: 1.0}) for slug in pair),
                " / ".join(each.text(2) for each in both),
            ]
        )
    return markdown(["pair", "accuracy of both", "of the first alone", "of the second alone", "early cosines"], body)


def weighting_table(results: Results) -> str:
    """Automatic weights against the best fixed one."""
    body = []
    for slug in WEIGHTED:
        weight, fixed = best_fixed(results, slug)
        reached = [results.estimate(automatic(results, slug, each), "accuracy").text() for each in AUTOMATIC]
        body.append([f"reward + {auxiliary(slug).name}", f"{weight:g}", fixed.text(), *reached])
    return markdown(["tasks", "best fixed c_p", "its accuracy", *AUTOMATIC], body)
