"""The decoder shows what is in a latent, and nothing that is not."""

import numpy as np
import torch

from jepa_rl.scripts.reporting.decoder import train_decoder, updates_within


def squares(number, seed):
    """Images [number, 20, 12, 3] of a bright square on dark ground, and its places [number, 2]."""
    rng = np.random.default_rng(seed)
    place = rng.integers(0, (15, 7), size=(number, 2))
    image = np.zeros((number, 20, 12, 3), np.uint8)
    for drawn, (y, x) in zip(image, place, strict=True):
        drawn[y : y + 5, x : x + 5] = (200, 100, 50)
    return image, place


def one_hot(place):
    return np.concatenate([np.eye(15)[place[:, 0]], np.eye(7)[place[:, 1]]], axis=1).astype(np.float32)


def test_it_draws_what_the_latent_tells_and_only_that():
    seen, place = squares(400, seed=0)
    unseen, other_place = squares(100, seed=1)
    telling = train_decoder(one_hot(place), seen, updates=300, seed=0)
    assert telling.explained_variance(one_hot(other_place), unseen) > 0.6
    noise = np.random.default_rng(2).normal(size=(500, 8)).astype(np.float32)
    silent = train_decoder(noise[:400], seen, updates=100, seed=0)
    assert silent.explained_variance(noise[400:], unseen) < 0.05


def test_images_come_back_in_their_own_size_and_range():
    image, place = squares(40, seed=0)
    decoded = train_decoder(one_hot(place), image, updates=3, seed=0).decode(one_hot(place)[:7])
    assert decoded.shape == (7, 20, 12, 3)
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    image, place = squares(40, seed=0)
    before = torch.get_rng_state()

    def decoded(seed):
        return train_decoder(one_hot(place), image, updates=3, seed=seed).decode(one_hot(place))

    assert np.array_equal(decoded(0), decoded(0))
    assert not np.array_equal(decoded(0), decoded(1))
    assert torch.equal(before, torch.get_rng_state())


def test_large_images_get_fewer_updates_in_the_same_time():
    small, large = np.zeros((40, 20, 12, 3), np.uint8), np.zeros((40, 160, 160, 3), np.uint8)
    assert updates_within(1.0, 8, small) > updates_within(1.0, 8, large) >= 1
    assert updates_within(0.0, 8, small) == 1
