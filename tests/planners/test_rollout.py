"""The score of an imagined trajectory, in closed form."""

import numpy as np
import pytest
import torch

from jepa_rl.planners import DiscreteActions
from jepa_rl.planners.rollout import Rollout, score


class ScriptedModel:
    """Every row gets the same rewards, continuations and last value, one entry per step; a latent counts the steps."""

    def __init__(self, rewards, continuations, value):
        self.rewards, self.continuations, self.last_value = rewards, continuations, value

    def step(self, latent, action):
        t = int(latent[0, 0])
        fill = torch.ones(len(latent))
        return latent + 1, fill * self.rewards[t], fill * self.continuations[t]

    def value(self, latent):
        return torch.full((len(latent),), self.last_value)


def scored(rewards, continuations, value, discount):
    actions = torch.zeros((1, 1, len(rewards)), dtype=torch.int64)
    return score(ScriptedModel(rewards, continuations, value), torch.zeros(1, 1), actions, discount).item()


def test_rewards_and_last_value_are_discounted_by_the_steps_before_them():
    assert scored([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], 8.0, 0.5) == 1.0 + 0.5 * 2.0 + 0.25 * 4.0 + 0.125 * 8.0


def test_terminal_reward_counts_and_nothing_after_it_does():
    assert scored([1.0, 2.0, 4.0], [1.0, 0.0, 1.0], 8.0, 0.5) == 2.0


def test_the_last_value_counts_only_when_the_episode_survives_the_last_step():
    assert scored([1.0], [1.0], 10.0, 0.9) == pytest.approx(10.0)
    assert scored([1.0], [0.0], 10.0, 0.9) == 1.0


def test_what_follows_is_weighted_by_the_probability_of_getting_there():
    # 1 + .9 * .5 * 2 + .9^2 * .5 * .25 * 4 + .9^3 * .5 * .25 * .8 * 10
    assert scored([1.0, 2.0, 4.0], [0.5, 0.25, 0.8], 10.0, 0.9) == pytest.approx(1.0 + 0.9 + 0.405 + 0.729)


def test_discount_0_leaves_the_first_reward_alone():
    assert scored([3.0, 5.0], [1.0, 1.0], 7.0, 0.0) == 3.0


def test_scores_follow_each_observation_and_each_of_its_sequences(random_mdp):
    model = random_mdp(3, DiscreteActions(3))
    actions = torch.tensor([[[0, 2, 1], [1, 1, 0]], [[2, 0, 2], [0, 0, 1]]])
    returns = score(model, model.latents(5, 7), actions, 0.8)
    expected = [[model.return_of(s, tuple(a.tolist()), 0.8) for a in rows] for s, rows in zip((5, 7), actions, strict=True)]
    np.testing.assert_allclose(returns, expected, rtol=1e-5, atol=1e-6)


def test_copies_of_a_trajectory_lie_side_by_side():
    rollout = Rollout(
        latent=torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        imagined_return=torch.tensor([5.0, 6.0]),
        weight=torch.tensor([7.0, 8.0]),
    ).branch(2)
    assert rollout.latent.tolist() == [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [3.0, 4.0]]
    assert rollout.imagined_return.tolist() == [5.0, 5.0, 6.0, 6.0]
    assert rollout.weight.tolist() == [7.0, 7.0, 8.0, 8.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_term_that_is_not_finite_is_named(bad):
    with pytest.raises(FloatingPointError, match="imagined reward is not finite in 1 of 1"):
        scored([0.0, bad], [1.0, 1.0], 0.0, 0.9)
    with pytest.raises(FloatingPointError, match="imagined continuation is not finite"):
        scored([0.0, 0.0], [1.0, bad], 0.0, 0.9)
    with pytest.raises(FloatingPointError, match="imagined value is not finite"):
        scored([0.0], [1.0], bad, 0.9)
    with pytest.raises(FloatingPointError, match="imagined latent is not finite"):
        Rollout.start(torch.tensor([[0.0, bad]]))


def test_a_value_that_is_not_finite_is_an_error_even_where_the_episode_has_ended():
    with pytest.raises(FloatingPointError, match="imagined value is not finite"):
        scored([0.0], [0.0], float("nan"), 0.9)


def test_a_return_that_overflows_is_named():
    with pytest.raises(FloatingPointError, match="imagined return is not finite"):
        scored([3e38, 3e38], [1.0, 1.0], 0.0, 1.0)


@pytest.mark.parametrize("term", ["reward", "continuation", "value"])
def test_a_column_is_refused_where_a_vector_is_due(term):
    class ColumnModel:
        def step(self, latent, action):
            terms = {"reward": torch.zeros(len(latent)), "continuation": torch.ones(len(latent))}
            terms = {name: x.unsqueeze(-1) if name == term else x for name, x in terms.items()}
            return latent, terms["reward"], terms["continuation"]

        def value(self, latent):
            return torch.zeros((len(latent), 1) if term == "value" else len(latent))

    with pytest.raises(ValueError, match=rf"imagined {term} must have shape \[2\], got \[2, 1\]"):
        score(ColumnModel(), torch.zeros(1, 1), torch.zeros((1, 2, 1), dtype=torch.int64), 0.9)


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (
            lambda z: (z, z[:, 0]),
            TypeError,
            r"step must return three tensors .*, got \(torch.float32, torch.float32\)",
        ),
        (lambda z: (z, z[:, 0], True), TypeError, r"got \(torch.float32, torch.float32, bool\)"),
        (lambda z: (z, z[:, 0].long(), z[:, 0]), TypeError, r"got \(torch.float32, torch.int64, torch.float32\)"),
        (lambda z: (z[0], z[:, 0], z[:, 0]), ValueError, r"next latents must have shape \[2, 1\], got \[1\]"),
        (
            lambda z: (z, z[:, 0], z[:, 0] + 1.5),
            ValueError,
            r"continuation must lie in \[0, 1\], got values in \[1\.5, 1\.5\]",
        ),
        (lambda z: (z, z[:, 0], z[:, 0] - 0.5), ValueError, r"continuation must lie in \[0, 1\]"),
        (lambda z: (z + float("nan"), z[:, 0], z[:, 0]), FloatingPointError, "imagined latent is not finite in 2 of 2"),
    ],
)
def test_a_step_that_is_not_as_the_protocol_says_is_refused(step, error, message):
    class Model:
        def step(self, latent, action):
            return step(latent)

        def value(self, latent):
            return torch.zeros(len(latent))

    with pytest.raises(error, match=message):
        score(Model(), torch.zeros(1, 1), torch.zeros((1, 2, 1), dtype=torch.int64), 0.9)


def test_a_probability_that_rounding_moved_out_of_its_range_is_taken():
    assert scored([1.0], [1.0 + 1e-4], 1.0, 1.0) == pytest.approx(2.0, abs=1e-3)


def test_the_states_of_a_table_may_be_whole_numbers():
    class Ring:
        def step(self, latent, action):
            following = (latent + action.unsqueeze(1)) % 5
            return following, (following[:, 0] == 4).float(), torch.ones(len(latent))

        def value(self, latent):
            return torch.zeros(len(latent))

    actions = torch.tensor([[[1, 1], [1, 0]]])
    assert score(Ring(), torch.tensor([[2]]), actions, 0.5).tolist() == [[0.5, 0.0]]
