import math

import pytest
import torch

from jepa_rl.world_model.heads import (
    ActionValue,
    CandidateActionValue,
    begin_near_zero,
    expectation,
    loss_floor,
    mlp,
    negative_log_likelihood,
    outputs_of,
    require_targets,
    symexp,
    symlog,
    two_hot,
)


def test_symexp_inverts_symlog():
    values = torch.tensor([-300.0, -1.0, 0.0, 0.5, 42.0])
    assert torch.allclose(symexp(symlog(values)), values, rtol=1e-5)


def test_two_hot_of_a_bin_centre_is_one_hot_and_between_bins_it_shares():
    assert two_hot(torch.tensor(0.0)).argmax() == 50
    between = two_hot(symexp(torch.tensor(0.15)))  # bins are 0.2 apart
    assert between[50].item() == pytest.approx(0.25, abs=1e-4)
    assert between[51].item() == pytest.approx(0.75, abs=1e-4)


def test_two_hot_rows_sum_to_one_and_clip_beyond_the_bins():
    spread = two_hot(torch.tensor([-1e9, -3.0, 0.1, 1e9]))
    assert torch.allclose(spread.sum(-1), torch.ones(4))
    assert spread[0, 0] == 1
    assert spread[3, -1] == 1


def test_expectation_of_the_two_hot_target_recovers_the_value_to_a_bin():
    values = torch.tensor([-2.0, 0.0, 1.0, 30.0])
    logits = two_hot(values).clamp(min=1e-9).log()
    assert torch.allclose(expectation(logits, "two_hot"), values, rtol=0.02, atol=1e-3)


def test_the_two_hot_loss_at_reward_one_has_its_floor_at_0691_nats():
    target = torch.tensor([1.0])
    logits = two_hot(target).clamp(min=1e-30).log()
    assert negative_log_likelihood(logits, target, "two_hot").item() == pytest.approx(0.691, abs=2e-3)


def test_bernoulli_and_gaussian_losses_are_cross_entropy_and_squared_error():
    logits = torch.tensor([[2.0]])
    assert negative_log_likelihood(logits, torch.tensor([1.0]), "bernoulli").item() == pytest.approx(
        math.log(1 + math.exp(-2))
    )
    assert negative_log_likelihood(logits, torch.tensor([0.5]), "gaussian").item() == 2.25
    assert expectation(logits, "bernoulli").item() == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize(
    ("likelihood", "values", "fits"),
    [
        ("bernoulli", [0.0, 1.0], True),
        ("bernoulli", [0.0, 1.5], False),
        ("bernoulli", [-0.1, 1.0], False),
        ("signed_bernoulli", [-1.0, 1.0], True),
        ("signed_bernoulli", [-2.0, 0.0], False),
        ("bernoulli", [math.nan, math.nan], False),
        ("bernoulli", [], True),
        ("gaussian", [-200.0, 200.0], True),
        ("two_hot", [-200.0, 200.0], True),
    ],
)
def test_targets_that_a_likelihood_cannot_express_are_refused(likelihood, values, fits):
    if fits:
        require_targets("the reward", torch.tensor(values), likelihood)
        return
    with pytest.raises(ValueError, match=rf"the targets of the reward must be in .* got {values[0]:g} to {values[1]:g}"):
        require_targets("the reward", torch.tensor(values), likelihood)


def test_the_signed_bernoulli_loss_treats_both_signs_as_events_of_their_own():
    logits = torch.tensor([[0.0, -1.0]])
    positive, negative = 0.5, 1 / (1 + math.e)
    assert expectation(logits, "signed_bernoulli").item() == pytest.approx(positive - negative)
    loss = negative_log_likelihood(logits, torch.tensor([-0.25]), "signed_bernoulli").item()
    expected = -math.log(1 - positive) - 0.25 * math.log(negative) - 0.75 * math.log(1 - negative)
    assert loss == pytest.approx(expected)


def test_a_signed_bernoulli_head_begins_near_zero():
    head = mlp(4, 8, 2)
    begin_near_zero(head)
    assert head[-1].bias.tolist() == [-4.0, -4.0]


def test_action_value_picks_the_outputs_of_the_given_action():
    head = ActionValue(latent_dim=4, hidden=8, outputs=3, count=5)
    latent, action = torch.randn(6, 4), torch.tensor([0, 4, 2, 2, 1, 3])
    every = head.all(latent)
    assert every.shape == (6, 5, 3)
    assert torch.equal(head(latent, action), torch.stack([every[n, a] for n, a in enumerate(action.tolist())]))


def test_candidate_action_value_evaluates_each_candidate_as_an_action():
    candidates = torch.tensor([[0.0, 0.0], [0.5, -0.5], [1.0, 1.0]])
    head = CandidateActionValue(latent_dim=4, hidden=8, outputs=1, candidates=candidates)
    latent = torch.randn(6, 4)
    second = head(latent, candidates[1].expand(6, 2))
    assert torch.allclose(head.all(latent)[:, 1], second, atol=1e-6)


@pytest.mark.parametrize(
    ("likelihood", "target", "floor"),
    [
        ("gaussian", 0.3, 0.0),
        ("bernoulli", 1.0, 0.0),
        ("bernoulli", 0.5, math.log(2)),
        ("two_hot", 1.0, 0.691),
        ("signed_bernoulli", -0.5, math.log(2)),
    ],
)
def test_the_floor_of_a_loss_is_the_entropy_of_its_label(likelihood, target, floor):
    label = torch.tensor([target])
    assert loss_floor(label, likelihood).item() == pytest.approx(floor, abs=1e-3)
    # No logits do better, and the best do as well.
    outputs = outputs_of(likelihood)
    logits = torch.zeros(1, outputs, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = negative_log_likelihood(logits, label, likelihood).sum()
        loss.backward()
        optimizer.step()
    assert floor - 1e-3 <= loss.item() <= floor + 0.01


def test_nan_is_no_two_hot_target():
    with pytest.raises(FloatingPointError, match="two_hot targets must be numbers, got NaN"):
        two_hot(torch.tensor([0.0, math.nan]))
