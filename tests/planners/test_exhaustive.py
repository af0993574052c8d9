"""Exhaustive search against brute force, and its choices on ties."""

import numpy as np
import pytest
import torch

from jepa_rl.planners import DiscreteActions, MultiDiscreteActions, PlannerConfig, make_planner

SPACES = [DiscreteActions(1), DiscreteActions(3), MultiDiscreteActions((2, 3)), MultiDiscreteActions((4,))]


def exhaustive(space, horizon, discount, **settings):
    return make_planner(PlannerConfig(kind="exhaustive", horizon=horizon, **settings), space, discount)


def joint_numbers(space, actions):
    """The joint action numbers of one sequence [H, ...]."""
    listed = space.enumerate().tolist()
    return tuple(listed.index(action) for action in actions.tolist())


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize(("horizon", "discount"), [(1, 0.9), (3, 0.99), (4, 0.5), (2, 1.0), (3, 0.0)])
def test_the_plan_is_the_best_of_all_sequences(space, horizon, discount, random_mdp, generator):
    for seed in range(5):
        model = random_mdp(seed, space)
        states = [0, 3, 11]
        planner = exhaustive(space, horizon, discount, max_leaves=1296)
        plan = planner.plan(model, model.latents(*states), generator=generator)
        for row, state in enumerate(states):
            returns = model.brute_force(state, horizon, discount)
            chosen = joint_numbers(space, plan.actions[row])
            assert returns[chosen] == pytest.approx(max(returns.values()), abs=1e-5)
            assert plan.value[row].item() == pytest.approx(returns[chosen], abs=1e-5)
        assert plan.actions.shape == (3, horizon, *space.shape)
        assert plan.actions.dtype == torch.int64
        assert torch.equal(plan.action, plan.actions[:, 0])


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize(("horizon", "trace"), [(1, 0.3), (3, 0.5), (3, 0.0), (2, 0.9)])
def test_with_a_trace_the_plan_is_the_best_mixture_of_the_returns_of_all_depths(
    space, horizon, trace, random_mdp, generator
):
    for seed in range(5):
        model = random_mdp(seed, space)
        model.action_value = np.random.default_rng(seed).normal(size=model.reward.shape)
        plan = exhaustive(space, horizon, 0.9, trace=trace).plan(model, model.latents(0, 5), generator=generator)
        for row, state in enumerate((0, 5)):
            mixed = {
                sequence: model.mixed_return(state, sequence, 0.9, trace)
                for sequence in model.brute_force(state, horizon, 0.9)
            }
            chosen = joint_numbers(space, plan.actions[row])
            assert mixed[chosen] == pytest.approx(max(mixed.values()), abs=1e-5)
            assert plan.value[row].item() == pytest.approx(mixed[chosen], abs=1e-5)


def test_a_trace_of_0_acts_by_the_action_values_and_of_1_does_not_ask_for_them(random_mdp, generator):
    space = DiscreteActions(4)
    model = random_mdp(0, space)
    exhaustive(space, 2, 0.9).plan(model, model.latents(1), generator=generator)
    model.action_value = np.random.default_rng(0).normal(size=model.reward.shape)
    plan = exhaustive(space, 2, 0.9, trace=0.0).plan(model, model.latents(*range(12)), generator=generator)
    assert plan.action.tolist() == model.action_value.argmax(1).tolist()


def test_with_a_trace_values_of_actions_must_be_there_and_finite(random_mdp, quadratic, generator):
    space = DiscreteActions(2)
    model, planner = random_mdp(0, space), exhaustive(space, 2, 0.9, trace=0.5)
    model.action_value = np.full_like(model.reward, np.nan)
    with pytest.raises(FloatingPointError, match="action values are not finite in 2 entries"):
        planner.plan(model, model.latents(0), generator=generator)
    with pytest.raises(TypeError, match="needs a model with action_values, got QuadraticModel"):
        planner.plan(quadratic, quadratic.latents(0), generator=generator)


def test_every_prefix_is_imagined_once(random_mdp, generator):
    space = DiscreteActions(3)
    model = random_mdp(0, space)
    exhaustive(space, 4, 0.9).plan(model, model.latents(1, 2), generator=generator)
    assert model.rows_stepped == [2 * 3, 2 * 9, 2 * 27, 2 * 81]


def test_all_negative_returns_are_planned_properly(random_mdp, generator):
    space = DiscreteActions(3)
    model = random_mdp(1, space, reward_shift=-1000.0)
    model.continuation[:] = 1.0
    plan = exhaustive(space, 3, 0.9).plan(model, model.latents(4), generator=generator)
    assert plan.value.item() == pytest.approx(max(model.brute_force(4, 3, 0.9).values()), rel=1e-5)
    drawn = exhaustive(space, 3, 0.9).plan(model, model.latents(4), generator=generator, deterministic=False)
    assert drawn.value.item() == pytest.approx(model.return_of(4, tuple(drawn.actions[0].tolist()), 0.9), rel=1e-5)


@pytest.mark.parametrize("space", [DiscreteActions(4), MultiDiscreteActions((2, 3))], ids=str)
def test_ties_go_to_the_lowest_action_when_deterministic(space, flat_mdp, generator):
    model = flat_mdp(space, value=-2.0)
    plan = exhaustive(space, 3, 1.0).plan(model, model.latents(0), generator=generator)
    assert not plan.actions.any()
    assert plan.value.item() == -2.0


def test_ties_are_unbiased_when_not_deterministic(flat_mdp, generator):
    space = DiscreteActions(4)
    model = flat_mdp(space)
    plan = exhaustive(space, 2, 1.0).plan(model, model.latents(*[0] * 4000), generator=generator, deterministic=False)
    torch.testing.assert_close(plan.action.bincount(minlength=4) / 4000, torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_first_actions_are_drawn_by_their_best_return_whatever_the_number_of_ways_to_reach_it(flat_mdp, generator):
    # Action 0 is worth 1 by each continuation; action 1 is worth 1.2 by one continuation and loses by the other.
    space = DiscreteActions(2)
    model = flat_mdp(space)
    model.next_state, model.reward = np.array([[1, 2], [3, 3], [3, 3], [3, 3]]), np.zeros((4, 2))
    model.reward[1], model.reward[2] = [1.0, 1.0], [-5.0, 1.2]
    model.continuation, model.state_value = np.ones((4, 2)), np.zeros(4)
    planner = exhaustive(space, 2, 1.0, temperature=0.4)
    plan = planner.plan(model, model.latents(*[0] * 20_000), generator=generator, deterministic=False)
    share = plan.action.float().mean().item()
    assert share == pytest.approx(1 / (1 + np.exp(-0.2 / 0.4)), abs=0.015)
    assert (plan.actions[plan.action == 1][:, 1] == 1).all()  # the best continuation
    assert sorted(set(plan.value.tolist())) == pytest.approx([1.0, 1.2])


def test_what_is_known_before_changes_nothing(random_mdp, generator):
    space = DiscreteActions(2)
    model = random_mdp(2, space)
    planner, latent = exhaustive(space, 3, 0.9), model.latents(6)
    bare = planner.plan(model, latent, generator=generator)
    other = 1 - bare.actions
    told = planner.plan(model, latent, generator=generator, warm_start=other, proposals=other.unsqueeze(1))
    assert torch.equal(bare.actions, told.actions)


@pytest.mark.parametrize("cost", [0.0, 5.0])
def test_the_spread_is_that_of_the_returns_of_all_sequences_without_the_cost(random_mdp, generator, cost):
    model = random_mdp(2, DiscreteActions(3))
    first_cost = cost * torch.arange(2 * model.space.joint_count).view(2, -1)
    plan = exhaustive(model.space, 3, 0.9).plan(model, model.latents(0, 3), generator=generator, first_cost=first_cost)
    for row, state in enumerate((0, 3)):
        returns = list(model.brute_force(state, 3, 0.9).values())
        assert plan.spread[row].item() == pytest.approx(np.std(returns), abs=1e-5)


def test_what_a_first_action_costs_is_taken_off_all_plans_that_begin_with_it(random_mdp, generator):
    space, cost = DiscreteActions(3), torch.tensor([[0.0, 5.0, 0.3], [7.0, 0.0, 7.0]])
    model = random_mdp(0, space)
    plan = exhaustive(space, 3, 0.9).plan(model, model.latents(0, 3), generator=generator, first_cost=cost)
    for row, state in enumerate([0, 3]):
        returns = {
            sequence: value - cost[row, sequence[0]].item() for sequence, value in model.brute_force(state, 3, 0.9).items()
        }
        assert tuple(plan.actions[row].tolist()) == max(returns, key=returns.get)
        assert plan.value[row].item() == pytest.approx(max(returns.values()), abs=1e-5)
