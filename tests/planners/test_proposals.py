"""Sequences that a model proposes by itself, on a linear-quadratic task whose optimum is known."""

import math

import pytest
import torch
from torch import Tensor

from jepa_rl.planners import BoxActions, DiscreteActions, PlannerConfig, make_planner

COST = 0.5  # of an action
# The discrete Riccati equation of x' = x + a with cost x^2 + COST a^2 per step: P = 1 + COST P / (COST + P).
P = (1 + math.sqrt(1 + 4 * COST)) / 2
GAIN = P / (COST + P)
SAMPLING = ["cem", "mppi", "random_shooting"]


class LinearQuadratic:
    """A point on a line that is to come to 0; it proposes a = -gain x."""

    def __init__(self, gain: float = GAIN, noise: float = 0.0) -> None:
        self.gain, self.noise = gain, noise

    def step(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reward = -(latent.square() + COST * action.square())[:, 0]
        return latent + action, reward, torch.ones_like(reward)

    def value(self, latent: Tensor) -> Tensor:
        return -P * latent[:, 0].square()

    def propose(self, latent: Tensor, generator: torch.Generator) -> Tensor:
        noise = self.noise * torch.randn(latent.shape, generator=generator)
        return (-self.gain * latent + noise).clamp(-1, 1)


START = torch.tensor([[0.9], [-0.4], [0.0]])
OPTIMUM = -P * START[:, 0].square()


def planner(kind="cem", **settings):
    config = {"horizon": 5, "samples": 16, "elites": 4, "iterations": 2} | settings
    return make_planner(PlannerConfig(kind=kind, **config), BoxActions(1), 1.0)


def search(model, kind="cem", seed=0, deterministic=True, **settings):
    generator = torch.Generator().manual_seed(seed)
    return planner(kind, **settings).plan(model, START, generator=generator, deterministic=deterministic)


@pytest.mark.parametrize("kind", SAMPLING)
def test_a_policy_that_is_optimal_gives_the_optimal_plan(kind):
    alone, proposed = search(LinearQuadratic(), kind), search(LinearQuadratic(), kind, proposals=2)
    assert (alone.value < OPTIMUM - 1e-3).all()
    torch.testing.assert_close(proposed.value, OPTIMUM, atol=1e-5, rtol=0)
    torch.testing.assert_close(proposed.action, -GAIN * START, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", SAMPLING)
def test_what_is_proposed_is_worth_its_discounted_return(kind, random_mdp, generator):
    model, horizon, discount = random_mdp(3, DiscreteActions(3)), 4, 0.7
    model.propose = lambda latent, generator: torch.full((len(latent),), 2)
    config = PlannerConfig(kind=kind, horizon=horizon, samples=2, elites=1, iterations=1, proposals=1)
    states = range(len(model.state_value))
    found = make_planner(config, model.space, discount).plan(model, model.latents(*states), generator=generator)
    own = [model.return_of(state, (2,) * horizon, discount) for state in states]
    taken = [model.return_of(state, tuple(actions.tolist()), discount) for state, actions in enumerate(found.actions)]
    assert found.value.tolist() == pytest.approx(taken, abs=1e-5)
    assert (found.value >= torch.tensor(own) - 1e-5).all()
    proposed = (found.actions == 2).all(1)
    assert 0 < proposed.sum() < len(proposed)


@pytest.mark.parametrize("kind", SAMPLING)
def test_a_bad_policy_does_no_harm(kind):
    bad = LinearQuadratic(gain=-GAIN)
    alone, proposed = search(bad, kind, iterations=1), search(bad, kind, iterations=1, proposals=4)
    assert torch.equal(proposed.actions[:2], alone.actions[:2])  # at 0 any gain is right


@pytest.mark.parametrize("kind", ["cem", "mppi"])
def test_the_search_goes_on_from_what_was_proposed(kind):
    rough = LinearQuadratic(gain=0.6 * GAIN)
    proposal = search(rough, "random_shooting", proposals=1, samples=1, elites=1)
    refined = search(rough, kind, proposals=4, samples=64, elites=8, iterations=6, temperature=0.01)
    assert (refined.value >= proposal.value).all()
    torch.testing.assert_close(refined.value, OPTIMUM, atol=0.03, rtol=0)


@pytest.mark.parametrize("kind", SAMPLING)
def test_the_generator_decides_the_proposals(kind):
    noisy = LinearQuadratic(noise=0.3)
    settings = {"proposals": 8, "deterministic": False}
    one, two = search(noisy, kind, **settings), search(noisy, kind, **settings)
    other = search(noisy, kind, seed=1, **settings)
    assert torch.equal(one.actions, two.actions)
    assert not torch.equal(one.actions, other.actions)


def test_every_observation_gets_as_many_proposals_as_asked_for():
    asked = []
    model = LinearQuadratic()
    propose = model.propose
    model.propose = lambda latent, generator: asked.append(latent) or propose(latent, generator)
    search(model, proposals=3)
    assert [len(latent) for latent in asked] == [9] * 5
    assert asked[0][:, 0].tolist() == START[:, 0].repeat_interleave(3).tolist()
    torch.testing.assert_close(asked[1], (1 - GAIN) * asked[0])  # the second step follows the first


def test_a_model_that_proposes_nothing_is_named(quadratic):
    settings = make_planner(PlannerConfig(kind="cem", horizon=2, proposals=1), BoxActions(2), 1.0)
    with pytest.raises(TypeError, match=r"proposals need a model with propose\(latent, generator\), got QuadraticModel"):
        settings.plan(quadratic, quadratic.latents(0), generator=torch.Generator())


def test_a_proposal_that_is_not_finite_is_named():
    with pytest.raises(FloatingPointError, match="imagined proposal is not finite in 3 of 3 entries"):
        search(LinearQuadratic(gain=math.nan), proposals=1)


@pytest.mark.parametrize(
    ("proposed", "message"),
    [
        (
            lambda latent: 2 * torch.ones_like(latent),
            r"imagined proposals must lie in \[-1, 1\], got values in \[2\.0, 2\.0\]",
        ),
        (torch.Tensor.double, r"imagined proposals must be torch\.float32 \[3, 1\], got torch\.float64 \[3, 1\]"),
        (lambda latent: latent.T, r"imagined proposals must be torch\.float32 \[3, 1\], got torch\.float32 \[1, 3\]"),
    ],
)
def test_a_proposal_that_is_no_action_is_refused(proposed, message):
    model = LinearQuadratic()
    model.propose = lambda latent, generator: proposed(latent)
    with pytest.raises(ValueError, match=message):
        search(model, proposals=1)


def test_the_number_of_proposals_is_checked():
    with pytest.raises(ValueError, match="proposals must be at least 0, got -1"):
        PlannerConfig(proposals=-1)
    with pytest.raises(ValueError, match=r"proposals must be a whole number, got 0\.5"):
        PlannerConfig(proposals=0.5)
