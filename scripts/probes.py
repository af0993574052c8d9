"""How well something can be read from latents: linear and small nonlinear probes, scored on rows that they never saw."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor

from jepa_rl.world_model.diagnostics import standardize

ProbeKind = Literal["linear", "mlp"]

R2_FLOOR = -1.0
HIDDEN = 64
EPOCHS = 60
DECAYS = (100.0, 3.0, 0.1)  # scikit-learn divides them by the number of rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How well something can be read from latents that the probe was not fitted to."""

    score: float  # accuracy of classes; R^2 of numbers, at least -1
    chance: float  # of the test rows' most frequent class; of the mean of the rows that were fitted
    kind: ProbeKind


def probe(
    latent: np.ndarray, value: np.ndarray, latent_test: np.ndarray, value_test: np.ndarray, *, kind: ProbeKind, seed: int
) -> Probe:
    """Fit to latents [N, D] and their values, score on the test rows. Values are classes int[N] or numbers float[N, K].

    R^2 is bounded below by -1: one probe that diverges must not decide a mean over seeds.
    """
    x, x_test = one_scale(latent, latent, latent_test)
    read = _probe_classes if np.issubdtype(value.dtype, np.integer) else _probe_numbers
    with _capped():
        score, chance = read(x, value, x_test, value_test, kind == "linear", seed)
    return Probe(score=score, chance=chance, kind=kind)


def one_scale(fit: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Like ``standardize``, rounding errors removed, but one scale for all dimensions: distances keep their proportions.

    Dimensions made equally large would be equally loud, also those in which there is little but noise to hear.
    """
    std = fit.std(0, dtype=np.float64)
    return [part * (std / (std.max() or 1.0)) for part in standardize(fit, *others)]


def majority(label: np.ndarray) -> float:
    """Share of the most frequent class."""
    return float(np.bincount(label).max() / len(label))


def _probe_classes(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, linear: bool, seed: int
) -> tuple[float, float]:
    model = LogisticRegression(C=100, max_iter=300, tol=1e-3).fit(x, y) if linear else _mlp(MLPClassifier, x, y, seed)
    return float((model.predict(x_test) == y_test).mean()), majority(y_test)


def _probe_numbers(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, linear: bool, seed: int
) -> tuple[float, float]:
    mean, std = y.mean(0), y.std(0)  # the network's steps are made for targets of unit size
    unit = (y - mean) / std
    model = RidgeCV(np.logspace(-1, 5, 7)).fit(x, unit) if linear else _mlp(MLPRegressor, x, unit, seed)
    predicted = model.predict(x_test) * std + mean
    score, chance = r2_score(y_test, predicted), r2_score(y_test, np.broadcast_to(mean, y_test.shape))
    return max(float(score), R2_FLOOR), float(chance)


def _mlp(kind: type[MLPClassifier] | type[MLPRegressor], x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    """The best of a few weight decays on held-out rows: with 256 dimensions of noise, early stopping alone is too late."""
    fitted = [
        kind(
            hidden_layer_sizes=(HIDDEN,),
            alpha=decay,
            batch_size=min(100, len(x) // 2),
            learning_rate_init=1e-2,
            early_stopping=True,
            validation_fraction=0.15,
            n_iter_no_change=8,
            max_iter=EPOCHS,
            random_state=seed,
        ).fit(x, y)
        for decay in DECAYS
    ]
    return max(fitted, key=lambda model: model.best_validation_score_)


@contextmanager
def _capped() -> Iterator[None]:
    """Iterations are capped for time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
