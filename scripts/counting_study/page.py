"""docs/counting.md and its figures, from the raw results."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jepa_rl.scripts.counting_study import drawings
from jepa_rl.scripts.counting_study.prose import compose
from jepa_rl.scripts.counting_study.rows import FAR_TARGET, QUICK, ROWS, TARGETS, TRAVEL, WEIGHTS
from jepa_rl.scripts.counting_study.rows import row as row_of
from jepa_rl.scripts.counting_study.summary import Result, Results
from jepa_rl.scripts.reporting.drawing import write_figures
from jepa_rl.scripts.reporting.tables import Estimate, estimate, markdown

ALIGNED = ("reward", "value", "dense", "random-linear", "constant", "shuffled", "ema")
OF_SPREAD = ("effective_rank", "dynamics_loss_over_variance")  # what means little of collapsed latents
FACTORS = ("count", "position", "color", "shape")


def render(folder: Path, page: Path) -> Path:
    """Write the page, and its figures to figures/counting beside it."""
    results = Results.load(folder)
    half = len(ROWS) // 2
    drawn: dict[str, Figure] = {
        "representations-1": drawings.representations(folder, results, ROWS[:half]),
        "representations-2": drawings.representations(folder, results, ROWS[half:]),
        "seeds": drawings.seeds(results),
        "targets": drawings.targets(results),
        "depths": drawings.depths(results),
        "weights": drawings.weights(results),
        "alignment": drawings.alignment(results, ALIGNED),
    }
    write_figures(drawn, page.parent / "figures" / "counting")
    tables = {
        "rows": rows_table(results),
        "probes": probes_table(results),
        "decoder": decoder_table(results),
        "targets": targets_table(results),
        "weights": weights_table(results),
        "travel": travel_table(results),
        "certificate": certificate_table(results),
        "bounds": bounds_table(results),
        "quick": quick_table(results),
    }
    page.write_text(compose(results, tables, raw=Path(os.path.relpath(folder, page.parent)).as_posix()))
    return page


def table_of(runs: Sequence[Result]) -> str:
    """The main figures of a few runs, for a terminal."""
    lines = [f"{'row':<34} {'seeds':>5} {'accuracy':>15} {'ARI':>15} {'separation':>15} {'success':>15}"]
    for name in dict.fromkeys(run["cell"]["name"] for run in runs):
        these = [run for run in runs if run["cell"]["name"] == name]
        figures = [estimate([run[key] for run in these]).text() for key in ("accuracy", "ari", "separation", "success")]
        lines.append(f"{name:<34} {len(these):>5} " + " ".join(f"{figure:>15}" for figure in figures))
    return "\n".join(lines)


def rows_table(results: Results) -> str:
    """The main table."""

    def excess(run: Result) -> float:
        return run["auxiliary_loss"] - run["auxiliary_floor"]

    def told_apart(run: Result) -> float | None:
        return run["ari_predicted"] if run.get("predicted_classes", 1) > 1 else None

    figures: dict[str, tuple[str | Callable[[Result], float | None], int]] = {
        "accuracy": ("accuracy", 3),
        "ARI, 9 clusters": ("ari", 3),
        "ARI, predicted classes": (told_apart, 3),
        "clusters found": ("clusters_found", 1),
        "separation": ("separation", 2),
        "effective rank": ("effective_rank", 1),
        "RankMe": ("rankme", 1),
        "L_dyn / variance": ("dynamics_loss_over_variance", 3),
        "L_p - floor": (excess, 3),
        "success": ("success", 3),
        "in-sample accuracy": ("accuracy_in_sample", 3),
    }
    body = []
    for row in ROWS:
        predicted = results.of(row.slug)[0].get("predicted_classes")
        cells = [
            results.of_spread(operator.itemgetter(figure), row.slug, digits)
            if figure in OF_SPREAD
            else results.estimate(figure, row.slug).text(digits)
            for figure, digits in figures.values()
        ]
        body.append([row.name, "-" if predicted is None else str(predicted), *cells])
    return markdown(["row", "classes predicted", *figures], body)


def probes_table(results: Results) -> str:
    """Linear and MLP probes, chance level beside each."""
    header = ["row"]
    for factor in FACTORS:
        chance = results.runs[0]["probes"][f"{factor}_linear"]["chance"]
        header.append(f"{factor}: linear / MLP (chance {max(chance, 0.0):.2f})")
    body = [
        [
            row.name,
            *(
                " / ".join(_probe(results, row.slug, f"{factor}_{kind}").text(2) for kind in ("linear", "mlp"))
                for factor in FACTORS
            ),
        ]
        for row in ROWS
    ]
    return markdown(header, body)


def _probe(results: Results, slug: str, name: str) -> Estimate:
    return results.estimate(lambda run: run["probes"][name]["score"], slug)


def decoder_table(results: Results) -> str:
    """Error of what a decoder reads from the latent, factor by factor."""
    factors = [*results.runs[0]["decoder"]]

    def error(slug: str, factor: str) -> str:
        return results.estimate(lambda run: run["decoder"][factor], slug).text(2)

    body = [[row.name, *(error(row.slug, factor) for factor in factors)] for row in ROWS]
    return markdown(["row", *(factor.replace("_", " ") for factor in factors)], body)


def targets_table(results: Results) -> str:
    """Joint and reward only for every target."""
    body = []
    for target in TARGETS:
        cells = [
            results.estimate(figure, slug, target=target)
            for slug in ("reward", "reward-only")
            for figure in ("accuracy", "ari", "separation")
        ]
        body.append([str(target), *(each.text() for each in cells), str(cells[0].seeds)])
    parts = [f"{who}: {what}" for who in ("joint", "reward only") for what in ("accuracy", "ARI", "separation")]
    return markdown(["target", *parts, "seeds"], body)


def weights_table(results: Results) -> str:
    """The reward row for every weight."""
    figures = ("accuracy", "ari", "separation", "effective_rank", "success")
    body = []
    for weight in WEIGHTS:
        cells = [results.estimate(figure, "reward", weight=weight) for figure in figures]
        body.append([f"{weight:g}", *(each.text() for each in cells), str(cells[0].seeds)])
    return markdown(["c_p", *(figure.replace("_", " ") for figure in figures), "seeds"], body)


def certificate_table(results: Results) -> str:
    """Errors, Lipschitz estimates, bounds and merged pairs."""
    body = []
    for row in ROWS:

        def of(read: Callable[[dict[str, Any]], float | None], digits: int, slug: str = row.slug) -> str:
            return results.estimate(lambda run: read(run["certificate"]), slug).text(digits)

        pairs = results.of(row.slug)[0]["certificate"]["separable_state_pairs"]
        body.append(
            [
                row.name,
                of(lambda c: c["label_error"]["mean"], 3),
                of(lambda c: c["label_error"]["maximum"], 2),
                results.of_spread(lambda run: run["certificate"]["dynamics_error_relative"], row.slug, 3),
                of(lambda c: c["lipschitz_label"], 2),
                of(lambda c: c["lipschitz_dynamics"], 2),
                of(lambda c: len(c["merged_states"]), 1) + f" of {pairs}",
                of(lambda c: 100 * c["merged_observation_share"], 2) + " %",
            ]
        )
    header = ["row", "e_p mean", "e_p max", "e_T mean / distance", "K_P", "K_T"]
    return markdown([*header, "merged pairs of counts", "merged observations"], body)


def bounds_table(results: Results) -> str:
    """The certificate of one run of the reward row, by depth."""
    body = []
    for depth in results.of("reward")[0]["certificate"]["depths"]:
        bound = depth["bound_mean_errors"]
        body.append(
            [
                *(str(depth["depth"]), str(depth["state_pairs"])),
                "-" if bound is None else f"{bound:.2f}",
                *(f"{depth[name]:.2f}" for name in ("centroid_min", "observation_min", "observation_mean")),
            ]
        )
    header = [
        "depth",
        "pairs of counts",
        "bound, mean errors",
        "smallest centroid distance",
        "smallest distance of two images",
    ]
    return markdown([*header, "mean distance of two images"], body)


def travel_table(results: Results) -> str:
    """The reward row at the far target, with one thing changed."""
    figures = ("accuracy", "ari", "separation", "success")
    body = []
    for each in (row_of("reward"), *TRAVEL):
        cells = [results.estimate(figure, each.slug, target=FAR_TARGET) for figure in figures]
        changed = "as it is" if each.slug == "reward" else f"{each.name} ({each.about})"
        body.append([changed, *(found.text() for found in cells), str(cells[0].seeds)])
    return markdown(["joint row", *figures, "seeds"], body)


def quick_table(results: Results) -> str:
    """Mean and range of what --quick trains."""
    figures = ("accuracy", "ari", "separation", "success")

    def spread(slug: str, figure: str) -> str:
        values = [run[figure] for run in results.quick(slug)]
        return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "-"

    body = [[row_of(slug).name, *(spread(slug, figure) for figure in figures)] for slug in QUICK]
    return markdown(["row", *figures], body)
