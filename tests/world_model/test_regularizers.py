import pytest
import torch

from jepa_rl.world_model.regularizers import covariance_penalty, sigreg, variance_hinge


def gaussian(samples: int, dimension: int) -> torch.Tensor:
    return torch.randn(samples, dimension, generator=torch.Generator().manual_seed(3))


def test_variance_hinge_is_zero_beyond_unit_deviation_and_nearly_one_at_collapse():
    assert variance_hinge(3 * gaussian(500, 4)) == 0
    assert variance_hinge(torch.zeros(500, 4)).item() == pytest.approx(1 - 0.01)


def test_covariance_penalty_of_two_equal_columns_is_their_squared_covariance():
    column = gaussian(2000, 1)
    expected = 2 * column.var().item() ** 2 / 2
    assert covariance_penalty(column.expand(-1, 2)).item() == pytest.approx(expected, rel=1e-5)


def test_covariance_penalty_ignores_scale_of_uncorrelated_columns():
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert covariance_penalty(10 * signs).item() == pytest.approx(0)


def test_sigreg_is_about_one_for_gaussian_latents_and_0402_per_sample_when_all_are_zero():
    generator = torch.Generator().manual_seed(0)
    assert sigreg(gaussian(1000, 16), directions=512, generator=generator).item() == pytest.approx(1.03, abs=0.15)
    assert sigreg(torch.zeros(1000, 16), directions=512, generator=generator).item() == pytest.approx(402, rel=0.01)
