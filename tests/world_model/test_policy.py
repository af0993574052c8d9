"""The policy prior and the Q heads behind it: densities, what its loss moves, and what is bootstrapped on."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from jepa_rl.world_model import (
    Batch,
    DynamicsConfig,
    ModelConfig,
    ObservationSpec,
    PolicyConfig,
    RewardConfig,
    TerminationConfig,
    ValueConfig,
    build_world_model,
    loss_terms,
    loss_weights,
)
from jepa_rl.world_model.policy import LOG_STD_BOUNDS, GaussianPolicy, policy_loss, softmax_policy
from jepa_rl.world_model.slow_copy import frozen_copy

CONFIG = ModelConfig(
    latent_dim=8,
    dynamics=DynamicsConfig(weight=0),
    reward=RewardConfig(weight=0),
    value=ValueConfig(weight=1.0, hidden=16, critics=2),
    policy=PolicyConfig(weight=1.0, hidden=16, entropy=0.0),
    termination=TerminationConfig(weight=0),
)


class Peak(nn.Module):
    """Q(z, a) = -height |a - best|^2; one weight, which the policy's loss must leave alone."""

    def __init__(self, best: float, height: float = 10.0) -> None:
        super().__init__()
        self.best, self.height = best, nn.Parameter(torch.tensor(height))

    def forward(self, latent, action):
        return -self.height * (action - self.best).square().sum(1, keepdim=True)


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, latent, action):
        return torch.full((len(latent), 1), self.value)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(config=CONFIG, action_counts=(), box_size=1):
    observation = ObservationSpec(kind="vector", shape=(3,))
    return build_world_model(
        config, observation=observation, action_counts=action_counts, box_size=box_size, generator=generator(1)
    )


def a_batch(size=32, transitions=2, actions=1) -> Batch:
    source = generator(3)
    alive = torch.ones(size, transitions, dtype=torch.bool)
    alive[::4, 1:] = False
    return Batch(
        observation=torch.randn(size, transitions + 1, 3, generator=source),
        action=2 * torch.rand(size, transitions, actions, generator=source) - 1,
        reward=torch.zeros(size, transitions),
        terminated=torch.zeros(size, transitions, dtype=torch.bool),
        alive=alive,
        label=torch.zeros(size, transitions + 1),
        labelled=torch.ones(size, transitions + 1, dtype=torch.bool),
        outcome=torch.full((size, transitions), -torch.inf),
    )


def terms_of(model, ema=None, config=CONFIG, batch=None):
    ema = frozen_copy(model) if ema is None else ema
    return loss_terms(model, ema, batch or a_batch(), config, discount=0.9, generator=generator(2))


def trained(model) -> set[str]:
    return {name.rsplit(".", 1)[0] for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}


def test_actions_lie_in_the_box_and_their_density_is_that_of_a_squashed_gaussian():
    policy, latent = GaussianPolicy(latent_dim=8, hidden=16, size=2), torch.randn(500, 8, generator=generator())
    action, log_probability = policy.sample(latent, generator(4))
    assert action.abs().max() <= 1
    mean, log_std = policy(latent)
    assert (log_std >= LOG_STD_BOUNDS[0]).all()
    assert (log_std <= LOG_STD_BOUNDS[1]).all()
    inside = (action.abs() < 0.99).all(1)  # the inverse of tanh loses its digits at the border
    deviation = (action.atanh() - mean) / log_std.exp()
    gaussian = -(deviation.square() + math.log(2 * math.pi)) / 2 - log_std
    expected = (gaussian - (1 - action.square()).log()).sum(1)
    torch.testing.assert_close(log_probability[inside], expected[inside], rtol=1e-3, atol=1e-3)
    assert torch.equal(action, policy.sample(latent, generator(4))[0])
    assert not torch.equal(action, policy.sample(latent, generator(5))[0])


def test_a_density_at_the_border_of_the_box_is_finite():
    policy = GaussianPolicy(latent_dim=8, hidden=16, size=1)
    nn.init.zeros_(policy.net[-1].weight)
    policy.net[-1].bias.data = torch.tensor([40.0, 0.0])
    action, log_probability = policy.sample(torch.zeros(4, 8), generator())
    assert action.tolist() == [[1.0]] * 4
    assert torch.isfinite(log_probability).all()


@pytest.mark.parametrize("best", [0.6, -0.3])
def test_the_loss_moves_the_policy_to_the_best_action(best):
    model = make()
    for name in model.critics:
        model.heads[name] = Peak(best)
    optimizer = torch.optim.Adam(model.policy.parameters(), lr=3e-2)
    ema, batch = frozen_copy(model), a_batch(8)
    with torch.no_grad():
        seen = model.encode(batch.observation.flatten(0, 1))

    def distance() -> float:
        return (model.policy.best(seen) - best).abs().mean().item()

    before = distance()
    for _ in range(50):
        optimizer.zero_grad()
        terms_of(model, ema, batch=batch)["policy"].backward()
        optimizer.step()
    assert before > 0.2
    assert distance() < 0.1


def test_the_policy_climbs_the_mean_of_the_value_heads():
    model, batch = make(), a_batch(8)
    model.policy.net[-1].weight.data.zero_()
    model.policy.net[-1].bias.data = torch.tensor([0.3, -1.0])
    for name, best in zip(model.critics, (0.9, -0.5), strict=True):
        model.heads[name] = Peak(best, height=1.0)
    # Latents do not matter to this policy: the loss's draw, after that of the value's target, can be drawn once more.
    source = generator(2)
    model.policy.sample(torch.zeros(16, 8), source)
    action, log_probability = model.policy.sample(torch.zeros(24, 8), source)
    value = -((action - 0.9).square() + (action + 0.5).square()).squeeze(1) / 2
    expected = policy_loss(value, log_probability, batch.valid.flatten(), 0.0)
    assert terms_of(model, batch=batch)["policy"].item() == pytest.approx(expected.item())


def test_targets_bootstrap_on_an_action_drawn_from_the_policy():
    model, latent = make(), torch.randn(40, 8, generator=generator(7))
    drawn = model.taken_values(latent, model.policy.sample(latent, generator(5))[0]).amin(0)
    assert torch.equal(model.careful_value(latent, generator(5)), drawn)
    assert not torch.allclose(drawn, model.taken_values(latent, model.policy.best(latent)).amin(0), atol=1e-3)


def test_the_loss_trains_the_policy_alone():
    model = make(dataclasses.replace(CONFIG, dynamics=DynamicsConfig(weight=1.0)))
    terms_of(model)["policy"].backward()
    assert {name.split(".")[1] for name in trained(model)} == {"policy"}
    model.zero_grad()
    terms_of(model)["value"].backward()
    assert {"value", "value-2"} <= {name.split(".")[1] for name in trained(model)}
    assert "policy" not in {name.split(".")[1] for name in trained(model)}


def test_the_policy_learns_from_imagined_latents_and_not_from_what_follows_an_episode():
    model, batch = make(), a_batch()
    changed = batch.observation.clone()
    changed[:, 1:] = 9.0
    same = dataclasses.replace(batch, observation=changed)
    # Only the first observation is encoded for it; the others are imagined from there.
    assert terms_of(model, batch=batch)["policy"].item() == pytest.approx(terms_of(model, batch=same)["policy"].item())
    action = batch.action.clone()
    action[::4, 1:] = 0.9  # after the end
    after = dataclasses.replace(batch, action=action)
    assert terms_of(model, batch=batch)["policy"].item() == pytest.approx(terms_of(model, batch=after)["policy"].item())
    action = batch.action.clone()
    action[:, 0] = 0.9
    other = dataclasses.replace(batch, action=action)
    assert terms_of(model, batch=batch)["policy"].item() != pytest.approx(terms_of(model, batch=other)["policy"].item())


def test_the_entropy_weight_widens_the_policy():
    model = make()
    for name in model.critics:
        model.heads[name] = Constant(0.0)
    greedy = dataclasses.replace(CONFIG, policy=dataclasses.replace(CONFIG.policy, entropy=0.1))
    terms_of(model, config=greedy)["policy"].backward()
    latent = torch.randn(64, 8, generator=generator(7))

    def entropy() -> float:
        return -model.policy.sample(latent, generator(8))[1].mean().item()

    before = entropy()
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter -= 0.5 * parameter.grad
    assert entropy() > before


def test_the_loss_divides_values_by_their_range_and_never_blows_up_small_ones():
    log_probability, valid = torch.zeros(101), torch.ones(101, dtype=torch.bool)
    value = torch.linspace(0, 1000, 101)  # 900 from the 5th to the 95th percentile
    assert policy_loss(value, log_probability, valid, 0.5).item() == pytest.approx(-500 / 900)
    assert policy_loss(value / 1e5, log_probability, valid, 0.5).item() == pytest.approx(-500 / 1e5)
    assert policy_loss(value, log_probability + 2, valid, 0.5).item() == pytest.approx(1 - 500 / 900)
    wrong = torch.cat([value, torch.tensor([1e9])])
    known = torch.cat([valid, torch.tensor([False])])
    assert policy_loss(wrong, torch.zeros(102), known, 0.5).item() == pytest.approx(-500 / 900)


def test_targets_bootstrap_on_the_least_value_head_and_plans_on_their_mean():
    model = make()
    for name, value in zip(model.critics, (1.0, 3.0), strict=True):
        model.heads[name] = Constant(value)
    # 0.9 or 0.81 of the least, 1, against heads that say 1 and 3.
    alive = torch.ones(4, 1, dtype=torch.bool)
    batch = dataclasses.replace(a_batch(4, 1), alive=alive)
    term = terms_of(model, batch=batch)["value"].item()
    assert term == pytest.approx(((1 - 0.9) ** 2 + (3 - 0.9) ** 2) / 2)
    assert model.value(torch.zeros(5, 8)).tolist() == [2.0] * 5


def test_the_least_of_finite_actions_is_taken_before_the_best():
    config = dataclasses.replace(CONFIG, policy=PolicyConfig())
    model = make(config, action_counts=(2,), box_size=0)
    with torch.no_grad():
        for name, values in zip(model.critics, ([4.0, 1.0], [0.0, 2.0]), strict=True):
            nn.init.zeros_(model.heads[name].net[-1].weight)
            model.heads[name].net[-1].bias.copy_(torch.tensor(values))
    latent = torch.zeros(3, 8)
    assert model.careful_value(latent, generator()).tolist() == [1.0] * 3
    assert model.value(latent).tolist() == [2.0] * 3


def test_a_state_is_worth_what_q_says_of_the_policys_action():
    model = make()
    nn.init.zeros_(model.policy.net[-1].weight)
    model.policy.net[-1].bias.data = torch.tensor([math.atanh(0.5), -40.0])
    for name in model.critics:
        model.heads[name] = Peak(0.6, height=1.0)
    assert model.value(torch.zeros(2, 8)).tolist() == pytest.approx([-0.01] * 2)
    assert model.careful_value(torch.zeros(2, 8), generator()).tolist() == pytest.approx([-0.01] * 2, abs=5e-3)


def test_a_softmax_of_finite_actions_does_not_know_the_scale_of_values():
    value = torch.tensor([[0.0, 1.0, 2.0]])
    probability = softmax_policy(value)
    assert (probability[0, 2] / probability[0, 0]).item() == pytest.approx(math.exp(5), rel=1e-4)
    torch.testing.assert_close(softmax_policy(1e3 * value - 7), probability)
    torch.testing.assert_close(softmax_policy(torch.full((1, 4), 3.0)), torch.full((1, 4), 0.25))


def test_finite_actions_are_proposed_by_their_values():
    config = dataclasses.replace(CONFIG, policy=PolicyConfig())
    model = make(config, action_counts=(3,), box_size=0)
    with torch.no_grad():
        for name in model.critics:
            nn.init.zeros_(model.heads[name].net[-1].weight)
            model.heads[name].net[-1].bias.copy_(torch.tensor([1.0, 0.8, 0.0]))
    drawn = model.propose(torch.zeros(4000, 8), generator())
    share = drawn.bincount(minlength=3) / 4000
    torch.testing.assert_close(share, torch.tensor([1.0, 0.8, 0.0]).mul(5).softmax(0), atol=0.03, rtol=0)

    model = make(config, action_counts=(3, 4), box_size=0)
    drawn = model.propose(torch.zeros(400, 8), generator())
    assert drawn.dtype == torch.int64
    assert len(set(map(tuple, drawn.tolist()))) > 6
    assert drawn.amax(0).tolist() == [2, 3]


def test_finite_actions_have_no_policy_and_no_loss_of_it():
    model = make(action_counts=(3,), box_size=0)
    batch = dataclasses.replace(a_batch(), action=torch.zeros(32, 2, dtype=torch.long))
    assert model.policy is None
    assert model.can_propose
    assert set(terms_of(model, batch=batch)) == set(loss_weights(CONFIG)) - {"policy"} == {"value"}
    assert not make(dataclasses.replace(CONFIG, policy=PolicyConfig())).can_propose


def test_without_them_every_part_begins_with_the_weights_that_it_has_with_them():
    plain = make(dataclasses.replace(CONFIG, policy=PolicyConfig(), value=ValueConfig(weight=1.0, hidden=16)))
    more = make()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, more.state_dict()[name])
    extra = {name.split(".")[1] for name in more.state_dict().keys() - plain.state_dict().keys()}
    assert extra == {"policy", "value-2"}
    assert not torch.equal(more.heads["value"].net[0].weight, more.heads["value-2"].net[0].weight)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "signed_bernoulli", "two_hot"])
def test_every_likelihood_serves_several_value_heads(likelihood):
    config = dataclasses.replace(CONFIG, value=dataclasses.replace(CONFIG.value, likelihood=likelihood))
    model = make(config)
    terms = terms_of(model, config=config)
    (terms["value"] + terms["policy"]).backward()
    assert {"policy", "value", "value-2"} <= {name.split(".")[1] for name in trained(model)}


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"model\.value\.weight must be positive with model\.policy\.weight, got 0"):
        ModelConfig(policy=PolicyConfig(weight=1.0))
    with pytest.raises(ValueError, match=r"model\.value\.critics must be at least 1, got 0"):
        ModelConfig(value=ValueConfig(critics=0))
    with pytest.raises(ValueError, match=r"model\.policy\.entropy must be at least 0, got -1"):
        ModelConfig(policy=PolicyConfig(entropy=-1))
    with pytest.raises(ValueError, match=r"model\.policy\.hidden must be at least 1, got 0"):
        ModelConfig(policy=PolicyConfig(hidden=0))
    with pytest.raises(ValueError, match=r"model\.policy\.weight must be at least 0, got -1"):
        ModelConfig(value=ValueConfig(weight=1.0), policy=PolicyConfig(weight=-1))
