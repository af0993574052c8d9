"""Figures of what a model predicted against what came, each from plain arrays to pictures."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from jepa_rl.scripts.reporting.drawing import BLUE, GREY, INK, VERMILION, legend, panel, picture
from jepa_rl.scripts.reporting.imagination import OpenLoopError
from jepa_rl.scripts.reporting.page import Picture

FEW_VALUES = 9  # so many different values, or fewer, are drawn value by value
FEWEST_IN_BIN = 5
BINS = 10


def scalar_figures(name: str, quantity: str, real: np.ndarray, imagined: np.ndarray) -> list[Picture]:
    """A predicted number [N] against the real one [N]; events (0 or 1) get a calibration curve as well."""
    values, counts = np.unique(real, return_counts=True)
    if len(values) == 2 and set(values) == {0, 1}:
        return event_figures(name, quantity, real.astype(bool), imagined)
    if len(values) <= FEW_VALUES and counts.min() >= FEWEST_IN_BIN:
        return [_value_by_value(name, quantity, real, imagined)]
    return [_scatter(name, quantity, real, imagined)]


def event_figures(name: str, quantity: str, happened: np.ndarray, probability: np.ndarray) -> list[Picture]:
    """Predicted probabilities [N] of an event bool[N]: how they spread for either outcome, and how often it then came."""
    figure, axes = panel(f"Imagined {quantity}, by what came", f"imagined {quantity}", "share of those transitions")
    edges = np.linspace(min(0.0, probability.min()), max(1.0, probability.max()), 21)
    for outcome, colour in ((False, BLUE), (True, VERMILION)):
        chosen = probability[happened == outcome]
        if len(chosen):
            weights = np.full(len(chosen), 1 / len(chosen))
            label = f"real {quantity} {int(outcome)} (n = {len(chosen):,})"
            axes.hist(chosen, edges.tolist(), weights=weights, color=colour, alpha=0.75, label=label)
    axes.set_ylim(0, 1.02)
    legend(axes, loc="upper center")
    alt = f"Histograms of the imagined {quantity} of transitions in which it was 0 and in which it was 1."
    return [picture(figure, name, alt), _calibration(f"{name}-calibration", quantity, happened, probability)]


def _calibration(name: str, quantity: str, happened: np.ndarray, probability: np.ndarray) -> Picture:
    figure, axes = panel(
        f"Calibration of the {quantity}", f"imagined {quantity}, mean of bin", f"real {quantity}, mean of bin"
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    bins = np.clip((probability * BINS).astype(int), 0, BINS - 1)
    for index in range(BINS):
        chosen = happened[bins == index]
        if len(chosen) < FEWEST_IN_BIN:
            continue
        interval = binomtest(int(chosen.sum()), len(chosen)).proportion_ci(method="wilson")
        x, y = probability[bins == index].mean(), chosen.mean()
        axes.errorbar(x, y, yerr=[[y - interval.low], [interval.high - y]], fmt="o", color=BLUE, capsize=2.5, linewidth=1.3)
        axes.annotate(
            f"{len(chosen):,}",
            (x, y),
            textcoords="offset points",
            xytext=(7, -3 if y > 0.5 else -11),
            fontsize=8,
            color=INK,
        )
    axes.set_xlim(-0.05, 1.12)
    axes.set_ylim(-0.13, 1.08)
    return picture(figure, name, f"Mean real against mean imagined {quantity} in {BINS} bins, with 95 % intervals.")


def _value_by_value(name: str, quantity: str, real: np.ndarray, imagined: np.ndarray) -> Picture:
    title, below = f"Imagined {quantity} (lines: exact)", f"real {quantity}, number of transitions"
    figure, axes = panel(title, below, f"imagined {quantity}")
    values = np.unique(real)
    jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(real))
    position = np.searchsorted(values, real)
    axes.scatter(position + jitter, imagined, s=6, color=BLUE, alpha=0.4, linewidths=0)
    axes.hlines(values, np.arange(len(values)) - 0.38, np.arange(len(values)) + 0.38, color=VERMILION)
    axes.set_xticks(range(len(values)), [f"{value:.3g}\n{(real == value).sum():,}" for value in values])
    axes.set_xlim(-0.7, len(values) - 0.3)
    return picture(figure, name, f"Imagined {quantity} of each transition, grouped by its real {quantity}.")


def _scatter(name: str, quantity: str, real: np.ndarray, imagined: np.ndarray) -> Picture:
    explained = 1 - ((real - imagined) ** 2).mean() / real.var()
    title = f"Imagined against real {quantity}, R² = {explained:.2f}"
    figure, axes = panel(title, f"real {quantity}", f"imagined {quantity}")
    axes.scatter(real, imagined, s=6, color=BLUE, alpha=0.4, linewidths=0)
    ends = [min(real.min(), imagined.min()), max(real.max(), imagined.max())]
    axes.plot(ends, ends, color=VERMILION, linewidth=1.2, label="exact")
    legend(axes)
    return picture(figure, name, f"Imagined against real {quantity} of each transition, with the diagonal.")


def open_loop_figure(error: OpenLoopError, planner_horizon: int) -> Picture:
    """Open-loop latent error by horizon, against its two baselines."""
    figure, axes = panel(
        "Latent error without looking again", "horizon (environment steps)", "squared error / variance of latents"
    )
    axes.axhline(1, color=GREY, linewidth=1.2, linestyle=":", label="predict the mean latent")
    axes.plot(
        error.horizon, error.stay, "s--", color=VERMILION, linewidth=1.5, markersize=4, label="stay at the first latent"
    )
    axes.plot(error.horizon, error.model, "o-", color=BLUE, linewidth=2, markersize=5, label="the model")
    if len(error.horizon) > 1 and planner_horizon < error.horizon[-1]:
        axes.axvline(planner_horizon, color=INK, linewidth=0.8, linestyle="-.", label="planner's horizon")
    axes.set_ylim(0, 1.5 * max(1.0, error.model.max(), error.stay.max()))
    axes.set_xticks(error.horizon[:: max(1, len(error.horizon) // 8)])
    legend(axes, loc="upper left")
    alt = f"Open-loop error from {error.model[0]:.2f} after 1 step to {error.model[-1]:.2f} after {error.horizon[-1]}."
    return picture(figure, "open-loop", alt)
