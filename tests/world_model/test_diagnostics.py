import numpy as np
import pytest

from jepa_rl.world_model import diagnostics

RNG = np.random.default_rng(0)
LABEL = np.tile(np.arange(9), 60)
CENTRES = 10 * np.eye(9, 16)


def test_rank_of_isotropic_noise_is_nearly_full_and_of_one_direction_is_one():
    assert diagnostics.effective_rank(RNG.normal(size=(5000, 8))) == pytest.approx(8, abs=0.05)
    line = RNG.normal(size=(500, 1)) * np.ones((1, 8))
    assert diagnostics.effective_rank(line) == pytest.approx(1)
    assert diagnostics.rankme(line) == pytest.approx(1, abs=1e-4)


def test_a_single_point_has_effective_rank_zero_but_rankme_one():
    point = np.full((100, 8), 3.0, np.float32)
    assert diagnostics.effective_rank(point) == 0
    assert diagnostics.rankme(point) == pytest.approx(1, abs=1e-4)


def test_heldout_accuracy_of_noise_is_chance_although_in_sample_it_would_be_high():
    noise, label = RNG.normal(size=(256, 256)), RNG.integers(9, size=256)
    classes, centre = diagnostics.centroids(noise, label)
    in_sample = (classes[((noise[:, None] - centre) ** 2).sum(-1).argmin(1)] == label).mean()
    assert in_sample > 0.9
    assert diagnostics.heldout_accuracy(noise, label) < 0.25


def test_separated_clusters_are_recovered():
    latent = CENTRES[LABEL] + 0.1 * RNG.normal(size=(len(LABEL), 16))
    assert diagnostics.heldout_accuracy(latent, LABEL) == 1
    assert diagnostics.cluster_agreement(latent, LABEL, 9) == pytest.approx(1)


def test_merging_two_of_nine_classes_costs_about_half_of_each():
    merged = np.where(LABEL == 8, 7, LABEL)
    latent = CENTRES[merged] + 0.1 * RNG.normal(size=(len(LABEL), 16))
    assert diagnostics.heldout_accuracy(latent, LABEL) == pytest.approx(8 / 9, abs=0.04)
    assert diagnostics.separation(latent, LABEL) < 0.2


def test_separation_is_the_smallest_distance_over_the_mean_radius():
    latent = np.array([[0.0, 1.0], [0.0, -1.0], [6.0, 1.0], [6.0, -1.0], [20.0, 1.0], [20.0, -1.0]])
    assert diagnostics.separation(latent, np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(6)


def test_mean_pairwise_distance_of_two_points_is_their_distance():
    assert diagnostics.mean_pairwise_distance(np.array([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5)


def test_normalised_dynamics_loss_divides_by_the_variance():
    latent = np.array([[-1.0, -3.0], [1.0, 3.0]])
    assert diagnostics.collapse_statistics(latent, 2.5).normalized_dynamics_loss == pytest.approx(0.5)
    assert diagnostics.collapse_statistics(np.ones((4, 2)), 2.5).normalized_dynamics_loss == np.inf


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize(
    "measure",
    [
        diagnostics.rankme,
        diagnostics.effective_rank,
        diagnostics.mean_pairwise_distance,
        lambda latent: diagnostics.heldout_accuracy(latent, LABEL[:20]),
        lambda latent: diagnostics.cluster_agreement(latent, LABEL[:20], 2),
        lambda latent: diagnostics.separation(latent, LABEL[:20]),
        lambda latent: diagnostics.standardize(np.ones((20, 3)), latent),
        lambda latent: diagnostics.collapse_statistics(latent, 1.0),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_latents_that_are_not_finite_are_named(measure, broken):
    latent = RNG.normal(size=(20, 3))
    latent[4, 1] = broken
    with pytest.raises(FloatingPointError, match="latents are not finite in 1 of 60 entries"):
        measure(latent)


def test_standardised_latents_have_unit_spread_at_any_scale_but_rounding_stays_zero():
    latent = np.stack([np.tile([1.0, 3.0], 10), 5 + 1e-12 * np.arange(20), np.full(20, 7.0)], axis=1)
    (fitted,) = diagnostics.standardize(latent, latent)
    assert fitted[:2].tolist() == [[-1, 0, 0], [1, 0, 0]]
    (shrunk, other) = diagnostics.standardize(1e-12 * latent, 1e-12 * latent, 1e-12 * latent[:1] + 1e-12)
    assert shrunk == pytest.approx(fitted)
    assert other[0].tolist() == pytest.approx([0, 0, 0])
    with pytest.raises(FloatingPointError, match="not finite"):
        diagnostics.standardize(latent, latent * np.inf)


def test_mirror_images_count_as_right_only_where_they_are_merged():
    """Latents that hold |k - 4| alone: a centroid of one of the two mirror counts is as near as the other's."""
    rng = np.random.default_rng(0)
    count = rng.integers(9, size=4_000)
    latent = np.abs(count - 4)[:, None] + 1e-3 * rng.standard_normal((4_000, 2))
    mirror = np.abs(np.arange(9) - 4)
    assert diagnostics.heldout_accuracy(latent, count) == pytest.approx(5 / 9, abs=0.05)
    assert diagnostics.heldout_accuracy(latent, count, merged=mirror) == 1


def test_a_class_of_one_half_only_is_told_of():
    latent = np.eye(3)[[0, 1, 1, 0, 2, 1]]
    with pytest.warns(UserWarning, match=r"classes \[2\] occur in one half of the 6 rows only"):
        assert diagnostics.heldout_accuracy(latent, np.array([0, 1, 1, 0, 2, 1])) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("rows", "label", "error", "message"),
    [
        (3, [0, 0, 0], ValueError, "at least 4 latents"),
        (6, [0, 1, 1, 0], ValueError, "as many labels expected, got 6 and 4"),
        (6, [0, 1, 0, 1, 0, 0], FloatingPointError, "not finite"),
    ],
)
def test_heldout_accuracy_refuses_halves_that_cannot_answer_for_each_other(rows, label, error, message):
    latent = np.ones((rows, 2))
    if error is FloatingPointError:
        latent[1] = np.nan
    with pytest.raises(error, match=message):
        diagnostics.heldout_accuracy(latent, np.array(label))


@pytest.mark.parametrize("held_as", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "dimensions"), [(512, 256), (2_000, 16), (8, 128)])
def test_a_point_rounded_to_float32_spans_no_direction(rows, dimensions, held_as):
    rng = np.random.default_rng(0)
    ulp = np.finfo(np.float32).eps * rng.uniform(-1, 1, size=(rows, dimensions))
    point = (rng.normal(size=dimensions) * (1 + ulp)).astype(np.float32)
    assert diagnostics.effective_rank(point.astype(held_as)) == 0


@pytest.mark.parametrize("scale", [1e-7, 1e7])
def test_the_effective_rank_does_not_depend_on_the_scale(scale):
    latent = np.random.default_rng(0).normal(size=(200, 8))
    assert diagnostics.effective_rank(scale * latent) == pytest.approx(diagnostics.effective_rank(latent))


def test_rows_that_are_the_same_are_no_distance_apart_and_one_row_has_none():
    row = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    assert diagnostics.mean_pairwise_distance(np.repeat(row, 512, axis=0)) == 0
    with pytest.raises(ValueError, match="at least 2 rows of latents, got 1"):
        diagnostics.mean_pairwise_distance(row)


def test_the_separation_of_one_class_is_refused():
    with pytest.raises(ValueError, match=r"at least 2 classes, got \[3\]"):
        diagnostics.separation(np.eye(4), np.full(4, 3))
