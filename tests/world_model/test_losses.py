import math

import numpy as np
import pytest
import torch
from torch import Tensor

from jepa_rl.world_model.losses import dynamics_loss, lambda_return, latent_variance, masked_mean


def returns(reward, terminated=None, alive=None, bootstrap=None, discount=0.9, trace=1.0) -> list[float]:
    reward = torch.tensor([reward], dtype=torch.float32)
    steps = reward.shape[1]

    def row(values, default) -> Tensor:
        return torch.tensor([default] * steps if values is None else values)[None]

    result = lambda_return(reward, row(terminated, False), row(alive, True), row(bootstrap, 0.0).float(), discount, trace)
    return pytest.approx(result[0].tolist())


def test_the_terminal_reward_counts_and_the_next_episode_does_not():
    # The last reward and bootstrap stand for whatever the window holds after the end.
    found = returns([1.0, 0.7], terminated=[True, False], alive=[True, False], bootstrap=[50.0, 10.0])
    assert found == [1.0, 0.7 + 0.9 * 10.0]


def test_a_time_limit_bootstraps_from_the_true_final_observation():
    assert returns([1.0, 0.0], alive=[True, False], bootstrap=[10.0, 99.0]) == [1.0 + 0.9 * 10.0, 0.9 * 99.0]


def test_full_trace_sums_the_window_and_bootstraps_at_its_end():
    expected = 1 + 0.9 * (2 + 0.9 * (3 + 0.9 * 4))
    assert returns([1.0, 2.0, 3.0], bootstrap=[7.0, 7.0, 4.0]) == [expected, 2 + 0.9 * (3 + 0.9 * 4), 3 + 0.9 * 4]


def test_zero_trace_is_the_one_step_target():
    assert returns([1.0, 2.0], bootstrap=[5.0, 4.0], trace=0.0, discount=0.5) == [3.5, 4.0]


def test_a_trace_between_mixes_bootstrap_and_return():
    last = 2 + 0.5 * 4
    assert returns([1.0, 2.0], bootstrap=[5.0, 4.0], trace=0.25, discount=0.5) == [1 + 0.5 * (0.75 * 5 + 0.25 * last), last]


def test_lambda_return_of_random_windows_equals_the_recursion_written_out():
    generator = torch.Generator().manual_seed(0)
    reward, bootstrap = torch.randn(2, 20, 4, generator=generator).unbind(0)
    terminated = torch.rand(20, 4, generator=generator) < 0.2
    alive = torch.cat([torch.ones(20, 1, dtype=torch.bool), ~terminated.cumsum(1).bool()[:, :-1]], 1)
    found = lambda_return(reward, terminated, alive, bootstrap, 0.9, 0.7)
    for row in range(20):
        for t in range(4):
            if not alive[row, t]:
                continue
            expected, scale = 0.0, 1.0
            for k in range(t, 4):
                expected += scale * reward[row, k].item()
                if terminated[row, k]:
                    break
                scale *= 0.9
                last = k == 3 or not alive[row, k + 1]
                expected += scale * (1.0 if last else 0.3) * bootstrap[row, k].item()
                scale *= 0.7
                if last:
                    break
            assert found[row, t].item() == pytest.approx(expected, abs=1e-5)


def test_masked_mean_ignores_the_rest_and_is_zero_over_nothing():
    values = torch.tensor([1.0, 3.0, 100.0])
    assert masked_mean(values, torch.tensor([True, True, False])) == 2.0
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)) == 0.0


def test_dynamics_loss_is_the_mean_square_over_living_transitions():
    imagined = torch.tensor([[[1.0, 1.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 0.0]]])
    alive = torch.tensor([[True, False], [True, True]])
    assert dynamics_loss(imagined, torch.zeros(2, 2, 2), alive).item() == pytest.approx((1.0 + 2.0 + 0.0) / 3)


def test_latent_variance_equals_numpys_over_the_valid_entries():
    latent = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(1))
    valid = torch.rand(6, 3, generator=torch.Generator().manual_seed(2)) < 0.6
    expected = np.var(latent[valid].numpy(), axis=0).mean()
    assert latent_variance(latent, valid).item() == pytest.approx(expected, rel=1e-5)


def test_what_is_not_finite_stays_behind_the_mask():
    values = torch.tensor([1.0, torch.nan, 3.0, torch.inf], requires_grad=True)
    loss = masked_mean(values, torch.tensor([True, False, True, False]))
    loss.backward()
    assert loss == 2.0
    assert values.grad.tolist() == [0.5, 0, 0.5, 0]


@pytest.mark.parametrize("transposed", [False, True])
def test_the_masked_mean_is_the_sum_of_products_bit_for_bit(transposed):
    """The order of the sum depends on the layout of the values."""
    values = torch.randn(64, 17, generator=torch.Generator().manual_seed(0))
    values = torch.randn(17, 64, generator=torch.Generator().manual_seed(0)).T if transposed else values
    mask = torch.rand(64, 17, generator=torch.Generator().manual_seed(1)) < 0.7
    assert torch.equal(masked_mean(values, mask), (values * mask).sum() / mask.sum())


def test_a_bootstrap_after_the_termination_does_not_enter_even_if_it_is_not_finite():
    assert returns([1.0, 2.0], terminated=[False, True], bootstrap=[3.0, math.nan]) == [1 + 0.9 * 2, 2.0]
    assert returns([1.0], terminated=[True], bootstrap=[math.inf]) == [1.0]
