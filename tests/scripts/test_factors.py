"""Probes, decoder and clusters say what a latent tells about the factors, on latents whose content is known."""

import dataclasses
import warnings

import numpy as np
import pytest

from jepa_rl.envs.counting import CountingEnv
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.counting_study.factors import (
    FACTORS,
    counting_images,
    decoder_errors,
    kmeans_classes,
    probe_factors,
    read_errors,
)
from jepa_rl.scripts.counting_study.ridge_decoder import image_statistics
from jepa_rl.scripts.trained_agents import latents_of

TRAIN, TEST = counting_images(CountingEnv, 600, seed=10), counting_images(CountingEnv, 600, seed=11)
NOISE = np.random.default_rng(0).normal(size=(600, 128))


def factor_vectors(images):
    return np.concatenate([np.eye(9)[images.count], images.position, images.color, np.eye(4)[images.shape]], axis=1)


def one_hot(images):
    return np.eye(9, 32, dtype=np.float32)[images.count]


def collapsed(images):
    """A constant, and differences far below what a float32 network resolves that would tell everything."""
    return 3 + 1e-12 * factor_vectors(images)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_factors_are_those_that_the_image_was_drawn_with():
    assert sorted(set(TRAIN.count)) == list(range(9))
    for index in range(40):
        covered = TRAIN.observation[index].any(-1)
        assert TRAIN.present[index] == covered.any() == (TRAIN.count[index] > 0)
        if covered.any():
            y, x = np.nonzero(covered)
            assert TRAIN.position[index] == pytest.approx((x.mean() / 63, y.mean() / 63))
            assert np.rint(TRAIN.color[index] * 255).tolist() == TRAIN.observation[index][covered][0].tolist()
    single = (TRAIN.count == 1) & (TRAIN.shape == 1)
    assert {int(image.any(-1).sum()) for image in TRAIN.observation[single]} == {49}  # a square


def test_images_follow_the_seed_and_only_a_counting_environment_has_factors():
    again = counting_images(CountingEnv, 5, seed=10)
    assert np.array_equal(again.observation, TRAIN.observation[:5])
    assert not np.array_equal(again.observation, TEST.observation[:5])
    with pytest.raises(TypeError, match="CountingEnv"):
        counting_images(lambda: make_env("CartPole-v1"), 5, seed=0)
    with pytest.raises(ValueError, match="position must have shape"):
        dataclasses.replace(again, position=again.position[:3])


def test_probes_read_every_factor_that_the_latent_is_made_of():
    found = probe_factors(factor_vectors(TEST), TEST, seed=0)
    assert list(found) == [f"{factor}_{kind}" for factor in FACTORS for kind in ("linear", "mlp")]
    assert all(probe.score > 0.95 and probe.kind == name.split("_")[1] for name, probe in found.items())


def test_a_latent_of_the_count_tells_the_count_and_nothing_else():
    found = probe_factors(one_hot(TEST), TEST, seed=0)
    for kind in ("linear", "mlp"):
        assert found[f"count_{kind}"].score == 1
        assert found[f"shape_{kind}"].score == pytest.approx(0.25, abs=0.08)
        assert found[f"color_{kind}"].score == pytest.approx(0, abs=0.08)
        assert found[f"position_{kind}"].score == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize("latent", [NOISE, collapsed(TEST), np.zeros((600, 8), np.float32)], ids=["noise", "tiny", "zero"])
def test_noise_and_collapsed_latents_are_at_chance(latent):
    for probe in probe_factors(latent, TEST, seed=0).values():
        assert probe.score == pytest.approx(probe.chance, abs=0.1)


def test_the_scale_of_a_latent_does_not_matter():
    assert probe_factors(1e-9 * one_hot(TEST).astype(float), TEST, seed=0)["count_linear"].score == 1


def test_chance_is_the_majority_of_the_test_half_and_the_mean_of_the_training_half():
    found = probe_factors(NOISE, TEST, seed=0)
    assert found["count_mlp"].chance == np.bincount(TEST.count[300:]).max() / 300
    present = TEST.present[300:]
    assert found["shape_linear"].chance == np.bincount(TEST.shape[300:][present]).max() / present.sum()
    train, test = TEST.color[:300][TEST.present[:300]], TEST.color[300:][present]
    expected = 1 - ((test - train.mean(0)) ** 2).sum(0) / ((test - test.mean(0)) ** 2).sum(0)
    assert found["color_linear"].chance == pytest.approx(expected.mean())


def test_images_without_objects_enter_the_count_probe_alone():
    changed = dataclasses.replace(TEST, color=np.where(TEST.present[:, None], TEST.color, 1e6))
    assert probe_factors(one_hot(TEST), changed, seed=0) == probe_factors(one_hot(TEST), TEST, seed=0)


def test_latents_that_are_not_finite_or_do_not_match_the_images_are_refused():
    with pytest.raises(FloatingPointError, match="not finite"):
        probe_factors(np.where(NOISE > 3, np.nan, NOISE), TEST, seed=0)
    with pytest.raises(ValueError, match="one row per image"):
        probe_factors(NOISE[:10], TEST, seed=0)


def test_a_decoder_of_all_factors_draws_images_that_show_them():
    found = decoder_errors(factor_vectors(TRAIN), TRAIN, factor_vectors(TEST), TEST, seed=0)
    limits = {"pixels": 0.99, "count": 0.4, "shape": 0.4, "color": 0.6, "position": 0.25}
    assert list(found.errors) == ["pixels", *FACTORS]
    assert all(found.errors[name] < limit for name, limit in limits.items()), found.errors


def test_what_reads_factors_from_drawings_reads_them_from_the_images_themselves():
    errors = read_errors(TEST.observation, TEST, seed=0)
    assert all(error < 0.2 for error in errors.values()), errors


def test_an_encoder_whose_latents_are_not_finite_is_refused():
    class Broken:
        def encode(self, observation):
            return np.full((len(observation), 2), np.nan)

    with pytest.raises(FloatingPointError, match="the encoder gives latents that are not finite"):
        latents_of(Broken(), np.zeros((3, 4)))


def test_a_decoder_of_the_count_draws_the_count_alone():
    found = decoder_errors(one_hot(TRAIN), TRAIN, one_hot(TEST), TEST, seed=0)
    assert found.errors["count"] < 0.02
    assert all(found.errors[factor] == pytest.approx(1, abs=0.15) for factor in ("shape", "color", "position"))
    assert found.observation.shape == found.reconstruction.shape == (9, 64, 64, 3)
    mass = found.reconstruction.sum((1, 2, 3), dtype=float)
    assert (found.observation[0] == 0).all()
    assert (np.diff(mass) > 0).all()


def test_a_decoder_of_collapsed_latents_draws_nothing_that_can_be_read():
    found = decoder_errors(collapsed(TRAIN), TRAIN, collapsed(TEST), TEST, seed=0)
    assert all(error == pytest.approx(1, abs=0.05) for error in found.errors.values()), found.errors


def test_the_seed_decides():
    few, other = (dataclasses.replace(images, **first(images, 150)) for images in (TRAIN, TEST))

    def figures(seed):
        return decoder_errors(factor_vectors(few), few, factor_vectors(other), other, seed).errors

    assert figures(0) == figures(0) != figures(1)
    assert probe_factors(factor_vectors(few), few, 0) == probe_factors(factor_vectors(few), few, 0)


def first(images, number):
    return {field.name: getattr(images, field.name)[:number] for field in dataclasses.fields(images)}


def test_statistics_of_a_black_and_of_a_single_pixel_image():
    image = np.zeros((2, 64, 64, 3), np.uint8)
    image[1, 10, 63] = (255, 0, 51)
    black, pixel = image_statistics(image)
    assert np.isfinite(black).all()
    assert black[5:7].tolist() == [0.5, 0.5]
    assert pixel[:3].tolist() == pytest.approx([1, 0, 0.2])
    assert pixel[3:5] == pytest.approx([1, 1], rel=1e-3)  # covered pixels
    assert pixel[5:7] == pytest.approx([1, 10 / 63])
    assert pixel[7:10] == pytest.approx([1, 0, 0.2])
    assert pixel[13:] == pytest.approx(np.zeros(len(pixel) - 13), abs=1e-4)
    with pytest.raises(ValueError, match="uint8"):
        image_statistics(image / 255)


@pytest.mark.parametrize("groups", [2, 5, 9])
def test_the_number_of_clusters_is_found_without_labels(groups):
    rng = np.random.default_rng(1)
    label = rng.integers(groups, size=400)
    latent = np.eye(9, 32)[label] + 0.05 * rng.normal(size=(400, 32))
    assert kmeans_classes(1e-6 * latent + 1e-3, seed=0) == groups
    assert kmeans_classes(np.eye(9)[label], seed=0) == groups  # fewer distinct points than max_classes


def test_no_more_clusters_than_the_maximum_are_tried():
    three = np.eye(3)[np.arange(300) % 3]
    assert kmeans_classes(three) == 3
    assert kmeans_classes(three, max_classes=2) == 2
    with pytest.raises(ValueError, match="max_classes"):
        kmeans_classes(three, max_classes=1)


def test_collapsed_and_spread_out_latents_are_one_cluster():
    assert kmeans_classes(np.full((300, 16), 0.3, np.float32)) == 1
    assert kmeans_classes(collapsed(TEST)) == 1
    assert kmeans_classes(NOISE) == 1
