"""What a set of latents keeps: rank, spread, and held-out agreement with known classes. Plain numpy, latents [N, D].

Each of these raises FloatingPointError for latents that are not finite.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

RANK_FLOOR = 1e-7  # of RankMe's shares, as in its paper
ROUNDINGS = 4  # roundings of float32 that a latent may be off by, as it comes out of a network
SPREAD_FLOOR = 1e-5  # of the latents' root mean square; float32 networks round at about a tenth of it


def standardize(fit: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Each of ``others`` [N, D] with the mean removed and divided by the standard deviation of ``fit``, as float64.

    A dimension that varies by less than ``SPREAD_FLOOR`` of the latents' own size becomes 0: dividing by its spread would
    blow rounding errors up to signals. The floor is relative because the scale of a latent means nothing: L_dyn falls
    when a latent shrinks, whatever it tells.
    """
    for latent in (fit, *others):
        _require_finite(latent)
    mean, std = fit.mean(0, dtype=np.float64), fit.std(0, dtype=np.float64)
    size = np.sqrt(np.square(fit, dtype=np.float64).mean())
    varies = std > SPREAD_FLOOR * size
    return [(latent - mean) / np.where(varies, std, 1.0) * varies for latent in others]


def rankme(latent: np.ndarray) -> float:
    """RankMe (arXiv:2210.02885): exp of the entropy of the normalised singular values. Between 1 and min(N, D)."""
    _require_finite(latent)
    singular = np.linalg.svd(latent.astype(np.float64), compute_uv=False)
    share = singular / max(singular.sum(), np.finfo(np.float64).tiny) + RANK_FLOOR
    return float(np.exp(-(share * np.log(share)).sum()))


def effective_rank(latent: np.ndarray) -> float:
    """The same entropy on centred latents (Roy & Vetterli 2007): how many directions the *differences* span.

    A representation that maps everything to one point has 0 of them, not RankMe's 1. So has one whose differences are no
    larger than float32 rounds; the scale of the latents does not matter.
    """
    _require_finite(latent)
    centred = latent.astype(np.float64) - latent.mean(0, dtype=np.float64)
    singular = np.linalg.svd(centred, compute_uv=False)
    total = singular.sum()
    # Errors of a share eps of every entry have a Frobenius norm of at most eps |latent|, and min(N, D) singular values of
    # that norm add up to at most sqrt(min(N, D)) times it. float32 is what networks compute in, whatever holds the latents.
    rounding = ROUNDINGS * float(np.finfo(np.float32).eps) * np.linalg.norm(latent.astype(np.float64))
    if total <= rounding * np.sqrt(min(latent.shape)):
        return 0.0
    share = singular[singular > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def mean_pairwise_distance(latent: np.ndarray) -> float:
    """Mean Euclidean distance between different rows; at most the first 512 rows enter. ValueError for fewer than 2."""
    if len(latent) < 2:
        raise ValueError(f"a distance between rows needs at least 2 rows of latents, got {len(latent)}")
    _require_finite(latent[:512])
    return float(pdist(latent[:512].astype(np.float64)).mean())


def centroids(latent: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes that occur, int[C], and their mean latents [C, D]."""
    classes = np.unique(label)
    return classes, np.stack([latent[label == kind].mean(0) for kind in classes])


def heldout_accuracy(latent: np.ndarray, label: np.ndarray, merged: np.ndarray | None = None) -> float:
    """Nearest-centroid accuracy with the centroids from one half and the other half classified, both ways, averaged.

    Centroids from the very rows that they classify reward dimension, not structure: pure noise then scores 0.92 with 256
    dimensions and nine classes. ``merged`` gives each label 0..C-1 a group: an answer of the right group counts as right.

    The rows must be in random order, because the halves are the first and the second of them; there is a warning where a
    class occurs in one half only, since the other's centroids cannot name it. Raises ValueError for fewer than 2 rows in a
    half.
    """
    half = len(latent) // 2
    if half < 2 or len(label) != len(latent):
        raise ValueError(f"at least 4 latents and as many labels expected, got {len(latent)} and {len(label)}")
    _require_finite(latent)
    first, second = slice(None, half), slice(half, None)
    lonely = np.setxor1d(label[first], label[second])
    if len(lonely):
        warnings.warn(
            f"the classes {lonely.tolist()} occur in one half of the {len(latent)} rows only, where they count as wrong; "
            "rows must be in random order",
            stacklevel=2,
        )
    scores = []
    for fit, test in ((first, second), (second, first)):
        classes, centre = centroids(latent[fit], label[fit])
        distance = ((latent[test, None] - centre) ** 2).sum(-1)
        told, truth = classes[distance.argmin(1)], label[test]
        scores.append((told == truth if merged is None else merged[told] == merged[truth]).mean())
    return float(np.mean(scores))


def cluster_agreement(latent: np.ndarray, label: np.ndarray, clusters: int, seed: int = 0) -> float:
    """Adjusted Rand index between the labels and k-means clusters, found without the labels."""
    _require_finite(latent)
    found = KMeans(clusters, n_init=10, random_state=seed).fit_predict(latent)
    return float(adjusted_rand_score(label, found))


def separation(latent: np.ndarray, label: np.ndarray) -> float:
    """The smallest distance between two class centroids over the mean cluster radius (mean distance to the centroid).

    Raises ValueError for fewer than 2 classes.
    """
    _require_finite(latent)
    classes, centre = centroids(latent, label)
    if len(classes) < 2:
        raise ValueError(f"separation needs at least 2 classes, got {classes.tolist()}")
    radius = np.mean(
        [np.linalg.norm(latent[label == kind] - c, axis=1).mean() for kind, c in zip(classes, centre, strict=True)]
    )
    distance = np.linalg.norm(centre[:, None] - centre, axis=-1)
    np.fill_diagonal(distance, np.inf)
    return float(distance.min() / max(radius, np.finfo(np.float64).tiny))


def _require_finite(latent: np.ndarray) -> None:
    finite = np.isfinite(latent)
    if not finite.all():
        raise FloatingPointError(f"latents are not finite in {int((~finite).sum())} of {finite.size} entries")


@dataclass(frozen=True, kw_only=True, slots=True)
class CollapseStatistics:
    """How far a set of latents is from collapse."""

    effective_rank: float
    variance: float  # mean over dimensions
    pairwise_distance: float
    normalized_dynamics_loss: float  # one-step L_dyn over the variance; 1 = no better than predicting the mean


def collapse_statistics(latent: np.ndarray, dynamics_loss: float) -> CollapseStatistics:
    """Statistics of latents [N, D]; ``dynamics_loss`` is the plain one-step L_dyn on the same data."""
    variance = float(latent.var(0, dtype=np.float64).mean())
    return CollapseStatistics(
        effective_rank=effective_rank(latent),
        variance=variance,
        pairwise_distance=mean_pairwise_distance(latent),
        normalized_dynamics_loss=dynamics_loss / variance if variance > 0 else float("inf"),
    )
