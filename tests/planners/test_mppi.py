"""What is particular to MPPI: exponential weights."""

import pytest
import torch

from jepa_rl.planners import BoxActions, DiscreteActions, PlannerConfig, make_planner


def mppi(space, **settings):
    return make_planner(PlannerConfig(kind="mppi", **settings), space, 1.0)


def test_every_sample_weighs_by_the_exponential_of_its_return():
    returns = torch.tensor([[0.0, 1.0, 2.0], [-500.0, -500.0, -501.0]])
    weights = mppi(DiscreteActions(2), temperature=0.5, samples=4, elites=1).weigh(returns)
    torch.testing.assert_close(weights, torch.softmax(returns.double() / 0.5, dim=1).float())


def test_a_cold_search_refits_to_the_best_sample_and_a_hot_one_does_not_move(quadratic):
    def spread_of_last_samples(temperature):
        seen = []
        step = quadratic.step
        quadratic.step = lambda latent, action: seen.append(action) or step(latent, action)
        planner = mppi(BoxActions(2), horizon=2, samples=500, iterations=3, temperature=temperature, initial_std=0.4)
        planner.plan(quadratic, quadratic.latents(0), generator=torch.Generator().manual_seed(0))
        quadratic.step = step
        return seen[-1].std(0)

    assert spread_of_last_samples(1e-3).max() < 0.15
    assert spread_of_last_samples(1e6).min() > 0.3


def test_samples_outside_the_elites_still_count():
    weights = mppi(DiscreteActions(2), temperature=1.0, samples=4, elites=1).weigh(torch.zeros(1, 4))
    assert weights.tolist() == [pytest.approx([0.25] * 4)]
