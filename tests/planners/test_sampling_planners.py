"""What CEM, MPPI and random shooting have in common, with exhaustive search as their oracle."""

import itertools

import pytest
import torch

from jepa_rl.planners import BoxActions, DiscreteActions, MultiDiscreteActions, PlannerConfig, make_planner

SAMPLING = ["cem", "mppi", "random_shooting"]
EVERY_KIND = ["exhaustive", *SAMPLING]


def planner_of(kind, space, discount=0.9, **settings):
    return make_planner(PlannerConfig(kind=kind, **settings), space, discount)


@pytest.mark.parametrize(
    ("space", "horizon"),
    [(DiscreteActions(3), 5), (MultiDiscreteActions((2, 3)), 3), (MultiDiscreteActions((2, 2, 2)), 2)],
    ids=str,
)
@pytest.mark.parametrize("kind", SAMPLING)
def test_random_mdps_are_solved_as_by_exhaustive_search(kind, space, horizon, random_mdp, generator):
    """At least 88 % of 240 searches are optimal, and the mean loss is below 0.05; one reward has deviation 1."""
    budget = {"samples": 1000} if kind == "random_shooting" else {"samples": 128, "iterations": 6}
    planner = planner_of(kind, space, horizon=horizon, elites=16, momentum=0.5, temperature=0.5, **budget)
    oracle = planner_of("exhaustive", space, horizon=horizon)
    losses = []
    for seed in range(20):
        model = random_mdp(seed, space)
        latent = model.latents(*range(12))
        best = oracle.plan(model, latent, generator=generator).value
        losses.append(best - planner.plan(model, latent, generator=generator).value)
    loss = torch.cat(losses)
    assert loss.min() > -1e-5  # nothing beats the oracle
    assert (loss < 1e-5).float().mean() >= 0.88
    assert loss.mean() < 0.05


@pytest.mark.parametrize("kind", SAMPLING)
@pytest.mark.parametrize("space", [DiscreteActions(3), MultiDiscreteActions((2, 3))], ids=str)
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_value_of_a_plan_is_the_return_of_its_actions(kind, space, deterministic, random_mdp, generator):
    model = random_mdp(5, space)
    states = [2, 9]
    planner = planner_of(kind, space, discount=0.7, horizon=3, samples=16, elites=8, iterations=3)
    plan = planner.plan(model, model.latents(*states), generator=generator, deterministic=deterministic)
    listed = space.enumerate().tolist()
    for row, state in enumerate(states):
        sequence = tuple(listed.index(action) for action in plan.actions[row].tolist())
        assert plan.value[row].item() == pytest.approx(model.return_of(state, sequence, 0.7), abs=1e-5)


@pytest.mark.parametrize("kind", SAMPLING)
@pytest.mark.parametrize("space", [DiscreteActions(2), MultiDiscreteActions((2, 3)), BoxActions(2)], ids=str)
def test_plans_have_the_form_of_the_actions(kind, space, generator):
    class Nothing:
        def step(self, latent, action):
            return latent, torch.zeros(len(latent)), torch.ones(len(latent))

        def value(self, latent):
            return torch.zeros(len(latent))

    plan = planner_of(kind, space, horizon=1).plan(Nothing(), torch.zeros(4, 3), generator=generator)
    space.check("plan", plan.actions, (4, 1))
    assert plan.value.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("kind", "samples", "tolerance"), [("cem", 200, 0.1), ("mppi", 200, 0.1), ("random_shooting", 2000, 0.35)]
)
def test_box_plans_come_close_to_the_optimum_of_each_observation(kind, samples, tolerance, quadratic, generator):
    settings = {"horizon": 2, "samples": samples, "iterations": 6, "elites": 20, "temperature": 0.05}
    planner = planner_of(kind, BoxActions(2), discount=1.0, **settings)
    plan = planner.plan(quadratic, quadratic.latents(2, 0, 1), generator=generator)
    error = plan.actions - quadratic.target[[2, 0, 1]]
    assert error.abs().max() < tolerance
    torch.testing.assert_close(plan.value, -error.square().sum((1, 2)))


@pytest.mark.parametrize("kind", ["cem", "mppi"])
def test_an_optimum_on_the_corner_of_the_box_is_reached(kind, quadratic, generator):
    quadratic.target = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    planner = planner_of(kind, BoxActions(2), horizon=2, temperature=0.05)
    plan = planner.plan(quadratic, quadratic.latents(0), generator=generator)
    assert (plan.actions - quadratic.target).abs().max() < 0.1
    assert plan.actions.abs().max() <= 1


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_each_observation_of_a_batch_gets_its_own_optimum(kind, needle_mdp, generator):
    # From state t of the way, the rest of it pays: each row has another plan. Off the way all is worth 0.
    model = needle_mdp((1, 0, 1, 1, 0), count=2)
    planner = planner_of(kind, model.space, discount=0.9, horizon=2, samples=64, elites=8)
    plan = planner.plan(model, model.latents(3, 0, 2, 4), generator=generator)
    torch.testing.assert_close(plan.value, torch.tensor([0.9, 0.0, 0.0, 1.0]))
    assert plan.actions[0].tolist() == [1, 0]
    assert plan.action[3].item() == 0


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_plan_does_not_depend_on_the_other_observations(kind, deterministic, random_mdp):
    space = DiscreteActions(3)
    model = random_mdp(8, space)
    planner = planner_of(kind, space, horizon=3, samples=12, elites=4, iterations=3)

    def first_plan(*others):
        generator = torch.Generator().manual_seed(3)
        plan = planner.plan(model, model.latents(1, *others), generator=generator, deterministic=deterministic)
        return plan.actions[0].tolist(), plan.value[0].item()

    plans = [first_plan(a, b) for a, b in itertools.product(range(0, 12, 3), repeat=2)]
    assert all(plan == plans[0] for plan in plans)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_same_seed_gives_the_same_plan_and_leaves_global_randomness_alone(kind, deterministic, random_mdp):
    space = MultiDiscreteActions((2, 2))
    model = random_mdp(4, space)
    planner = planner_of(kind, space, horizon=4, samples=8, elites=4, iterations=2, temperature=1.0)
    before = torch.get_rng_state()

    def plan(seed):
        generator = torch.Generator().manual_seed(seed)
        return planner.plan(model, model.latents(*range(12)), generator=generator, deterministic=deterministic).actions

    assert torch.equal(plan(1), plan(1))
    assert torch.equal(before, torch.get_rng_state())
    if kind != "exhaustive" or not deterministic:
        assert not torch.equal(plan(1), plan(2))


@pytest.mark.parametrize("kind", SAMPLING)
@pytest.mark.parametrize("space", [DiscreteActions(3), BoxActions(1)], ids=str)
def test_all_negative_returns_are_planned_properly(kind, space, generator):
    class Costly:
        """Each step costs 1000 plus the action: the lowest is best."""

        def step(self, latent, action):
            cost = action.reshape(len(latent)).float()
            return latent, -1000.0 - 10 * cost, torch.ones(len(latent))

        def value(self, latent):
            return torch.full((len(latent),), -1e6)

    planner = planner_of(kind, space, discount=1.0, horizon=2, samples=128, elites=8)
    plan = planner.plan(Costly(), torch.zeros(2, 1), generator=generator)
    lowest = 0.0 if isinstance(space, DiscreteActions) else -1.0
    assert plan.actions.float().sub(lowest).abs().max() < 0.25
    expected = -2000.0 - 1e6 - 10 * plan.actions.float().reshape(2, 2).sum(1)
    torch.testing.assert_close(plan.value, expected)
    drawn = planner.plan(Costly(), torch.zeros(2, 1), generator=generator, deterministic=False)
    assert drawn.value.isfinite().all()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_certain_reward_now_beats_a_greater_one_that_termination_prevents(kind, flat_mdp, generator):
    # Action 1 pays 2 and ends the episode; action 0 pays nothing, goes on, and the value of going on is 5 per state.
    model = flat_mdp(DiscreteActions(2), value=5.0)
    model.reward[0, 1], model.continuation[0, 1] = 2.0, 0.0

    def planned(discount):
        plan = planner_of(kind, model.space, discount=discount, horizon=3, samples=64, elites=8).plan(
            model, model.latents(0), generator=generator
        )
        return plan.action.item(), plan.value.item()

    assert planned(0.5) == (1, 2.0)  # going on is worth at most 0.5 * 2
    assert planned(1.0) == (0, 5.0)
    assert planned(0.9) == (0, pytest.approx(0.9**3 * 5.0))


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    ("table", "name"), [("reward", "reward"), ("continuation", "continuation"), ("state_value", "value")]
)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stops_the_search_and_is_named(kind, table, name, bad, random_mdp, generator):
    model = random_mdp(0, DiscreteActions(2))
    getattr(model, table)[:] = bad
    with pytest.raises(FloatingPointError, match=f"imagined {name} is not finite"):
        planner_of(kind, model.space).plan(model, model.latents(0), generator=generator)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_planning_records_no_gradients(kind, generator):
    class Learnt:
        weight = torch.ones(1, requires_grad=True)

        def step(self, latent, action):
            reward = self.weight * action
            assert not reward.requires_grad
            return latent, reward, torch.ones(len(latent))

        def value(self, latent):
            return self.weight * latent[:, 0]

    plan = planner_of(kind, DiscreteActions(2)).plan(Learnt(), torch.zeros(1, 1), generator=generator)
    assert not plan.value.requires_grad


@pytest.mark.parametrize("kind", SAMPLING)
def test_without_determinism_plans_spread_over_ties_and_with_it_they_do_not_lose(kind, flat_mdp, generator):
    # First actions 0 and 2 are worth 1 whatever follows, action 1 is worth 0.
    model = flat_mdp(DiscreteActions(3))
    model.reward[0] = [1.0, 0.0, 1.0]
    model.continuation[:] = 0.0
    planner = planner_of(kind, model.space, horizon=2, samples=64, elites=16, iterations=3)
    plan = planner.plan(model, model.latents(*[0] * 2000), generator=generator, deterministic=False)
    share = plan.action.bincount(minlength=3) / 2000
    torch.testing.assert_close(share, torch.tensor([0.5, 0.0, 0.5]), atol=0.05, rtol=0)
    assert planner.plan(model, model.latents(0), generator=generator).value.item() == 1.0


@pytest.mark.parametrize("kind", SAMPLING)
def test_draws_among_the_elites_follow_the_temperature(kind, flat_mdp, generator):
    model = flat_mdp(DiscreteActions(2))
    model.reward[0] = [0.0, 1.0]

    def share_of_best(temperature):
        planner = planner_of(kind, model.space, horizon=1, samples=64, elites=64, iterations=1, temperature=temperature)
        plan = planner.plan(model, model.latents(*[0] * 1000), generator=generator, deterministic=False)
        return plan.action.float().mean().item()

    assert share_of_best(0.01) == 1.0
    assert share_of_best(0.5) == pytest.approx(1 / (1 + 2.718281828**-2), abs=0.05)
    assert share_of_best(100.0) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", SAMPLING)
def test_draws_stay_among_the_elites_however_hot(kind, flat_mdp, generator):
    model = flat_mdp(DiscreteActions(4))
    model.reward[0] = [0.0, 3.0, 1.0, 2.0]
    planner = planner_of(kind, model.space, horizon=1, samples=8, elites=2, iterations=1, temperature=1e6)
    proposals = torch.tensor([[[0], [1], [2], [3]]]).expand(300, -1, -1)
    plan = planner.plan(model, model.latents(*[0] * 300), generator=generator, proposals=proposals, deterministic=False)
    assert set(plan.action.tolist()) == {1, 3}


@pytest.mark.parametrize("kind", SAMPLING)
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_spread_is_that_of_the_first_candidates_not_of_those_that_the_search_ends_with(
    kind, deterministic, random_mdp, flat_mdp, generator
):
    """One step, two actions, half of the uniform draws each: the deviation is half of the difference of their returns."""
    model = random_mdp(1, DiscreteActions(2))
    planner = planner_of(kind, model.space, horizon=1, samples=2_000, elites=100, iterations=4)
    plan = planner.plan(model, model.latents(0, 7), generator=generator, deterministic=deterministic)
    for row, state in enumerate((0, 7)):
        one, other = (model.return_of(state, (action,), 0.9) for action in (0, 1))
        assert plan.spread[row].item() == pytest.approx(abs(one - other) / 2, rel=0.01)
    flat = flat_mdp(model.space, value=3.0)
    assert planner.plan(flat, flat.latents(0), generator=generator).spread.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("proposals", [0, 2])
@pytest.mark.parametrize("kind", ["cem", "mppi", "random_shooting"])
def test_what_a_first_action_costs_decides_where_all_else_is_equal(kind, proposals, flat_mdp, generator):
    space = DiscreteActions(3)
    model = flat_mdp(space, value=1.0)
    model.propose = lambda latent, generator: torch.zeros(len(latent), dtype=torch.int64)
    config = PlannerConfig(kind=kind, horizon=2, samples=64, elites=8, proposals=proposals)
    cost = torch.tensor([[2.0, 1.0, 2.0], [2.0, 2.0, 0.5]])
    plan = make_planner(config, space, 1.0).plan(model, model.latents(0, 0), generator=generator, first_cost=cost)
    assert plan.action.tolist() == [1, 2]
    assert plan.value.tolist() == pytest.approx([0.0, 0.5])
