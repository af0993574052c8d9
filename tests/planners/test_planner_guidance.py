"""The previous plan and proposals from elsewhere: used, shifted, checked, and ignored where they must be."""

import pytest
import torch

from jepa_rl.planners import BoxActions, DiscreteActions, MultiDiscreteActions, PlannerConfig, make_planner

SAMPLING = ["cem", "mppi", "random_shooting"]
WAY = (2, 0, 1, 2, 1, 0, 0, 2)  # one of 6561 sequences pays; few samples do not find it
TINY = {"samples": 8, "elites": 2, "iterations": 2}


def planner_of(kind, space, discount=1.0, **settings):
    return make_planner(PlannerConfig(kind=kind, **settings), space, discount)


def previous_plan(batch_size):
    """What a planner that knew the way played one step before: the way begins at its second step."""
    return torch.tensor([[0, *WAY[:-1]]] * batch_size)


@pytest.mark.parametrize("kind", SAMPLING)
def test_a_warm_start_is_shifted_by_the_step_taken_and_only_its_last_step_is_searched(kind, needle_mdp):
    model = needle_mdp(WAY, count=3)
    planner, latent = planner_of(kind, model.space, horizon=8, **TINY), model.latents(*[0] * 200)

    def found(**guidance):
        generator = torch.Generator().manual_seed(1)
        return (planner.plan(model, latent, generator=generator, **guidance).value == 1).float().mean().item()

    assert found() < 0.02
    # The last action is not in the previous plan: the shifted plan guesses it (1 in 3), a refit may complete it.
    assert 0.25 < found(warm_start=previous_plan(200)) < 0.9
    assert found(warm_start=torch.tensor([WAY] * 200)) < 0.02  # what is not shifted would win at once


@pytest.mark.parametrize("kind", SAMPLING)
def test_rows_that_are_not_warm_plan_as_if_there_had_been_no_plan(kind, needle_mdp):
    model = needle_mdp(WAY[:-1], count=3)
    planner, latent = planner_of(kind, model.space, horizon=7, **TINY), model.latents(0, 0, 0, 0)
    warm_start = torch.tensor([[0, *WAY[:-2]]] * 4)
    warm = torch.tensor([True, False, True, False])
    cold = planner.plan(model, latent, generator=torch.Generator().manual_seed(2))
    mixed = planner.plan(model, latent, generator=torch.Generator().manual_seed(2), warm_start=warm_start, warm=warm)
    hot = planner.plan(model, latent, generator=torch.Generator().manual_seed(2), warm_start=warm_start)
    assert torch.equal(mixed.actions[~warm], cold.actions[~warm])
    assert torch.equal(mixed.actions[warm], hot.actions[warm])
    assert not torch.equal(mixed.actions[warm], cold.actions[warm])


def first_actions(model, latent, planner, **guidance):
    """The actions [B, samples, ...] that the first imagined step tries."""
    seen = []
    step = model.step
    model.step = lambda latent, action: seen.append(action) or step(latent, action)
    planner.plan(model, latent, generator=torch.Generator().manual_seed(0), **guidance)
    return seen[0].unflatten(0, (len(latent), -1))


@pytest.mark.parametrize("kind", ["cem", "mppi"])
def test_finite_samples_lean_to_the_shifted_plan(kind, flat_mdp):
    model = flat_mdp(DiscreteActions(4))
    planner = planner_of(kind, model.space, horizon=2, samples=4000, iterations=1, warm_probability=0.6)
    guidance = {"warm_start": torch.tensor([[0, 3], [0, 3]]), "warm": torch.tensor([True, False])}
    tried = first_actions(model, model.latents(0, 0), planner, **guidance)
    share = torch.stack([row.bincount(minlength=4) for row in tried]) / 4000
    expected = torch.tensor([[0.1, 0.1, 0.1, 0.7], [0.25, 0.25, 0.25, 0.25]])
    torch.testing.assert_close(share, expected, atol=0.03, rtol=0)


@pytest.mark.parametrize("kind", ["cem", "mppi"])
def test_box_samples_are_centred_on_the_shifted_plan(kind, quadratic):
    planner = planner_of(kind, BoxActions(2), horizon=2, samples=4000, iterations=1, initial_std=0.1)
    warm_start = torch.tensor([[[0.0, 0.0], [0.6, -0.5]]]).expand(2, -1, -1)
    guidance = {"warm_start": warm_start, "warm": torch.tensor([True, False])}
    tried = first_actions(quadratic, quadratic.latents(0, 0), planner, **guidance)
    torch.testing.assert_close(tried.mean(1), torch.tensor([[0.6, -0.5], [0.0, 0.0]]), atol=0.01, rtol=0)
    torch.testing.assert_close(tried.std(1), torch.full((2, 2), 0.1), atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", SAMPLING)
def test_the_shifted_plan_itself_competes_for_a_box(kind, quadratic):
    quadratic.target = torch.tensor([[[0.9, -0.9], [0.3, 0.4]]])
    planner = planner_of(kind, BoxActions(2), horizon=2, samples=1, elites=1, iterations=1)
    warm_start = torch.tensor([[[0.1, 0.2], [0.9, -0.9]]]).expand(2, -1, -1)
    warm = torch.tensor([True, False])
    plan = planner.plan(
        quadratic, quadratic.latents(0, 0), generator=torch.Generator().manual_seed(0), warm_start=warm_start, warm=warm
    )
    assert torch.equal(plan.action[0], quadratic.target[0, 0])
    assert not torch.equal(plan.action[1], quadratic.target[0, 0])


@pytest.mark.parametrize("kind", SAMPLING)
def test_with_horizon_1_nothing_of_the_previous_plan_is_left(kind, random_mdp):
    model = random_mdp(0, MultiDiscreteActions((3, 4)))
    planner, latent = planner_of(kind, model.space, horizon=1, **TINY), model.latents(0, 1)
    warm_start = torch.tensor([[[2, 3]], [[0, 1]]])
    cold = planner.plan(model, latent, generator=torch.Generator().manual_seed(2))
    warm = planner.plan(model, latent, generator=torch.Generator().manual_seed(2), warm_start=warm_start)
    assert torch.equal(cold.actions, warm.actions)


@pytest.mark.parametrize("kind", SAMPLING)
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_proposal_wins_where_it_is_better(kind, deterministic, needle_mdp, generator):
    model = needle_mdp(WAY, count=3)
    planner, latent = planner_of(kind, model.space, horizon=8, temperature=0.01, **TINY), model.latents(0, 8, 0)
    proposals = torch.tensor([[[1] * 8, WAY], [WAY, [2] * 8], [[1] * 8, [0] * 8]])
    plan = planner.plan(model, latent, generator=generator, proposals=proposals, deterministic=deterministic)
    assert plan.value.tolist() == [1.0, 0.0, 0.0]  # the second observation is off the way, the third is told nothing good
    assert plan.actions[0].tolist() == list(WAY)


@pytest.mark.parametrize("kind", SAMPLING)
def test_a_proposal_loses_where_it_is_worse(kind, flat_mdp, generator):
    model = flat_mdp(DiscreteActions(2))
    model.reward[0] = [-3.0, -1.0]
    planner = planner_of(kind, model.space, horizon=2, samples=64, elites=8)
    plan = planner.plan(model, model.latents(0), generator=generator, proposals=torch.zeros((1, 5, 2), dtype=torch.int64))
    assert plan.actions.tolist() == [[1, 1]]
    assert plan.value.item() == -2.0


@pytest.mark.parametrize("kind", SAMPLING)
def test_box_and_multi_discrete_proposals_are_served(kind, quadratic, random_mdp, generator):
    exact = quadratic.target.unsqueeze(1)
    plan = planner_of(kind, BoxActions(2), horizon=2).plan(
        quadratic, quadratic.latents(0, 1, 2), generator=generator, proposals=exact
    )
    assert torch.equal(plan.actions, quadratic.target)
    assert plan.value.tolist() == [0.0, 0.0, 0.0]

    model = random_mdp(1, MultiDiscreteActions((5, 5)))
    best = planner_of("exhaustive", model.space, horizon=2).plan(model, model.latents(0), generator=generator)
    planner = planner_of(kind, model.space, horizon=2, samples=2, elites=1)
    plan = planner.plan(model, model.latents(0), generator=generator, proposals=best.actions.unsqueeze(1))
    assert torch.equal(plan.actions, best.actions)


@pytest.mark.parametrize("kind", SAMPLING)
def test_guidance_of_the_wrong_form_is_refused_by_name(kind, random_mdp, generator):
    model = random_mdp(0, DiscreteActions(3))
    planner, latent = planner_of(kind, model.space, horizon=4), model.latents(0, 1)
    with pytest.raises(ValueError, match=r"warm_start must be torch.int64 \[2, 4\], got torch.int64 \[2, 3\]"):
        planner.plan(model, latent, generator=generator, warm_start=torch.zeros((2, 3), dtype=torch.int64))
    with pytest.raises(ValueError, match=r"proposals must be torch.int64 \[2, 6, 4\], got torch.int64 \[1, 6, 4\]"):
        planner.plan(model, latent, generator=generator, proposals=torch.zeros((1, 6, 4), dtype=torch.int64))
    with pytest.raises(ValueError, match=r"proposals must lie in 0\.\.count-1"):
        planner.plan(model, latent, generator=generator, proposals=torch.full((2, 1, 4), 3))
    with pytest.raises(ValueError, match=r"warm must be torch.bool \[2\], got torch.bool \[3\]"):
        planner.plan(
            model,
            latent,
            generator=generator,
            warm_start=torch.zeros((2, 4), dtype=torch.int64),
            warm=torch.ones(3, dtype=torch.bool),
        )


@pytest.mark.parametrize("kind", [*SAMPLING, "exhaustive", "value"])
def test_a_cost_of_another_form_or_for_other_actions_is_refused(kind, random_mdp, generator):
    model = random_mdp(0, DiscreteActions(3))
    model.action_value = model.reward
    planner, latent = planner_of(kind, model.space, horizon=1), model.latents(0, 1)
    with pytest.raises(ValueError, match=r"first_cost must have shape \[2, 3\], got \[2, 1\]"):
        planner.plan(model, latent, generator=generator, first_cost=torch.zeros(2, 1))
    planner = planner_of(kind, MultiDiscreteActions((3,)), horizon=1)
    with pytest.raises(ValueError, match=r"first_cost must be None for actions that are not Discrete, got one for Multi"):
        planner.plan(model, latent, generator=generator, first_cost=torch.zeros(2, 3))


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("cost", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", [*SAMPLING, "exhaustive", "value"])
def test_a_cost_that_is_not_finite_is_refused(kind, cost, deterministic, random_mdp, generator):
    model = random_mdp(0, DiscreteActions(3))
    model.action_value = model.reward
    planner = planner_of(kind, model.space, horizon=1)
    with pytest.raises(FloatingPointError, match="first_cost is not finite in 1 of 6 entries"):
        planner.plan(
            model,
            model.latents(0, 1),
            generator=generator,
            first_cost=torch.tensor([[0.0, 0.1, 0.0], [cost, 0.0, 0.0]]),
            deterministic=deterministic,
        )


@pytest.mark.parametrize("kind", [*SAMPLING, "exhaustive", "value"])
def test_a_single_latent_is_refused_instead_of_planning_from_each_of_its_numbers(kind, random_mdp, generator):
    model = random_mdp(0, DiscreteActions(3))
    with pytest.raises(ValueError, match=r"latents must have shape \[B, D\], got \[4\]"):
        planner_of(kind, model.space, horizon=1).plan(model, torch.zeros(4), generator=generator)
