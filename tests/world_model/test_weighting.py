"""Learned weights and projected gradients against what can be worked out by hand."""

import math

import pytest
import torch

from jepa_rl.world_model.weighting import project_conflicts, uncertainty_weighted


def orders(n: int, *given: list[int]) -> list[torch.Tensor]:
    return [torch.tensor(order) for order in given] if given else [torch.arange(n)] * n


def test_learned_weights_begin_where_the_fixed_ones_are():
    loss, weight = torch.tensor([2.0, 0.5]), torch.tensor([3.0, 1.0])
    assert uncertainty_weighted(loss, weight, torch.zeros(2)).tolist() == [6.0, 0.5]


def test_at_the_best_log_variance_a_loss_weighs_half_its_inverse_whatever_its_weight():
    loss, weight = torch.tensor([2.0, 0.5, 0.5]), torch.tensor([3.0, 1.0, 10.0])
    best = (2 * weight * loss).log().requires_grad_()
    total = uncertainty_weighted(loss, weight, best)
    (gradient,) = torch.autograd.grad(total.sum(), best)
    assert gradient.abs().max() < 1e-6
    assert (weight * (-best).exp()).tolist() == pytest.approx([1 / 4, 1, 1])
    assert total[0].item() == pytest.approx(0.5 + math.log(12) / 2)
    further = uncertainty_weighted(loss, weight, best + 0.3), uncertainty_weighted(loss, weight, best - 0.3)
    assert all((other > total).all() for other in further)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_of_two_quadratic_losses_neither_wins_by_its_scale(scale):
    """L_1 = (x - 1)^2 + 1, L_2 = scale ((x + 1)^2 + 1): with learned weights log L_1 + log L_2 is minimised, at x = 0.

    With fixed weights the minimum is at (1 - scale) / (1 + scale).
    """
    x, log_variance = torch.tensor(0.9, requires_grad=True), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([x, log_variance], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        losses = torch.stack([(x - 1) ** 2 + 1, scale * ((x + 1) ** 2 + 1)])
        total = uncertainty_weighted(losses, torch.ones(2), log_variance).sum()
        total.backward()
        return total

    optimizer.step(closure)
    assert x.item() == pytest.approx(0, abs=0.1)  # the valley is flat: x^4 at its bottom
    assert log_variance.tolist() == pytest.approx([math.log(2 * 2), math.log(2 * 2 * scale)], abs=0.3)


def test_gradients_that_oppose_each_other_lose_what_opposes():
    """(1, 0) along (-1, 1) is -1/2 of it; (-1, 1) along (1, 0) is -1 of that."""
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert project_conflicts(gradients, orders(2)).tolist() == [0.5 + 0.0, 0.5 + 1.0]


def test_gradients_that_agree_or_are_zero_are_added_as_they_are():
    gradients = torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    assert project_conflicts(gradients, orders(3)).tolist() == [2.0, 2.0]


def test_gradients_meet_the_others_in_the_given_order_and_as_those_were():
    """The first of the three opposes both others, which agree."""
    gradients = torch.tensor([[-2.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    one = project_conflicts(gradients, orders(3, [1, 2, 0], [2, 1], [2, 1]))
    # (-2, 1) along (1, 0) is -2 of it: (0, 1), which agrees with (1, 1). The others do not meet the first here.
    assert one.tolist() == pytest.approx([0 + 1 + 1, 1 + 0 + 1])
    two = project_conflicts(gradients, orders(3, [2, 1], [0], [0]))
    # (-2, 1) along (1, 1) is -1/2 of it: (-1.5, 1.5); along (1, 0) then -1.5: (0, 1.5). The others meet (-2, 1) as it was:
    # (1, 0) + 2/5 (-2, 1) and (1, 1) + 1/5 (-2, 1).
    assert two.tolist() == pytest.approx([0 + 0.2 + 0.6, 1.5 + 0.4 + 1.2])


def test_a_gradient_whose_squared_norm_vanishes_opposes_nothing():
    gradients = torch.tensor([[1.0, 1.0], [-1e-30, 0.0]])
    assert project_conflicts(gradients, orders(2)).tolist() == pytest.approx([1.0, 1.0])
