"""What a representation of the counting environment keeps, factor by factor: by probes, by a decoder, by clusters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score, silhouette_score
from sklearn.neural_network import MLPClassifier, MLPRegressor

from jepa_rl.envs.counting import IMAGE_SIZE, SHAPES, CountingEnv
from jepa_rl.scripts.counting_study.ridge_decoder import image_statistics, ridge_decode
from jepa_rl.world_model.diagnostics import standardize

FACTORS = ("count", "shape", "color", "position")
CLASSES = ("count", "shape")  # the others are real numbers
R2_FLOOR = -1.0
HIDDEN = 64
EPOCHS = 60
DECAYS = (100.0, 3.0, 0.1)  # scikit-learn divides them by the number of rows
TREES = 40
CLUSTERED = 1_000  # rows that the number of clusters is chosen on
MIN_SILHOUETTE = 0.25  # below it, "no substantial structure" (Kaufman & Rousseeuw 1990)


@dataclass(frozen=True, kw_only=True, slots=True)
class FactoredImages:
    """Images of the counting environment and what they were drawn from.

    Without objects there is no shape, colour or position: where ``present`` is False, those three hold placeholders.
    """

    observation: np.ndarray  # uint8[N, 64, 64, 3]
    count: np.ndarray  # int[N]
    shape: np.ndarray  # int[N], an index of SHAPES
    color: np.ndarray  # float[N, 3] in [0, 1]
    position: np.ndarray  # float[N, 2] in [0, 1]: mean x and y of the covered pixels

    def __post_init__(self) -> None:
        number = len(self.observation)
        expected = {"observation": (IMAGE_SIZE, IMAGE_SIZE, 3), "count": (), "shape": (), "color": (3,), "position": (2,)}
        for name, rest in expected.items():
            if (found := getattr(self, name).shape) != (number, *rest):
                raise ValueError(f"{name} must have shape {(number, *rest)}, got {found}")
        if self.observation.dtype != np.uint8:
            raise TypeError(f"observation must be uint8, got {self.observation.dtype}")

    @property
    def present(self) -> np.ndarray:
        """bool[N]: there is an object."""
        return self.count > 0


def counting_images(factory: Callable[[], gym.Env[Any, Any]], number: int, seed: int) -> FactoredImages:
    """First observations of ``number`` episodes of a counting environment; ``seed`` is that of the first reset."""
    if number < 1:
        raise ValueError(f"number must be at least 1, got {number}")
    env = factory()
    plain = env.unwrapped
    if not isinstance(plain, CountingEnv):
        raise TypeError(f"factory must make a CountingEnv, got {type(plain).__name__}")
    rows = []
    for index in range(number):
        observation, info = env.reset(seed=seed if index == 0 else None)
        place = mean_position(observation)
        rows.append((observation, info["count"], SHAPES.index(plain.shape), plain.color / 255, place))
    env.close()
    observation, count, shape, color, position = (np.stack(column) for column in zip(*rows, strict=True))
    return FactoredImages(observation=observation, count=count, shape=shape, color=color, position=position)


def mean_position(image: np.ndarray) -> np.ndarray:
    """Of the covered pixels, as (x, y); the centre where nothing is covered."""
    y, x = np.nonzero(image.any(-1))
    return np.array([x.mean(), y.mean()]) / (IMAGE_SIZE - 1) if len(x) else np.full(2, 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How well a factor can be read from latents that the probe was not fitted to."""

    score: float  # accuracy for count and shape; R^2 for colour and position, at least -1
    chance: float  # of the test half's most frequent class; of the training half's mean
    kind: Literal["linear", "mlp"]


def probe_factors(latent: np.ndarray, images: FactoredImages, seed: int) -> dict[str, Probe]:
    """Probes "<factor>_linear" and "<factor>_mlp" of latents [N, D], fitted on the first half, scored on the second.

    R^2 is bounded below by -1: one probe that diverges must not decide a mean over seeds.
    """
    _check_rows(latent, images)
    found: dict[str, Probe] = {}
    for factor in FACTORS:
        fit, test = _halves(images, factor)
        value, (x, x_test) = getattr(images, factor), _one_scale(latent[fit], latent[fit], latent[test])
        probe = _probe_class if factor in CLASSES else _probe_numbers
        for kind in ("linear", "mlp"):
            with _capped():
                score, chance = probe(x, value[fit], x_test, value[test], kind == "linear", seed)
            found[f"{factor}_{kind}"] = Probe(score=score, chance=chance, kind="linear" if kind == "linear" else "mlp")
    return found


def _probe_class(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, linear: bool, seed: int
) -> tuple[float, float]:
    model = LogisticRegression(C=100, max_iter=300, tol=1e-3).fit(x, y) if linear else _mlp(MLPClassifier, x, y, seed)
    return float((model.predict(x_test) == y_test).mean()), _majority(y_test)


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
    """Iterations are capped for time; and k-means may be asked for more clusters than there are distinct points."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderErrors:
    """What images decoded from latents still show: error of a reader over the error of knowing nothing.

    0 is exact and 1 is no knowledge (it may be exceeded). Mean squared error over variance, but for the shape: share of
    wrong answers over that of the most frequent shape. ``errors`` also has "pixels", the decoder's own.
    """

    errors: dict[str, float]
    reader_errors: dict[str, float]  # of the same reader, fitted to and tested on the true images
    observation: np.ndarray  # uint8[K, 64, 64, 3], the first test image of each count
    reconstruction: np.ndarray  # uint8[K, 64, 64, 3], decoded


def decoder_errors(
    latent_train: np.ndarray, images_train: FactoredImages, latent_test: np.ndarray, images_test: FactoredImages, seed: int
) -> DecoderErrors:
    """Decode test images from latents [N, D], and read the factors from what was drawn.

    The readers learn from drawings, not from true images: where positions are unknown the best drawing is a blur, which
    looks like no true image even if it has the right mass, hue and place. They learn from the first half of the test
    images, none of which the decoder saw, and are scored on the other.
    """
    _check_rows(latent_train, images_train)
    _check_rows(latent_test, images_test)
    drawn, error = ridge_decode(latent_train, images_train.observation, latent_test, images_test.observation, seed)
    _, shown = np.unique(images_test.count, return_index=True)
    return DecoderErrors(
        errors={"pixels": error} | _read(drawn, images_test, seed),
        reader_errors=_read(images_test.observation, images_test, seed),
        observation=images_test.observation[shown],
        reconstruction=drawn[shown],
    )


def _read(drawn: np.ndarray, images: FactoredImages, seed: int) -> dict[str, float]:
    """Errors of trees that read factors from the statistics of drawings of ``images``."""
    look = image_statistics(drawn)
    settings: dict[str, Any] = {"n_estimators": TREES, "min_samples_leaf": 5, "max_features": 1.0, "random_state": seed}
    errors = {}
    for factor in FACTORS:
        fit, test = _halves(images, factor)
        value = getattr(images, factor)
        reader = ExtraTreesClassifier(**settings) if factor == "shape" else ExtraTreesRegressor(**settings)
        told, truth = reader.fit(look[fit], value[fit]).predict(look[test]), value[test]
        if factor == "shape":
            errors[factor] = float((told != truth).mean() / (1 - _majority(truth)))
        else:
            errors[factor] = float((((told - truth) ** 2).mean(0) / truth.var(0)).mean())
    return errors


def kmeans_classes(latent: np.ndarray, max_classes: int = 12, seed: int = 0) -> int:
    """The number of k-means clusters in latents [N, D], chosen without labels by the silhouette over 2..``max_classes``.

    It is 1 where no dimension varies beyond rounding (collapse), and where no number of clusters has a mean silhouette of
    ``MIN_SILHOUETTE``: latents that are spread out, rather than grouped.
    """
    if max_classes < 2:
        raise ValueError(f"max_classes must be at least 2, got {max_classes}")
    (rows,) = _one_scale(latent[:CLUSTERED], latent[:CLUSTERED])
    if not rows.any():
        return 1
    distance = np.sqrt(np.maximum(((rows**2).sum(1)[:, None] + (rows**2).sum(1) - 2 * rows @ rows.T), 0))
    np.fill_diagonal(distance, 0)
    largest = min(max_classes, len(np.unique(rows, axis=0)), len(rows) - 1)
    scores = {1: MIN_SILHOUETTE}
    for clusters in range(2, largest + 1):
        found = KMeans(clusters, n_init=5, random_state=seed).fit_predict(rows)
        scores[clusters] = float(silhouette_score(distance, found, metric="precomputed"))
    return max(scores, key=lambda clusters: scores[clusters])


def _one_scale(fit: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Like ``standardize``, rounding errors removed, but one scale for all dimensions: distances keep their proportions.

    Dimensions made equally large would be equally loud, also those in which there is little but noise to hear.
    """
    std = fit.std(0, dtype=np.float64)
    return [part * (std / (std.max() or 1.0)) for part in standardize(fit, *others)]


def _halves(images: FactoredImages, factor: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images that have the factor, in the first and in the second half."""
    has = np.arange(len(images.count)) if factor == "count" else np.flatnonzero(images.present)
    half = len(images.count) // 2
    return has[has < half], has[has >= half]


def _majority(label: np.ndarray) -> float:
    return float(np.bincount(label).max() / len(label))


def _check_rows(latent: np.ndarray, images: FactoredImages) -> None:
    if latent.ndim != 2 or len(latent) != len(images.count):
        raise ValueError(f"latent must be [{len(images.count)}, D], one row per image, got {latent.shape}")
