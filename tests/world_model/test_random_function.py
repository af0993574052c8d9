import pytest
import torch

from jepa_rl.world_model.random_function import RandomFunction


@pytest.mark.parametrize("linear", [True, False])
def test_the_random_function_is_frozen_and_depends_on_the_observation(linear):
    target = RandomFunction(shape=(3, 3), size=7, linear=linear, scale=1 / 255)
    assert not any(parameter.requires_grad for parameter in target.parameters())
    first, second = target(torch.zeros(2, 3, 3)), target(255 * torch.eye(3).expand(2, 3, 3))
    assert first.shape == (2, 7)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("linear", [True, False])
def test_the_random_function_reads_single_numbers(linear):
    target = RandomFunction(shape=(), size=7, linear=linear, scale=1.0)
    first, second = target(torch.tensor([1, 3]))
    assert first.shape == (7,)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("linear", [True, False])
def test_a_wide_component_does_not_drown_the_others(linear):
    """Read as it is, 1e5 would be all that the outputs depend on, and what float32 cannot hold would be infinite."""
    torch.manual_seed(0)
    target = RandomFunction(shape=(2,), size=64, linear=linear, scale=1.0, wide=(0,))
    loud = torch.tensor([[1e5, 0.0], [1e5, 1.0], [1e300, 0.0]], dtype=torch.float64)
    base, other, extreme = target(loud)
    assert (other - base).norm() > 0.01 * base.norm()
    assert extreme.isfinite().all()
