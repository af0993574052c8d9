"""Which loss trains which part, and that every term is what it says."""

import copy
import dataclasses

import pytest
import torch

from jepa_rl.world_model import (
    AuxiliaryConfig,
    Batch,
    DynamicsConfig,
    ModelConfig,
    ObservationSpec,
    RegularizerConfig,
    RewardConfig,
    TerminationConfig,
    ValueConfig,
    build_world_model,
    loss_terms,
    loss_weights,
)
from jepa_rl.world_model.losses import dynamics_loss, lambda_return, latent_variance, masked_mean
from jepa_rl.world_model.slow_copy import frozen_copy
from jepa_rl.world_model.targets import BATCH_TARGETS

OFF = ModelConfig(
    latent_dim=8,
    dynamics=DynamicsConfig(weight=0),
    reward=RewardConfig(weight=0),
    termination=TerminationConfig(weight=0),
    imagined_heads=False,
)
TASKS = {
    "dynamics": DynamicsConfig(weight=1.0, target="same"),
    "reward": RewardConfig(weight=1.0),
    "value": ValueConfig(weight=1.0),
    "termination": TerminationConfig(weight=1.0),
}
AUXILIARIES = tuple(AuxiliaryConfig(target=target) for target in (*BATCH_TARGETS, "info:count"))
ALL = dataclasses.replace(OFF, auxiliaries=AUXILIARIES, **TASKS)


def a_batch(size=16, transitions=3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    terminated = torch.zeros(size, transitions, dtype=torch.bool)
    terminated[::4, 1:2] = True
    alive = torch.ones(size, transitions, dtype=torch.bool)
    alive[::4, 2:] = False
    label = torch.randn(size, transitions + 1, generator=generator)
    return Batch(
        observation=torch.randn(size, transitions + 1, 5, generator=generator),
        action=torch.randint(3, (size, transitions), generator=generator),
        reward=label[:, 1:],
        terminated=terminated,
        alive=alive,
        label=label,
        labelled=torch.cat([torch.zeros(size, 1, dtype=torch.bool), alive], dim=1),
        outcome=torch.full((size, transitions), -torch.inf),
        targets={"info:count": label.unsqueeze(-1)},
        shown={"inverse": torch.ones(size, transitions + 1, dtype=torch.bool)},
    )


def make(config: ModelConfig):
    model = build_world_model(
        config,
        observation=ObservationSpec(kind="vector", shape=(5,)),
        action_counts=(3,),
        box_size=0,
        generator=torch.Generator().manual_seed(1),
    )
    return model, frozen_copy(model)


def terms_of(config: ModelConfig, batch: Batch | None = None, model=None):
    made, ema = make(config)
    model = model or made
    generator = torch.Generator().manual_seed(2)
    return model, loss_terms(model, ema, batch or a_batch(), config, discount=0.9, generator=generator)


def trains(module: torch.nn.Module) -> bool:
    return any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in module.parameters())


@pytest.mark.parametrize("imagined", [False, True])
@pytest.mark.parametrize("open_gate", [False, True])
@pytest.mark.parametrize("name", [*TASKS, *(task.target for task in AUXILIARIES)])
def test_each_loss_trains_the_encoder_exactly_when_its_gate_is_open(name, open_gate, imagined):
    if name in TASKS:
        chosen = {name: dataclasses.replace(TASKS[name], trains_encoder=open_gate)}
    else:
        chosen = {"auxiliaries": (AuxiliaryConfig(target=name, trains_encoder=open_gate),)}
    model, terms = terms_of(dataclasses.replace(OFF, imagined_heads=imagined, **chosen))
    terms[name].backward()
    assert trains(model.encoder) == open_gate
    assert trains(model.dynamics if name == "dynamics" else model.heads[name])


def test_a_closed_dynamics_gate_keeps_the_encoder_from_imagined_latents_too():
    closed = DynamicsConfig(weight=1.0, target="same", trains_encoder=False)
    config = dataclasses.replace(
        OFF, dynamics=closed, reward=RewardConfig(weight=1.0, trains_encoder=False), imagined_heads=True
    )
    model, terms = terms_of(config)
    sum(terms.values()).backward()
    assert not trains(model.encoder)
    assert trains(model.dynamics)


@pytest.mark.parametrize(("target", "branches"), [("same", 2), ("stop", 1), ("ema", 1)])
def test_the_target_branch_of_l_dyn_is_trained_only_when_it_is_the_same(target, branches):
    """With T constant, only the branch E(o') can pull on the encoder."""
    config = dataclasses.replace(OFF, dynamics=DynamicsConfig(weight=1.0, target=target))
    model, _ = make(config)
    for parameter in model.dynamics.parameters():
        torch.nn.init.zeros_(parameter)
    _, terms = terms_of(config, model=model)
    terms["dynamics"].backward()
    assert trains(model.encoder) == (branches == 2)


def test_a_perfect_model_has_zero_dynamics_loss_and_a_known_error_its_square():
    config = dataclasses.replace(OFF, dynamics=DynamicsConfig(weight=1.0, target="same"))
    model, _ = make(config)
    for parameter in (*model.dynamics.parameters(), *model.encoder.parameters()):
        torch.nn.init.zeros_(parameter)
    assert terms_of(config, model=model)[1]["dynamics"] == 0
    torch.nn.init.constant_(model.dynamics.net[3].bias, 0.5)
    assert terms_of(config, model=model)[1]["dynamics"] == 0.25


def test_the_scale_free_loss_does_not_change_when_every_latent_is_scaled():
    config = dataclasses.replace(OFF, dynamics=DynamicsConfig(weight=1.0, target="same", scale_free=True))
    model, _ = make(config)
    torch.nn.init.zeros_(model.dynamics.net[3].weight)
    torch.nn.init.zeros_(model.dynamics.net[3].bias)
    with torch.no_grad():
        model.encoder.net[-1].weight.mul_(10)
        model.encoder.net[-1].bias.mul_(10)
        before = terms_of(config, model=model)[1]["dynamics"]
        model.encoder.net[-1].weight.mul_(3)
        model.encoder.net[-1].bias.mul_(3)
        after = terms_of(config, model=model)[1]["dynamics"]
    assert after.item() == pytest.approx(before.item(), rel=1e-3)


@pytest.mark.parametrize("target", ["stop", "ema"])
def test_a_scale_free_loss_whose_target_is_not_trained_does_not_make_the_encoder_grow(target):
    """With T constant nothing of the loss may reach the encoder; a variance of the online latents would."""
    config = dataclasses.replace(OFF, dynamics=DynamicsConfig(weight=1.0, target=target, scale_free=True))
    model, _ = make(config)
    torch.nn.init.zeros_(model.dynamics.net[3].weight)
    _, terms = terms_of(config, model=model)
    terms["dynamics"].backward()
    assert not trains(model.encoder)


@pytest.mark.parametrize("reward_input", ["observation", "transition"])
def test_nothing_after_the_end_of_an_episode_enters_any_loss(reward_input):
    reward = RewardConfig(weight=1.0, input=reward_input)
    config = dataclasses.replace(ALL, imagined_heads=True, regularizer=RegularizerConfig(variance=1.0), reward=reward)
    batch = a_batch()
    poisoned = {name: copy.deepcopy(getattr(batch, name)) for name in Batch.__slots__}
    poisoned["observation"][::4, 3] = 1e3
    poisoned["reward"][::4, 2] = 1e3
    poisoned["action"][::4, 2] = 2
    poisoned["label"][::4, 3] = 1e3
    poisoned["labelled"][::4, 3] = True
    poisoned["targets"]["info:count"][::4, 3] = 1e3
    clean, dirty = terms_of(config, batch)[1], terms_of(config, Batch(**poisoned))[1]
    assert {name: term.item() for name, term in clean.items()} == pytest.approx(
        {name: term.item() for name, term in dirty.items()}
    )


def test_unlabelled_observations_do_not_train_the_observation_reward():
    config = dataclasses.replace(OFF, reward=RewardConfig(weight=1.0, input="observation"))
    batch = a_batch()
    changed = dataclasses.replace(batch, label=torch.where(batch.labelled, batch.label, 99.0))
    assert terms_of(config, batch)[1]["reward"] == terms_of(config, changed)[1]["reward"]
    relabelled = dataclasses.replace(batch, labelled=torch.ones_like(batch.labelled))
    assert terms_of(config, batch)[1]["reward"] != terms_of(config, relabelled)[1]["reward"]


def test_termination_is_learned_on_the_observation_that_was_reached():
    config = dataclasses.replace(OFF, termination=TerminationConfig(weight=1.0))
    model, _ = make(config)
    batch = a_batch()
    model.heads["termination"] = torch.nn.Linear(8, 1)
    reached = model.encode(batch.observation[:, 1:].flatten(0, 1)).unflatten(0, (16, 3))
    logits = model.heads["termination"](reached).squeeze(-1)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[batch.alive], batch.terminated.float()[batch.alive]
    )
    assert terms_of(config, batch, model)[1]["termination"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("reward_input", ["observation", "transition"])
def test_a_task_on_imagined_latents_too_is_the_mean_over_both(reward_input):
    """A task's loss on the imagined latents alone is that of a window whose encodings they are."""
    reward = RewardConfig(weight=1.0, input=reward_input)
    config = dataclasses.replace(ALL, reward=reward, value=ValueConfig(weight=0), dynamics=DynamicsConfig(weight=0))
    config = dataclasses.replace(config, auxiliaries=(AuxiliaryConfig(target="inverse"), AuxiliaryConfig(target="noise")))
    batch, (model, encoded) = a_batch(), terms_of(config)
    both = terms_of(dataclasses.replace(config, imagined_heads=True), batch, model)[1]
    first = model.encode(batch.observation[:, 0])
    imagined = torch.cat([first[:, None], model.rollout(first, batch.action)], dim=1)
    model.encode = lambda observation: imagined.flatten(0, 1)
    alone = terms_of(config, batch, model)[1]
    for name, loss in both.items():
        assert alone[name] != encoded[name]
        assert loss.item() == pytest.approx((encoded[name].item() + alone[name].item()) / 2, rel=1e-5), name


def test_the_terms_are_exactly_those_with_a_weight():
    config = dataclasses.replace(ALL, regularizer=RegularizerConfig(covariance=0.1, sigreg=0.2, sigreg_directions=8))
    auxiliaries = {task.target for task in AUXILIARIES}
    assert set(terms_of(config)[1]) == set(loss_weights(config)) == {*TASKS, *auxiliaries, "covariance", "sigreg"}
    off = dataclasses.replace(OFF, auxiliaries=(AuxiliaryConfig(target="noise", weight=0.0),))
    assert terms_of(off)[1] == loss_weights(off) == {}
    assert "noise" not in make(off)[0].heads


def test_a_loss_that_is_not_finite_is_named():
    batch = a_batch()
    broken = dataclasses.replace(batch, reward=torch.full_like(batch.reward, torch.inf))
    with pytest.raises(FloatingPointError, match="'reward'"):
        terms_of(dataclasses.replace(OFF, reward=RewardConfig(weight=1.0)), broken)


def test_labels_of_acted_observations_leave_out_the_last_of_each_window():
    def reward_loss(labels: str, batch: Batch) -> float:
        config = dataclasses.replace(OFF, reward=RewardConfig(weight=1.0, input="observation", labels=labels))
        return terms_of(config, batch)[1]["reward"].item()

    batch = a_batch()
    label = batch.label.clone()
    label[:, 3] += 5  # the end of a whole window
    label[::4, 2] += 5  # the end of an episode within one
    changed = dataclasses.replace(batch, label=label)
    assert reward_loss("acted", batch) == reward_loss("acted", changed)
    assert reward_loss("all", batch) != reward_loss("all", changed)


def test_action_free_dynamics_predict_the_same_for_every_action():
    latent = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    action = torch.tensor([0, 1, 2])
    same = latent[:1].expand(3, -1)
    blind, _ = make(dataclasses.replace(OFF, dynamics=DynamicsConfig(weight=1.0, action_free=True)))
    seeing, _ = make(dataclasses.replace(OFF, dynamics=DynamicsConfig(weight=1.0)))
    assert torch.allclose(blind.predict(same, action)[0], blind.predict(same, action)[1], atol=1e-6)
    assert not torch.allclose(seeing.predict(same, action)[0], seeing.predict(same, action)[1], atol=1e-2)


def test_a_value_target_is_raised_to_the_outcome_of_its_own_episode():
    value = ValueConfig(weight=1.0, at_least_outcome=True)
    config = dataclasses.replace(OFF, value=value)
    batch = a_batch(size=2, transitions=1)
    # The bootstrap of both is 0: a reward of 0.3 is all, but for the outcome of the second.
    model, ema = make(config)
    with torch.no_grad():
        for net in (model, ema):
            net.heads["value"].net[-1].weight.zero_()
            net.heads["value"].net[-1].bias.zero_()
    outcome = torch.tensor([[-torch.inf], [0.8]])
    terms = []
    for chosen in (value, ValueConfig(weight=1.0)):
        batch = dataclasses.replace(batch, reward=torch.full((2, 1), 0.3), outcome=outcome)
        settings = dataclasses.replace(config, value=chosen)
        terms.append(loss_terms(model, ema, batch, settings, discount=0.9, generator=torch.Generator())["value"].item())
    assert terms == pytest.approx([(0.3**2 + 0.8**2) / 2, 0.3**2])


def test_the_gap_lowers_the_targets_of_actions_that_are_not_the_best():
    value = ValueConfig(weight=1.0, gap=0.5)
    config = dataclasses.replace(OFF, value=value)
    batch = a_batch(size=2, transitions=1)
    batch = dataclasses.replace(
        batch,
        action=torch.tensor([[0], [2]]),
        reward=torch.zeros(2, 1),
        terminated=torch.ones(2, 1, dtype=torch.bool),
    )
    model, ema = make(config)
    with torch.no_grad():  # every latent has the values 0.2, 0.1, 0.6
        for net in (model, ema):
            net.heads["value"].net[-1].weight.zero_()
            net.heads["value"].net[-1].bias.copy_(torch.tensor([0.2, 0.1, 0.6]))
    loss = loss_terms(model, ema, batch, config, discount=0.9, generator=torch.Generator())["value"].item()
    assert loss == pytest.approx(((0.2 - (0 - 0.5 * 0.4)) ** 2 + 0.6**2) / 2)


def test_the_gap_raises_no_target_of_an_action_that_is_better_than_the_best_candidate():
    config = dataclasses.replace(OFF, value=ValueConfig(weight=1.0, gap=0.5))
    batch = a_batch(size=2, transitions=1)
    batch = dataclasses.replace(batch, reward=torch.zeros(2, 1), terminated=torch.ones(2, 1, dtype=torch.bool))
    model, ema = make(config)
    with torch.no_grad():
        model.heads["value"].net[-1].weight.zero_()
        model.heads["value"].net[-1].bias.zero_()
    # The best that is known is worth 0.5, the actions that were taken 0.25 and 0.75.
    ema.values = lambda latent, action: (torch.full((2, 2), 0.5), torch.tensor([[0.25], [0.75]]))
    loss = loss_terms(model, ema, batch, config, discount=0.9, generator=torch.Generator())["value"].item()
    assert loss == pytest.approx((0.5 * 0.25) ** 2 / 2)


def moved_apart(ema):
    """A slow copy that is far from its model, so that the two cannot be mistaken for each other."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in ema.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return ema


def found(name, config, model, ema, batch):
    return loss_terms(model, ema, batch, config, discount=0.9, generator=torch.Generator())[name].item()


@pytest.mark.parametrize("scale_free", [False, True])
@pytest.mark.parametrize("target", ["same", "stop", "ema"])
def test_imagined_latents_are_compared_with_the_observations_that_came(target, scale_free):
    config = dataclasses.replace(OFF, dynamics=DynamicsConfig(weight=1.0, target=target, scale_free=scale_free))
    (model, ema), batch = make(config), a_batch()
    moved_apart(ema)

    def encoded(network):
        return network.encode(batch.observation.flatten(0, 1)).unflatten(0, (16, 4))

    reached = encoded(ema if target == "ema" else model)[:, 1:]
    expected = dynamics_loss(model.rollout(encoded(model)[:, 0], batch.action), reached, batch.alive)
    if scale_free:
        scaled_by = (encoded(model), batch.valid) if target == "same" else (reached, batch.alive)
        expected = expected / (latent_variance(*scaled_by) + 1e-4)
    assert found("dynamics", config, model, ema, batch) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("gap", "critics"), [(0.0, 1), (0.5, 1), (0.5, 2)])
def test_value_targets_are_what_the_slow_copy_says_of_the_observations_that_came(gap, critics):
    """With lambda-returns, outcomes and gaps in their order, written out."""
    value = ValueConfig(weight=1.0, trace=0.7, gap=gap, at_least_outcome=True, critics=critics)
    config = dataclasses.replace(OFF, value=value, imagined_heads=True)
    (model, ema), batch = make(config), a_batch()
    moved_apart(ema)
    known = torch.where(torch.arange(16)[:, None] % 2 == 0, 2.0, -torch.inf).expand(16, 3)
    batch = dataclasses.replace(batch, outcome=known)
    latent = model.encode(batch.observation.flatten(0, 1)).unflatten(0, (16, 4))
    every = latent.flatten(0, 1).repeat_interleave(3, 0), torch.arange(3).repeat(64)
    slow = ema.taken_values(*every).unflatten(1, (16, 4, 3))  # [C, 16, 4, 3]
    best, taken = slow.mean(0).amax(2), slow.mean(0)[:, :3].gather(2, batch.action[..., None]).squeeze(2)
    target = lambda_return(batch.reward, batch.terminated, batch.alive, slow.amin(0).amax(2)[:, 1:], 0.9, 0.7)
    target = torch.maximum(target, batch.outcome) - gap * (best[:, :-1] - taken)
    losses = []
    for view in (latent, torch.cat([latent[:, :1], model.rollout(latent[:, 0], batch.action)], 1)):
        told = model.taken_values(view[:, :-1].flatten(0, 1), batch.action.flatten(0, 1)).unflatten(1, (16, 3))
        losses += [masked_mean((each - target).square(), batch.alive) for each in told]
    assert found("value", config, model, ema, batch) == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_value_targets_stay_within_what_their_likelihood_can_express():
    config = dataclasses.replace(OFF, value=ValueConfig(weight=1.0, likelihood="bernoulli"))
    (model, ema), batch = make(config), a_batch(size=2, transitions=1)

    def loss(reward):
        ended = torch.ones(2, 1, dtype=torch.bool)
        paid = dataclasses.replace(batch, reward=torch.full((2, 1), reward), terminated=ended)
        return found("value", config, model, ema, paid)

    assert loss(7.0) == loss(1.0)
    assert loss(-7.0) == loss(0.0) != loss(1.0)


@pytest.mark.parametrize("given", ["observation", "transition"])
def test_rewards_beyond_what_their_likelihood_can_express_are_refused(given):
    config = dataclasses.replace(OFF, reward=RewardConfig(weight=1.0, input=given, likelihood="bernoulli"))
    with pytest.raises(ValueError, match="targets of the reward must be in"):
        found("reward", config, *make(config), a_batch())


@pytest.mark.parametrize(
    ("section", "because"),
    [
        ({"dynamics": DynamicsConfig(weight=1.0, target="ema")}, "model.dynamics.target is ema"),
        ({"value": ValueConfig(weight=0.5)}, r"model.value.weight is 0\.5"),
    ],
)
def test_a_missing_slow_copy_is_named_with_what_needs_it(section, because):
    config = dataclasses.replace(OFF, **section)
    with pytest.raises(ValueError, match=f"ema must be the slow copy of the model, because {because}, got None"):
        loss_terms(make(config)[0], None, a_batch(), config, discount=0.9, generator=torch.Generator())


def test_targets_of_another_size_than_the_task_has_are_refused():
    config = dataclasses.replace(OFF, auxiliaries=(AuxiliaryConfig(target="info:count", size=2),))
    with pytest.raises(ValueError, match=r"auxiliary task 'info:count' must be 2 for each observation.* got \[16, 4, 1\]"):
        terms_of(config)
