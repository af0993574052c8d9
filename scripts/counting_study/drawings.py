"""The figures of the counting study, drawn from its raw results."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from jepa_rl.envs.counting import CountingEnv
from jepa_rl.envs.tabular import counting_table
from jepa_rl.scripts.counting_study.rows import DRAWN_SEED, ROWS, TARGETS, WEIGHTS, Row
from jepa_rl.scripts.counting_study.summary import Results
from jepa_rl.scripts.reporting.drawing import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    blank,
    class_colours,
    legend,
    plain_numbers,
    tidy,
)
from jepa_rl.scripts.reporting.tables import Estimate, estimate
from jepa_rl.world_model.bisimulation import separation_depth

COUNTS = 9


def representations(folder: Path, results: Results, rows: Sequence[Row]) -> Figure:
    """Like the paper's figure, one row per variant: principal plane | distances between counts | reconstructions."""
    figure = blank((11.2, 1.3 * len(rows) + 0.4), dpi=100)
    grid = figure.add_gridspec(len(rows), 3, width_ratios=(1.5, 1.0, 5.2))
    titles = ("two principal directions", "distances", "a held-out image of each count, and its reconstruction, brightened")
    for index, row in enumerate(rows):
        axes = [figure.add_subplot(grid[index, column]) for column in range(3)]
        for axis, title in zip(axes, titles, strict=True):
            if index == 0:
                axis.set_title(title, fontsize=10, color=INK, pad=8)
        kept = np.load(folder / "drawings" / f"{row.slug}.npz")
        _scatter(axes[0], kept["latent"], kept["count"])
        axes[0].set_ylabel(textwrap.fill(row.name, 15), fontsize=8, color=INK, rotation=0, ha="right", va="center")
        shown = next(run for run in results.of(row.slug) if run["cell"]["seed"] == DRAWN_SEED)
        _distances(axes[1], np.array(shown["centroid_distance"]))
        _reconstructions(axes[2], kept["observation"], kept["reconstruction"])
    return figure


def _scatter(axes: Axes, latent: np.ndarray, count: np.ndarray) -> None:
    axes.scatter(latent[:, 0], latent[:, 1], c=class_colours(COUNTS)[count], s=5, linewidths=0)
    axes.margins(0.12)
    low, high = (np.array(edges) for edges in zip(axes.get_xlim(), axes.get_ylim(), strict=True))
    present = np.unique(count)
    centres = np.array([np.median(latent[count == k, :2], axis=0) for k in present])
    # A number is about so large in shares of the panel, which is wider than high.
    places = apart((centres - low) / (high - low), np.array([0.055, 0.13])) * (high - low) + low
    for k, centre, place in zip(present, centres, places, strict=True):
        axes.plot(*zip(centre, place, strict=True), color=INK, linewidth=0.5)
        number = axes.text(place[0], place[1], str(k), fontsize=8, color=INK, ha="center", va="center", weight="bold")
        number.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="white")])
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#d5d9e0")


def apart(points: np.ndarray, size: np.ndarray, rounds: int = 400) -> np.ndarray:
    """Points [N, 2] in the unit square, pushed from each other until boxes of this size around them hardly overlap."""
    placed = np.array(points, float)
    # Points that coincide are pushed into different directions.
    angle = 2 * np.pi * np.arange(len(placed)) / len(placed)
    nudge = 1e-3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for _ in range(rounds):
        between = (placed + nudge)[:, None] - (placed + nudge)[None]
        distance = np.linalg.norm(between / size, axis=2)
        overlap = np.where((distance < 1) & (distance > 0), 1 - distance, 0.0)
        if overlap.max() < 0.05:
            break
        push = overlap[..., None] * between / np.maximum(distance, 0.05)[..., None]
        placed = np.clip(placed + 0.3 * push.sum(axis=1), size / 2, 1 - size / 2)
    return placed


def _distances(axes: Axes, distance: np.ndarray) -> None:
    axes.imshow(distance / max(distance.max(), np.finfo(float).tiny), cmap="cividis", vmin=0, vmax=1)
    axes.set(xticks=(0, 4, 8), yticks=(0, 4, 8))
    axes.tick_params(labelsize=7, length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)


def _reconstructions(axes: Axes, image: np.ndarray, reconstruction: np.ndarray) -> None:
    gap = np.full((image.shape[1], 3, 3), 255, np.uint8)

    def strip(pictures: np.ndarray) -> np.ndarray:
        return np.concatenate([part for picture in pictures for part in (picture, gap)], axis=1)

    # A blur over all places where an object may be is nearly black as it is.
    brightest = max(float(np.quantile(reconstruction, 0.999)), 1.0)
    brightened = np.clip(reconstruction * (255 / brightest), 0, 255).astype(np.uint8)
    upper, lower = strip(image), strip(brightened)
    axes.imshow(np.concatenate([upper, np.full((4, upper.shape[1], 3), 255, np.uint8), lower]))
    axes.axis("off")


def seeds(results: Results) -> Figure:
    """Accuracy and k-means ARI of every run of every row: a mean says little where some seeds end elsewhere."""
    figure = blank((8.6, 0.26 * len(ROWS) + 0.9))
    names = [row.name for row in ROWS]
    for column, (name, label) in enumerate((("accuracy", "held-out accuracy"), ("ari", "ARI, nine clusters"))):
        axes = figure.add_subplot(1, 2, column + 1)
        for place, row in enumerate(ROWS):
            values = results.estimate(name, row.slug).values
            axes.scatter(values, [place] * len(values), s=30, color=BLUE, alpha=0.45, linewidths=0)
        axes.set_yticks(range(len(ROWS)), names if column == 0 else [])
        axes.invert_yaxis()
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel(label, fontsize=10, color=INK)
        tidy(axes)
        axes.grid(axis="y", color="#e4e7ec", linewidth=0.8)
    return figure


def targets(results: Results) -> Figure:
    """Accuracy and separation against the target, joint and reward only."""
    figure = blank((8.6, 3.3))
    for column, (name, label) in enumerate(
        (("accuracy", "held-out accuracy over nine counts"), ("separation", "separation"))
    ):
        axes = figure.add_subplot(1, 2, column + 1)
        for slug, colour, marker, title in (
            ("reward", BLUE, "o", "dynamics and reward"),
            ("reward-only", VERMILION, "s", "reward only"),
        ):
            found = [results.estimate(name, slug, target=target) for target in TARGETS]
            _with_intervals(axes, TARGETS, found, color=colour, marker=marker, label=title)
        axes.set_xlabel("target count", fontsize=10, color=INK)
        axes.set_ylabel(label, fontsize=10, color=INK)
        axes.set_xticks(TARGETS)
        axes.set_ylim(bottom=0)
        tidy(axes)
        if column == 0:
            axes.axhline(1 / COUNTS, color=GREY, linestyle=":", linewidth=1)
            axes.text(8, 1 / COUNTS + 0.015, "chance", fontsize=8, color=GREY, ha="right")
            legend(axes, loc="lower left", bbox_to_anchor=(0.0, 0.14))
    return figure


def _with_intervals(axes: Axes, x: Sequence[float], found: Sequence[Estimate], **style: object) -> None:
    """Means, with intervals where there are three seeds; the seeds themselves where there are fewer."""
    known = [(at, each) for at, each in zip(x, found, strict=True) if each.seeds]
    for at, each in known:
        if each.seeds == 2:
            axes.scatter([at] * 2, each.values, s=10, color=str(style["color"]), alpha=0.5, linewidths=0)
    axes.errorbar(
        [at for at, _ in known],
        [each.mean for _, each in known],
        yerr=[0.0 if np.isnan(each.half_width) else each.half_width for _, each in known],
        capsize=2,
        markersize=5,
        linewidth=1.4,
        **style,  # type: ignore[arg-type]  # matplotlib's many keywords
    )


def depths(results: Results) -> Figure:
    """Distance of each pair of counts over the mean cluster radius, against the refinement depth that separates it."""
    figure = blank((9.2, 3.7))
    first = None
    for column, target in enumerate((0, 4, 8)):
        axes = first = figure.add_subplot(1, 3, column + 1, sharey=first)
        table = counting_table(CountingEnv(target=target))
        depth = separation_depth(table.transition, table.label)
        for slug, colour, shift, title in (
            ("reward", BLUE, -0.12, "dynamics and reward"),
            ("reward-only", VERMILION, 0.12, "reward only"),
        ):
            for run in results.of(slug, target=target):
                ratio = np.array(run["centroid_distance"]) / run["radius"]
                pairs = np.triu_indices(COUNTS, 2)
                axes.scatter(depth[pairs] + shift, ratio[pairs], s=7, color=colour, alpha=0.2, linewidths=0)
                neighbours = np.arange(COUNTS - 1), np.arange(1, COUNTS)
                axes.scatter(
                    depth[neighbours] + shift, ratio[neighbours], s=26, color=colour, marker="D", linewidths=0, label=title
                )
                title = "_again"
        axes.set_yscale("log")
        plain_numbers(axes)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"target {target}", fontsize=10, color=INK, loc="left")
        axes.set_xlabel("depth at which the pair separates", fontsize=9, color=INK)
        if column == 0:
            axes.set_ylabel("distance / cluster radius", fontsize=9, color=INK)
            names, marks = axes.get_legend_handles_labels()[::-1]
        tidy(axes)
    figure.legend(marks, names, loc="outside lower center", ncols=2, fontsize=9, frameon=False, labelcolor=INK)
    return figure


def weights(results: Results) -> Figure:
    """Accuracy, effective rank and success against c_p."""
    figure = blank((9.2, 3.0))
    shown = (("accuracy", "held-out accuracy"), ("effective_rank", "effective rank"), ("success", "success rate"))
    for column, (name, label) in enumerate(shown):
        axes = figure.add_subplot(1, 3, column + 1)
        found = [results.estimate(name, "reward", weight=weight) for weight in WEIGHTS]
        _with_intervals(axes, WEIGHTS, found, color=BLUE, marker="o")
        axes.set_xscale("log")
        axes.set_xlabel("weight $c_p$ of the reward", fontsize=10, color=INK)
        axes.set_ylabel(label, fontsize=10, color=INK)
        axes.set_ylim(0, 1.06 * max(each.mean for each in found if each.seeds))
        tidy(axes)
    return figure


def alignment(results: Results, slugs: Sequence[str]) -> Figure:
    """Cosine between the encoder's gradients of L_dyn and L_p, early and late in training: mean and interval over seeds."""
    figure = blank((6.6, 3.4))
    axes = figure.add_subplot()
    names = {row.slug: row.name for row in ROWS}
    places = np.arange(len(slugs))[::-1]
    for late, (label, colour, marker) in enumerate([("first half", VERMILION, "s"), ("second half", BLUE, "o")]):
        for place, slug in zip(places, slugs, strict=True):
            found = estimate([_mean_cosine(run["alignment"], bool(late)) for run in results.of(slug)])
            axes.errorbar(
                [found.mean],
                [place + 0.14 - 0.28 * late],
                xerr=None if np.isnan(found.half_width) else [found.half_width],
                color=colour,
                marker=marker,
                markersize=6,
                capsize=2,
                linewidth=1.4,
                label=label if place == 0 else None,
            )
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xlim(-1, 1)
    axes.set_yticks(places, [names[slug] for slug in slugs])
    axes.set_xlabel("cosine of the two gradients", fontsize=10, color=INK)
    tidy(axes)
    legend(axes, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _mean_cosine(looks: Sequence[Mapping[str, float]], late: bool) -> float:
    """Over the later or the earlier looks of one run."""
    half = len(looks) // 2
    cosines = [look["cosine"] for look in (looks[half:] if late else looks[:half])]
    return float(np.nanmean(np.array(cosines, float)))
