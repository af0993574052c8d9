"""Proposal distributions and weighted draws."""

import pytest
import torch

from jepa_rl.planners import BoxActions, DiscreteActions, MultiDiscreteActions
from jepa_rl.planners.distributions import CategoricalSequences, GaussianSequences, boltzmann, draw_categorical

CPU = torch.device("cpu")


def uniform(space, batch_size=2, horizon=3, warm_probability=0.5):
    return CategoricalSequences.uniform(
        space, batch_size=batch_size, horizon=horizon, warm_probability=warm_probability, device=CPU
    )


def test_draws_follow_their_weights_and_never_take_what_weighs_nothing(generator):
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0], [2.0, 0.0, 0.0, 0.0, 0.0]])
    draws = draw_categorical(weights, 100_000, generator)
    assert draws.shape == (2, 100_000)
    share = torch.stack([row.bincount(minlength=5) for row in draws]) / 100_000
    torch.testing.assert_close(share, torch.tensor([[0, 0.25, 0, 0.75, 0], [1.0, 0, 0, 0, 0]]), atol=0.01, rtol=0)
    assert not share[weights == 0].any()


@pytest.mark.parametrize("uniform_number", [0.0, 1 - 2**-24])
def test_the_extreme_random_numbers_draw_nothing_that_weighs_nothing(uniform_number, monkeypatch, generator):
    monkeypatch.setattr(torch, "rand", lambda size, **_: torch.full(size, uniform_number))
    weights = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.0]).expand(1000, -1) * torch.linspace(0.5, 2, 1000).unsqueeze(1)
    expected = 1 if uniform_number == 0 else 4
    assert (draw_categorical(weights, 1, generator) == expected).all()


def test_boltzmann_weights_are_exact_for_huge_returns_of_either_sign():
    expected = torch.softmax(torch.tensor([0.0, 2.0]), 0)
    for offset in (0.0, -1e6, 1e6):
        torch.testing.assert_close(boltzmann(torch.tensor([0.0, 1.0]) + offset, 0.5), expected)
    assert boltzmann(torch.tensor([-3e38, 3e38, 3e38]), 0.01).tolist() == [0.0, 0.5, 0.5]


def test_the_uniform_distribution_gives_nothing_to_choices_that_do_not_exist():
    probability = uniform(MultiDiscreteActions((2, 4))).probability
    assert probability.shape == (2, 3, 2, 4)
    assert probability[1, 2].tolist() == [[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]


@pytest.mark.parametrize("space", [DiscreteActions(3), MultiDiscreteActions((3, 2))], ids=str)
def test_categorical_samples_follow_the_probabilities_of_their_step(space, generator):
    start = uniform(space, batch_size=1, horizon=2, warm_probability=0.7)
    guide = torch.full((1, 1, *space.shape), 1)
    samples = start.warmed(guide, torch.tensor([True])).sample(20_000, generator)
    space.check("samples", samples, (1, 20_000, 2))
    first, second = samples.reshape(20_000, 2, -1)[:, :, 0].unbind(1)
    torch.testing.assert_close(first.bincount() / 20_000, torch.tensor([0.1, 0.8, 0.1]), atol=0.015, rtol=0)
    torch.testing.assert_close(second.bincount() / 20_000, torch.full((3,), 1 / 3), atol=0.015, rtol=0)


def test_only_warm_rows_lean_to_the_previous_plan_and_never_in_the_last_step():
    warmed = uniform(DiscreteActions(2)).warmed(torch.tensor([[1, 0], [1, 0]]), torch.tensor([True, False])).probability
    assert warmed[0, :, 0].tolist() == [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]
    assert warmed[1, :, 0].tolist() == [[0.5, 0.5]] * 3


def test_a_categorical_refit_is_the_weighted_frequency_but_for_momentum():
    space = MultiDiscreteActions((2, 3))
    actions = torch.tensor([[[[0, 2]], [[1, 2]], [[1, 0]]]])  # 1 observation, 3 sequences, 1 step
    weights = torch.tensor([[0.5, 0.25, 0.25]])
    start = uniform(space, batch_size=1, horizon=1)
    frequency = torch.tensor([[[[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]]]])
    torch.testing.assert_close(start.refit(actions, weights, 0.0).probability, frequency)
    torch.testing.assert_close(start.refit(actions, weights, 0.4).probability, 0.6 * frequency + 0.4 * start.probability)


def gaussian(mean, std, min_std=0.01):
    return GaussianSequences(mean=torch.tensor(mean), std=torch.tensor(std), min_std=min_std)


def test_a_gaussian_refit_is_the_weighted_moments_but_for_momentum_and_the_least_std():
    actions = torch.tensor([[[[-1.0, 0.2]], [[1.0, 0.2]]]])
    start = gaussian([[[0.4, 0.0]]], [[[1.0, 1.0]]])
    fitted = start.refit(actions, torch.tensor([[0.25, 0.75]]), 0.0)
    torch.testing.assert_close(fitted.mean, torch.tensor([[[0.5, 0.2]]]))
    torch.testing.assert_close(fitted.std, torch.tensor([[[0.75**0.5, 0.01]]]))
    slow = start.refit(actions, torch.tensor([[0.25, 0.75]]), 0.5)
    torch.testing.assert_close(slow.mean, torch.tensor([[[0.45, 0.1]]]))
    torch.testing.assert_close(slow.std, torch.tensor([[[(0.75**0.5 + 1) / 2, 0.5]]]))


def test_gaussian_samples_have_the_moments_and_stay_in_the_box(generator):
    samples = gaussian([[[0.2, 0.0], [-0.3, 0.9]]], [[[0.1, 0.05], [0.1, 2.0]]]).sample(20_000, generator)
    assert samples.shape == (1, 20_000, 2, 2)
    torch.testing.assert_close(samples.mean(1)[0, :, 0], torch.tensor([0.2, -0.3]), atol=0.005, rtol=0)
    torch.testing.assert_close(samples.std(1)[0, 0], torch.tensor([0.1, 0.05]), atol=0.005, rtol=0)
    assert samples.abs().max() == 1
    BoxActions(2).check("samples", samples, (1, 20_000, 2))


def test_only_warm_rows_are_centred_on_the_previous_plan_and_never_in_the_last_step():
    start = GaussianSequences.centred(BoxActions(1), batch_size=2, horizon=3, std=0.8, min_std=0.1, device=CPU)
    guide = torch.tensor([[[0.5], [-0.5]], [[0.9], [0.9]]])
    warmed = start.warmed(guide, torch.tensor([True, False]))
    assert warmed.mean.squeeze(-1).tolist() == [[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]]
    assert torch.equal(warmed.std, torch.full((2, 3, 1), 0.8))
