"""What is particular to CEM: its elites."""

import pytest
import torch

from jepa_rl.planners import BoxActions, DiscreteActions, PlannerConfig, make_planner
from jepa_rl.planners.cem import CEMPlanner
from jepa_rl.planners.sampling import Candidates, elite_mask


def cem(space, **settings):
    return make_planner(PlannerConfig(kind="cem", **settings), space, 1.0)


def test_elites_weigh_the_same_and_ties_with_the_last_of_them_count():
    weights = cem(DiscreteActions(2), samples=6, elites=2).weigh(
        torch.tensor([[5.0, -1.0, 3.0, 3.0, 2.0, 3.0], [-9.0, -8.0, -7.0, -6.0, -5.0, -4.0], [1.0] * 6])
    )
    torch.testing.assert_close(
        weights,
        torch.tensor([[0.25, 0, 0.25, 0.25, 0, 0.25], [0, 0, 0, 0, 0.5, 0.5], [1 / 6] * 6]),
    )


def test_elites_are_found_per_observation():
    returns = torch.tensor([[1.0, 2.0, 3.0], [30.0, 20.0, 10.0]])
    assert elite_mask(returns, 1).tolist() == [[False, False, True], [True, False, False]]


def test_on_a_flat_landscape_the_distribution_stays_uniform(flat_mdp, generator):
    # With 4 of 4000 ties picked as elites, frequencies would scatter by 0.25 in each refit.
    model = flat_mdp(DiscreteActions(2))
    planner = cem(model.space, horizon=1, samples=4000, elites=4, iterations=6, momentum=0.0)
    seen = []
    model.step = lambda latent, action, step=model.step: seen.append(action.float().mean().item()) or step(latent, action)
    planner.plan(model, model.latents(0), generator=generator)
    assert len(seen) == 6
    assert seen == pytest.approx([0.5] * 6, abs=0.06)


def test_the_best_comes_first_and_of_equals_the_earlier():
    candidates = Candidates(
        actions=torch.tensor([[[0], [1], [2], [3]], [[4], [5], [6], [7]]]),
        returns=torch.tensor([[-2.0, -1.0, -3.0, -1.0], [0.0, 0.0, 0.0, 1.0]]),
    )
    top = candidates.top(3)
    assert top.actions.squeeze(-1).tolist() == [[1, 3, 0], [7, 4, 5]]
    assert top.returns.tolist() == [[-1.0, -1.0, -2.0], [1.0, 0.0, 0.0]]
    best = candidates.choose(
        elites=1, temperature=1.0, generator=torch.Generator(), deterministic=True, spread=candidates.spread(2)
    )
    assert best.spread.tolist() == [0.5, 0.0]
    assert best.actions.squeeze(-1).tolist() == [1, 7]
    assert best.value.tolist() == [-1.0, 1.0]


def test_as_many_elites_as_stated_compete_again(random_mdp, generator, monkeypatch):
    model, seen, weigh = random_mdp(0, DiscreteActions(3)), [], CEMPlanner.weigh
    monkeypatch.setattr(CEMPlanner, "weigh", lambda self, returns: seen.append(returns) or weigh(self, returns))
    planner = cem(model.space, horizon=2, samples=20, elites=10, iterations=3, elite_carry_fraction=0.5)
    planner.plan(model, model.latents(0), generator=generator)
    assert [each.shape[1] for each in seen] == [20, 25]
    assert torch.equal(seen[1][:, :5], seen[0].topk(5).values)


def test_no_refit_goes_below_the_least_deviation(quadratic, generator):
    seen, step = [], quadratic.step
    quadratic.step = lambda latent, action: seen.append(action) or step(latent, action)
    config = PlannerConfig(kind="cem", horizon=2, samples=500, elites=5, iterations=6, momentum=0.0, min_std=0.2)
    make_planner(config, BoxActions(2), 1.0).plan(quadratic, quadratic.latents(0), generator=generator)
    assert seen[-1].std(0).min() > 0.12


def test_elites_that_are_carried_over_are_not_imagined_again(random_mdp, generator):
    model = random_mdp(0, DiscreteActions(3))
    planner = cem(model.space, horizon=2, samples=20, elites=10, iterations=3, elite_carry_fraction=0.5)
    planner.plan(model, model.latents(0, 1), generator=generator)
    assert model.rows_stepped == [40] * 6


@pytest.mark.parametrize("kind", ["cem", "mppi"])
def test_the_best_of_an_early_iteration_is_not_lost(kind, needle_mdp):
    # A proposal pays 1; with nothing else carried over, later iterations must not forget it.
    way = (1, 0, 1, 1, 0, 1, 0, 0, 1, 1)
    model = needle_mdp(way, count=2)
    config = PlannerConfig(
        kind=kind, horizon=10, samples=8, elites=8, iterations=6, elite_carry_fraction=0.0, temperature=1e4, momentum=0.9
    )
    planner = make_planner(config, model.space, 1.0)
    plan = planner.plan(
        model, model.latents(0), generator=torch.Generator().manual_seed(0), proposals=torch.tensor([[way]])
    )
    assert plan.value.item() == 1.0
    assert plan.actions[0].tolist() == list(way)
