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
from jepa_rl.world_model.alignment import gradient_alignment
from jepa_rl.world_model.target import frozen_copy

CONFIG = ModelConfig(
    latent_dim=4,
    dynamics=DynamicsConfig(weight=2.0, target="same"),
    reward=RewardConfig(weight=3.0, input="observation"),
    termination=TerminationConfig(weight=0.0),
    imagined_heads=False,
)


def a_batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
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


def measure(config: ModelConfig, model=None, auxiliary: str = "reward"):
    model = model or make(config)
    return gradient_alignment(
        model, frozen_copy(model), a_batch(), config, auxiliary, discount=0.9, generator=torch.Generator()
    )


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
