"""What a representation of the counting environment keeps, factor by factor: by probes, by a decoder, by clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.metrics import silhouette_score

from jepa_rl.envs.counting import IMAGE_SIZE, SHAPES, CountingEnv
from jepa_rl.scripts.counting_study.ridge_decoder import image_statistics, ridge_decode
from jepa_rl.scripts.probes import Probe, ProbeKind, majority, one_scale, probe

FACTORS = ("count", "shape", "color", "position")
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


def probe_factors(latent: np.ndarray, images: FactoredImages, seed: int) -> dict[str, Probe]:
    """Probes "<factor>_linear" and "<factor>_mlp" of latents [N, D], fitted on the first half, scored on the second."""
    _check_rows(latent, images)
    kinds: tuple[ProbeKind, ...] = ("linear", "mlp")
    found: dict[str, Probe] = {}
    for factor in FACTORS:
        fit, test = _halves(images, factor)
        value = getattr(images, factor)
        for kind in kinds:
            found[f"{factor}_{kind}"] = probe(latent[fit], value[fit], latent[test], value[test], kind=kind, seed=seed)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderErrors:
    """What images decoded from latents still show: error of a reader over the error of knowing nothing.

    0 is exact and 1 is no knowledge (it may be exceeded). Mean squared error over variance, but for the shape: share of
    wrong answers over that of the most frequent shape. ``errors`` also has "pixels", the decoder's own.
    """

    errors: dict[str, float]
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
        errors={"pixels": error} | read_errors(drawn, images_test, seed),
        observation=images_test.observation[shown],
        reconstruction=drawn[shown],
    )


def read_errors(drawn: np.ndarray, images: FactoredImages, seed: int) -> dict[str, float]:
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
            errors[factor] = float((told != truth).mean() / (1 - majority(truth)))
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
    (rows,) = one_scale(latent[:CLUSTERED], latent[:CLUSTERED])
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


def _halves(images: FactoredImages, factor: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the images that have the factor, in the first and in the second half."""
    has = np.arange(len(images.count)) if factor == "count" else np.flatnonzero(images.present)
    half = len(images.count) // 2
    return has[has < half], has[has >= half]


def _check_rows(latent: np.ndarray, images: FactoredImages) -> None:
    if latent.ndim != 2 or len(latent) != len(images.count):
        raise ValueError(f"latent must be [{len(images.count)}, D], one row per image, got {latent.shape}")
