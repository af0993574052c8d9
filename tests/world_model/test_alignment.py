"""The angle between two losses' gradients on the encoder, on a model small enough to know it."""

import dataclasses

import pytest
import torch

from jepa_rl.world_model import (
    AuxiliaryConfig,
    Batch,
    DynamicsConfig,
    ModelConfig,
    ObservationSpec,
    RewardConfig,
    TerminationConfig,
    build_world_model,
    loss_terms,
)
from jepa_rl.world_model.alignment import (
    encoder_gradient,
    encoder_pulls,
    gradient_alignment,
    gradient_shares,
    standard_error,
    trains_encoder,
)
from jepa_rl.world_model.slow_copy import frozen_copy

CONFIG = ModelConfig(
    latent_dim=4,
    dynamics=DynamicsConfig(weight=2.0, target="same"),
    reward=RewardConfig(weight=3.0, input="observation"),
    termination=TerminationConfig(weight=0.0),
    imagined_heads=False,
)


def a_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        observation=torch.randn(32, 2, 5, generator=generator),
        action=torch.randint(3, (32, 1), generator=generator),
        reward=torch.randn(32, 1, generator=generator),
        terminated=torch.zeros(32, 1, dtype=torch.bool),
        alive=torch.ones(32, 1, dtype=torch.bool),
        label=torch.randn(32, 2, generator=generator),
        labelled=torch.ones(32, 2, dtype=torch.bool),
        outcome=torch.full((32, 1), -torch.inf),
    )


def make(config: ModelConfig):
    return build_world_model(
        config,
        observation=ObservationSpec(kind="vector", shape=(5,)),
        action_counts=(3,),
        box_size=0,
        generator=torch.Generator().manual_seed(1),
    )


def measure(config: ModelConfig, model=None, auxiliary: str = "reward", batch: Batch | None = None):
    model, batch = model or make(config), batch or a_batch()
    return gradient_alignment(
        model, frozen_copy(model), batch, config, auxiliary, discount=0.9, generator=torch.Generator()
    )


def pulls(config: ModelConfig, model, batches, **options):
    return encoder_pulls(model, frozen_copy(model), batches, config, discount=0.9, generator=torch.Generator(), **options)


def test_norms_and_cosine_are_those_of_the_two_backward_passes():
    model = make(CONFIG)
    flat = []
    for name in ("dynamics", "reward"):
        terms = loss_terms(model, None, a_batch(), CONFIG, discount=0.9, generator=torch.Generator())
        model.zero_grad()
        terms[name].backward()
        flat.append(torch.cat([parameter.grad.flatten() for parameter in model.encoder.parameters()]))
    model.zero_grad()
    found = measure(CONFIG, model)
    assert found.dynamics_norm == pytest.approx(flat[0].norm().item(), rel=1e-5)
    assert found.auxiliary_norm == pytest.approx(flat[1].norm().item(), rel=1e-5)
    assert found.cosine == pytest.approx(torch.cosine_similarity(*flat, dim=0).item(), rel=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_loss_that_is_kept_from_the_encoder_shows_what_it_would_do():
    closed = dataclasses.replace(
        CONFIG,
        dynamics=dataclasses.replace(CONFIG.dynamics, trains_encoder=False),
        reward=dataclasses.replace(CONFIG.reward, trains_encoder=False),
    )
    assert measure(closed) == measure(CONFIG)


def test_every_auxiliary_is_measured_by_its_name():
    inverse, noise = AuxiliaryConfig(target="inverse", trains_encoder=False), AuxiliaryConfig(target="noise")
    both = dataclasses.replace(CONFIG, auxiliaries=(inverse, noise))
    model = make(both)
    alone = measure(dataclasses.replace(CONFIG, auxiliaries=(inverse,)), model, "inverse")
    assert measure(both, model, "inverse") == alone
    assert alone.auxiliary_norm > 0
    assert measure(both, model, "noise").auxiliary_norm not in (0, alone.auxiliary_norm)
    with pytest.raises(ValueError, match="no task 'invers'; did you mean inverse"):
        measure(both, model, "invers")


def test_a_task_that_is_switched_off_cannot_be_measured():
    with pytest.raises(ValueError, match=r"model.value.weight must be positive .* got 0"):
        measure(CONFIG, auxiliary="value")


def test_without_a_gradient_there_is_no_cosine():
    model = make(CONFIG)
    for parameter in model.heads["reward"].parameters():
        torch.nn.init.zeros_(parameter)
    found = measure(CONFIG, model)
    assert found.auxiliary_norm == 0
    assert found.cosine is None


def test_pulls_are_means_over_batches_with_the_error_of_the_mean():
    model, batches = make(CONFIG), [a_batch(seed) for seed in range(3)]
    alone = [measure(CONFIG, model, batch=batch) for batch in batches]
    found = pulls(CONFIG, model, batches)
    assert set(found) == {"dynamics", "reward"}
    assert found["dynamics"].cosine == pytest.approx(1.0)
    reward, cosines = found["reward"], [each.cosine for each in alone]
    assert reward.cosine == pytest.approx(sum(cosines) / 3)
    assert reward.standard_error == pytest.approx(torch.tensor(cosines).std().item() / 3**0.5, rel=1e-4)
    assert reward.norm == pytest.approx(sum(each.auxiliary_norm for each in alone) / 3)
    assert reward.batches == 3
    losses = [
        loss_terms(model, None, batch, CONFIG, discount=0.9, generator=torch.Generator())["reward"] for batch in batches
    ]
    assert reward.loss == pytest.approx(sum(loss.item() for loss in losses) / 3)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_reference_may_be_any_term_of_the_objective():
    model = make(CONFIG)
    found = pulls(CONFIG, model, [a_batch()], reference="reward")
    assert found["reward"].cosine == pytest.approx(1.0)
    assert found["dynamics"].cosine == pytest.approx(measure(CONFIG, model).cosine)
    assert found["dynamics"].standard_error is None
    with pytest.raises(ValueError, match="one of dynamics, reward, got 'masked'"):
        pulls(CONFIG, model, [a_batch()], reference="masked")
    with pytest.raises(ValueError, match="at least one batch, got none"):
        pulls(CONFIG, model, [])


def test_batches_without_a_gradient_do_not_enter_the_cosine():
    model = make(CONFIG)
    for parameter in model.heads["reward"].parameters():
        torch.nn.init.zeros_(parameter)
    found = pulls(CONFIG, model, [a_batch(0), a_batch(1)])["reward"]
    assert (found.cosine, found.standard_error, found.batches, found.norm) == (None, None, 0, 0.0)
    assert found.loss > 0


def test_norms_are_those_of_training_and_cosines_of_open_gates():
    config = dataclasses.replace(
        CONFIG, dynamics=dataclasses.replace(CONFIG.dynamics, trains_encoder=False), imagined_heads=True
    )
    model, batch = make(config), a_batch()
    found = pulls(config, model, [batch])
    terms = loss_terms(model, frozen_copy(model), batch, config, discount=0.9, generator=torch.Generator())
    training = encoder_gradient(terms["reward"], model, retain=False).norm().item()
    opened = measure(config, model, batch=batch)
    assert found["dynamics"].norm == 0
    assert found["reward"].norm == pytest.approx(training)
    assert abs(training / opened.auxiliary_norm - 1) > 0.01  # imagined latents reach the encoder through open gates alone
    assert found["reward"].cosine == pytest.approx(opened.cosine)


def test_both_ways_to_look_at_a_batch_draw_the_same_noise():
    config = dataclasses.replace(
        CONFIG,
        dynamics=dataclasses.replace(CONFIG.dynamics, trains_encoder=False),
        auxiliaries=(AuxiliaryConfig(target="noise"),),
    )
    model, batch = make(config), a_batch()
    found = pulls(config, model, [batch])
    terms = loss_terms(model, frozen_copy(model), batch, config, discount=0.9, generator=torch.Generator())
    assert found["noise"].loss == pytest.approx(terms["noise"].item())
    assert found["noise"].norm == pytest.approx(encoder_gradient(terms["noise"], model, retain=False).norm().item())


def test_shares_are_of_what_reaches_the_encoder():
    watched = dataclasses.replace(CONFIG, auxiliaries=(AuxiliaryConfig(target="noise", trains_encoder=False),))
    norms = {"dynamics": 1.0, "reward": 3.0, "noise": 5.0, "variance": 2.0}
    weights = {"dynamics": 2.0, "reward": 1.0, "noise": 7.0, "variance": 2.5}
    shares = gradient_shares(norms, weights, watched)
    assert shares == pytest.approx({"dynamics": 0.2, "reward": 0.3, "noise": 0.0, "variance": 0.5})
    assert gradient_shares({"noise": 5.0}, weights, watched) == {"noise": 0.0}


def test_the_standard_error_is_the_deviation_over_the_root_of_the_number():
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx((5 / 3) ** 0.5 / 2)
    assert standard_error([1.0]) is None


def test_the_policy_never_trains_the_encoder_and_a_regulariser_always_does():
    closed = dataclasses.replace(CONFIG, reward=dataclasses.replace(CONFIG.reward, trains_encoder=False))
    answers = [trains_encoder(name, closed) for name in ("dynamics", "reward", "variance", "policy")]
    assert answers == [True, False, True, False]
