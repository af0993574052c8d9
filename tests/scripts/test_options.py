"""Auxiliary tasks on the command line."""

import pytest
import torch

from jepa_rl.agent import AgentConfig, AuxiliaryConfig
from jepa_rl.scripts.options import format_auxiliary, parse_auxiliary
from jepa_rl.scripts.reporting.facts import settings
from jepa_rl.scripts.run_folder import RunConfig
from jepa_rl.scripts.speed import bare_forward
from jepa_rl.scripts.train import main, overridden
from jepa_rl.world_model import (
    Batch,
    EncoderConfig,
    MaskedConfig,
    ModelConfig,
    ObservationSpec,
    PatchConfig,
    PolicyConfig,
    RewardConfig,
    ValueConfig,
    build_world_model,
)
from jepa_rl.world_model.targets import BATCH_TARGETS

WORDS = {
    "inverse": AuxiliaryConfig(target="inverse"),
    "info:count": AuxiliaryConfig(target="info:count"),
    "info:count:weight=2,label_fraction=0.5": AuxiliaryConfig(target="info:count", weight=2.0, label_fraction=0.5),
    "noise:trains-encoder=false,likelihood=two_hot,hidden=8": AuxiliaryConfig(
        target="noise", trains_encoder=False, likelihood="two_hot", hidden=8
    ),
    "random_linear:size=3": AuxiliaryConfig(target="random_linear", size=3),
}


@pytest.mark.parametrize("word", WORDS)
def test_a_task_is_one_word_of_the_command_line(word):
    assert parse_auxiliary(word) == WORDS[word]
    assert parse_auxiliary(format_auxiliary(WORDS[word])) == WORDS[word]


def test_options_replace_the_tasks_of_the_default_and_keep_them_where_they_are_silent():
    chosen = [word for word in WORDS if word != "info:count"]
    both = overridden(AgentConfig(), ["--model.auxiliaries", *chosen, "--model.latent-dim", "8"])
    assert both.model.auxiliaries == tuple(WORDS[word] for word in chosen)
    assert both.model.latent_dim == 8
    assert overridden(both, ["--model.latent-dim", "9"]).model.auxiliaries == both.model.auxiliaries
    assert overridden(both, ["--model.auxiliaries", "noise"]).model.auxiliaries == (AuxiliaryConfig(target="noise"),)
    assert overridden(both, ["--model.auxiliaries"]).model.auxiliaries == ()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("noise:wait=1", "unknown option noise:wait; known are hidden"),
        ("noise:weight=much", "noise:weight must be float, got 'much'"),
        ("noise:weight=1,hidden", r"must be TARGET\[:OPTION=VALUE,...\], got 'noise:weight=1,hidden'"),
        ("noise:trains_encoder=1", "noise:trains_encoder must be bool, got 1"),
    ],
)
def test_a_word_that_is_no_task_says_why(word, message):
    with pytest.raises(ValueError, match=message):
        parse_auxiliary(word)


def test_the_command_names_the_nearest_task(capsys):
    with pytest.raises(SystemExit):
        main(["counting", "--model.auxiliaries", "invers"])
    assert "did you mean inverse?" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_reports_show_tasks_as_they_are_typed():
    agent = overridden(AgentConfig(), ["--model.auxiliaries", "noise:weight=2.0", "inverse"])
    run = RunConfig(preset="default", env_id="CartPole-v1", seed=0, total_timesteps=1, agent=agent)
    assert settings(run)["model.auxiliaries"] == "noise:weight=2.0 inverse"


VECTOR = ObservationSpec(kind="vector", shape=(2,))
IMAGE = ObservationSpec(kind="image", shape=(16, 16, 3))
PATCHES = EncoderConfig(
    kind="image", image_encoder="patches", patches=PatchConfig(size=4, width=8, depth=1, heads=2), layer_norm=True
)
TASKS = tuple(AuxiliaryConfig(target=target) for target in BATCH_TARGETS)
MODELS = {
    "auxiliaries": (ModelConfig(latent_dim=4, auxiliaries=TASKS), VECTOR, (3,)),
    "values and rewards of observations": (
        ModelConfig(latent_dim=4, value=ValueConfig(weight=1.0, critics=2), reward=RewardConfig(input="observation")),
        *(VECTOR, (3,)),
    ),
    "policy": (ModelConfig(latent_dim=4, value=ValueConfig(weight=1.0), policy=PolicyConfig(weight=1.0)), VECTOR, ()),
    "masked": (
        ModelConfig(
            latent_dim=4, encoder=PATCHES, masked=MaskedConfig(weight=1.0, scale=(0.2, 0.3), blocks=2, heads=2, width=8)
        ),
        IMAGE,
        (3,),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_bare_pass_goes_through_every_head(name):
    config, observation, counts = MODELS[name]
    model = build_world_model(
        config,
        observation=observation,
        action_counts=counts,
        box_size=0 if counts else 1,
        generator=torch.Generator().manual_seed(0),
    )
    seen = torch.randn(5, 3, 2) if observation is VECTOR else torch.randint(256, (5, 3, 16, 16, 3), dtype=torch.uint8)
    batch = Batch(
        observation=seen,
        action=torch.zeros(5, 2, dtype=torch.int64) if counts else torch.zeros(5, 2, 1),
        reward=torch.zeros(5, 2),
        terminated=torch.zeros(5, 2, dtype=torch.bool),
        alive=torch.ones(5, 2, dtype=torch.bool),
        label=torch.zeros(5, 3),
        labelled=torch.ones(5, 3, dtype=torch.bool),
        outcome=torch.full((5, 2), -torch.inf),
    )
    bare_forward(model, batch, imagined_heads=True).backward()
    parts = [model.encoder, model.dynamics, *model.heads.values()]
    assert all(p.grad is not None for part in parts for p in part.parameters() if p.requires_grad)
