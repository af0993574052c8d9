"""Figures of a run's log and of its latents, each from plain arrays to pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter
from sklearn.decomposition import PCA

from jepa_rl.scripts.reporting.drawing import (
    COLOURS,
    GREY,
    HALF,
    INK,
    blank,
    class_colours,
    legend,
    panel,
    picture,
    plain_numbers,
)
from jepa_rl.scripts.reporting.page import Picture

MANY_LINES = 3  # more leave no free corner for a legend
Line = tuple[np.ndarray, np.ndarray]
"""Environment steps [n] and values [n]."""


def curve(
    title: str, unit: str, lines: Mapping[str, Line], *, share: bool = False, reference: float | None = None
) -> tuple[Figure, Axes]:
    """A logged quantity against environment steps, a line per run.

    Values that are not finite are left out, and the title says how many. ``share`` fixes the axis to 0..1.
    """
    lost = int(sum((~np.isfinite(values)).sum() for _, values in lines.values()))
    figure, axes = panel(f"{title} ({lost} not finite)" if lost else title, "environment steps", unit)
    finite_values = [values[np.isfinite(values)] for _, values in lines.values()]
    for (label, (steps, values)), colour in zip(lines.items(), _cycle(len(lines)), strict=True):
        finite = np.isfinite(values)
        few = ".-" if finite.sum() < 4 else "-"
        axes.plot(steps[finite], values[finite], few, color=colour, linewidth=1.8, label=label)
    everything = np.concatenate(finite_values)
    if share:
        axes.set_ylim(-0.03, 1.03)
    elif len(everything) and everything.min() > 0 and everything.max() > 20 * everything.min():
        axes.set_yscale("log")
        plain_numbers(axes)
    if reference is not None:
        axes.axhline(reference, color=GREY, linewidth=1, linestyle=":")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if len(lines) > MANY_LINES:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5, frameon=False, labelcolor=INK)
    elif len(lines) > 1:
        legend(axes)
    return figure, axes


def _cycle(number: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(number)]


def components(latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first three principal components of latents [N, D], [N, 3], and their shares of the variance [3]."""
    pca = PCA(min(3, *latent.shape), random_state=0)
    return pca.fit_transform(latent), pca.explained_variance_ratio_


def latent_map(latent: np.ndarray, label: np.ndarray, noun: str) -> list[Picture]:
    """The first three principal components of latents [N, D], coloured by their labels int[N]."""
    position, shares = components(latent)
    if np.corrcoef(position[:, 0], label)[0, 1] < 0:
        position[:, 0] *= -1  # a component's sign means nothing; more to the right reads better
    share = 100 * shares
    pictures = []
    for other in range(1, position.shape[1]):
        figure, axes = panel(
            f"Latents of {len(latent):,} held-out images",
            f"principal component 1 ({share[0]:.1f} % of variance)",
            f"component {other + 1} ({share[other]:.1f} %)",
            size=(4.2, 3.9),
        )
        classes = np.unique(label)
        for kind, colour in zip(classes, class_colours(len(classes)), strict=True):
            points = position[label == kind]
            axes.scatter(points[:, 0], points[:, other], s=7, color=colour, alpha=0.55, linewidths=0, label=str(kind))
        for kind in classes:
            centre = position[label == kind].mean(0)
            text = axes.text(centre[0], centre[other], str(kind), fontsize=12, weight="bold", ha="center", va="center")
            text.set_color(INK)
            text.set_path_effects([withStroke(linewidth=3, foreground="white")])
        shown = figure.legend(
            *axes.get_legend_handles_labels(),
            loc="outside lower center",
            ncols=min(len(classes), 9),
            fontsize=8.5,
            frameon=False,
            title=noun,
            title_fontsize=9,
            markerscale=2.2,
            handletextpad=0.1,
            columnspacing=0.5,
        )
        for handle in shown.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
        alt = f"Scatter plot of latents on principal components 1 and {other + 1}, coloured by {noun}, centroids numbered."
        pictures.append(picture(figure, f"latent-map-{other}", alt))
    return pictures


def distance_map(latent: np.ndarray, label: np.ndarray, noun: str, per_class: int = 40) -> Picture:
    """Euclidean distances between latents [N, D] sorted by label, at most ``per_class`` of each."""
    classes = np.unique(label)
    rows = [np.flatnonzero(label == kind)[:per_class] for kind in classes]
    chosen = latent[np.concatenate(rows)].astype(np.float64)
    squared = (chosen**2).sum(1)
    distance = np.sqrt(np.clip(squared[:, None] + squared - 2 * chosen @ chosen.T, 0, None))
    edges = np.cumsum([0, *map(len, rows)])
    figure, axes = panel("Distance between latents, sorted", noun, noun, size=(4.6, 3.9))
    image = axes.imshow(distance, cmap="cividis", interpolation="nearest")
    axes.grid(visible=False)
    for edge in edges[1:-1]:
        axes.axhline(edge - 0.5, color="white", linewidth=0.6)
        axes.axvline(edge - 0.5, color="white", linewidth=0.6)
    band = 0.025 * edges[-1]
    for first, last, colour in zip(edges, edges[1:], class_colours(len(classes)), strict=False):
        axes.add_patch(Rectangle((-0.5 - 1.4 * band, first - 0.5), band, last - first, color=colour, clip_on=False, lw=0))
        axes.add_patch(
            Rectangle((first - 0.5, edges[-1] - 0.5 + 0.4 * band), last - first, band, color=colour, clip_on=False, lw=0)
        )
    middle = (edges[1:] + edges[:-1]) / 2 - 0.5
    axes.set_xticks(middle, [str(kind) for kind in classes])
    axes.set_yticks(middle, [str(kind) for kind in classes])
    axes.tick_params(length=0, pad=9)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("Euclidean distance (latent units)", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8.5, labelcolor=INK)
    bar.outline.set_visible(False)
    return picture(figure, "distances", f"Heat map of pairwise latent distances, rows and columns sorted by {noun}.")


def image_rows(rows: Mapping[str, np.ndarray], titles: Sequence[str]) -> list[Picture]:
    """Rows of images float [n, H, W, C] in [0, 1], named at the left, a column per title, in two halves."""
    half = (len(titles) + 1) // 2
    pictures = []
    for number, columns in enumerate((slice(half), slice(half, None)), start=1):
        shown = titles[columns]
        figure = blank((HALF[0], 0.25 + HALF[0] * len(rows) / (half + 1.4)))
        grid = figure.subplots(len(rows), half, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, title in zip(grid[0], shown, strict=False):
            axes.set_title(title, fontsize=9, color=INK, pad=3)
        for line, (name, images) in zip(grid, rows.items(), strict=True):
            for axes, image in zip(line, images[columns], strict=False):
                axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1)
            line[0].text(-0.08, 0.5, name, fontsize=8, color=INK, ha="right", va="center", transform=line[0].transAxes)
        pictures.append(picture(figure, f"reconstructions-{number}", f"Rows of images: {'; '.join(rows)}."))
    return pictures
