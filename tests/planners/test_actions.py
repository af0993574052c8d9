"""Action spaces: forms, enumeration, uniform sampling, refusals."""

import itertools

import numpy as np
import pytest
import torch

from jepa_rl.planners import BoxActions, DiscreteActions, MultiDiscreteActions


def test_enumeration_lists_every_joint_action_once_in_lexicographic_order():
    assert DiscreteActions(3).enumerate().tolist() == [0, 1, 2]
    space = MultiDiscreteActions((2, 3, 2))
    expected = [list(action) for action in itertools.product(range(2), range(3), range(2))]
    assert space.enumerate().tolist() == expected
    assert space.joint_count == len(expected) == 12
    assert MultiDiscreteActions((4,)).enumerate().tolist() == [[0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("space", "shape", "dtype"),
    [
        (DiscreteActions(5), (), torch.int64),
        (MultiDiscreteActions((2, 3)), (2,), torch.int64),
        (BoxActions(3), (3,), torch.float32),
    ],
)
def test_samples_have_the_stated_form_and_pass_the_check(space, shape, dtype, generator):
    actions = space.sample((7, 4), generator)
    assert space.shape == shape
    assert actions.shape == (7, 4, *shape)
    assert actions.dtype == dtype
    space.check("actions", actions, (7, 4))


def test_samples_are_uniform(generator):
    discrete = DiscreteActions(4).sample((20_000,), generator)
    torch.testing.assert_close(discrete.bincount() / 20_000, torch.full((4,), 0.25), atol=0.02, rtol=0)
    multi = MultiDiscreteActions((2, 5)).sample((20_000,), generator)
    torch.testing.assert_close(multi[:, 0].bincount() / 20_000, torch.full((2,), 0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(multi[:, 1].bincount() / 20_000, torch.full((5,), 0.2), atol=0.02, rtol=0)
    box = BoxActions(2).sample((20_000,), generator)
    assert box.min() < -0.99
    assert box.max() > 0.99
    assert box.mean().abs() < 0.02
    assert box.std().item() == pytest.approx(3**-0.5, abs=0.01)


def test_numpy_counts_of_gymnasium_spaces_are_welcome_and_do_not_overflow():
    assert DiscreteActions(np.int64(7)).joint_count ** 40 == 7**40
    assert MultiDiscreteActions((np.int64(7), np.int64(3))).joint_count ** 40 == 21**40


@pytest.mark.parametrize("space", [DiscreteActions, BoxActions, lambda count: MultiDiscreteActions((2, count))])
def test_counts_that_are_not_positive_ints_are_refused(space):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        space(0)
    with pytest.raises(TypeError, match=r"an int, got 2\.0"):
        space(2.0)
    with pytest.raises(TypeError, match="an int, got True"):
        space(True)


@pytest.mark.parametrize("counts", [(), [2, 3], 4])
def test_multi_discrete_counts_must_be_a_non_empty_tuple(counts):
    with pytest.raises(TypeError, match="non-empty tuple"):
        MultiDiscreteActions(counts)


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (DiscreteActions(3), torch.tensor([[0, 3]]), r"0\.\.count-1 for counts \(3,\), got values in \[0, 3\]"),
        (DiscreteActions(3), torch.tensor([[0, -1]]), r"got values in \[-1, 0\]"),
        (DiscreteActions(3), torch.tensor([[0, 1, 2]]), r"torch.int64 \[1, 2\], got torch.int64 \[1, 3\]"),
        (DiscreteActions(3), torch.tensor([[0.0, 1.0]]), "got torch.float32"),
        (MultiDiscreteActions((2, 3)), torch.tensor([[[1, 2], [2, 1]]]), r"counts \(2, 3\)"),
        (MultiDiscreteActions((2, 3)), torch.tensor([[1, 2]]), r"\[1, 2, 2\], got torch.int64 \[1, 2\]"),
        (BoxActions(1), torch.tensor([[[0.0], [1.5]]]), r"\[-1, 1\], got values in \[0\.0, 1\.5\]"),
        (BoxActions(1), torch.tensor([[[0.0], [float("nan")]]]), r"\[-1, 1\]"),
        (BoxActions(1), torch.tensor([[[0.0], [1.0]]], dtype=torch.float64), "got torch.float64"),
    ],
)
def test_the_check_says_what_was_expected_and_what_came(space, actions, message):
    with pytest.raises(ValueError, match=message):
        space.check("proposals", actions, (1, 2))
