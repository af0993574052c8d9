import dataclasses
import math

import pytest
import torch

from jepa_rl.world_model import (
    AuxiliaryConfig,
    Batch,
    DynamicsConfig,
    EncoderConfig,
    MaskedConfig,
    ModelConfig,
    ObservationSpec,
    PolicyConfig,
    RewardConfig,
    TaskConfig,
    TerminationConfig,
    ValueConfig,
    build_world_model,
)
from jepa_rl.world_model.config import RegularizerConfig
from jepa_rl.world_model.dynamics import ActionEncoder
from jepa_rl.world_model.encoders import (
    GridEncoder,
    ImageEncoder,
    ImageFormat,
    OneHotEncoder,
    VectorEncoder,
    normalize_contrast,
)
from jepa_rl.world_model.slow_copy import EMAUpdate, frozen_copy

VECTOR = ObservationSpec(kind="vector", shape=(5,))


def build(config: ModelConfig, observation=VECTOR, action_counts=(3,), box_size=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return build_world_model(
        config, observation=observation, action_counts=action_counts, box_size=box_size, generator=generator
    )


def test_the_generator_decides_every_weight_and_the_global_one_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = build(ModelConfig()), build(ModelConfig()), build(ModelConfig(), seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.dynamics.net[0].weight, other.dynamics.net[0].weight)


@pytest.mark.parametrize("action_free", [False, True])
@pytest.mark.parametrize(("counts", "box"), [((3,), 0), ((2, 3), 0), ((), 2)])
def test_rollout_repeats_the_one_step_prediction(counts, box, action_free):
    dynamics = DynamicsConfig(action_free=action_free)
    model = build(ModelConfig(latent_dim=8, dynamics=dynamics), action_counts=counts, box_size=box)
    latent = torch.randn(4, 8)
    action = torch.rand(4, 2, 2) if box else torch.randint(2, (4, 2) if len(counts) == 1 else (4, 2, 2))
    imagined = model.rollout(latent, action)
    once = model.predict(latent, action[:, 0])
    assert torch.allclose(imagined, torch.stack([once, model.predict(once, action[:, 1])], dim=1), atol=1e-6)


def test_a_transition_reward_depends_on_the_action_and_an_observation_reward_on_the_latent_reached():
    latent, action = torch.randn(1, 8).expand(3, 8), torch.arange(3)
    model = build(ModelConfig(latent_dim=8))
    assert len(set(model.step(latent, action)[1].tolist())) == 3
    model = build(ModelConfig(latent_dim=8, reward=RewardConfig(input="observation")))
    following, reward, _ = model.step(latent, action)
    assert torch.equal(reward, model.heads["reward"](following).squeeze(1))


def test_heads_that_are_off_leave_zero_reward_full_continuation_and_zero_value():
    off = ModelConfig(latent_dim=8, reward=RewardConfig(weight=0), termination=TerminationConfig(weight=0))
    model = build(off)
    _, reward, continuation = model.step(torch.randn(4, 8), torch.zeros(4, dtype=torch.long))
    assert reward.tolist() == [0] * 4
    assert continuation.tolist() == [1] * 4
    assert model.value(torch.randn(4, 8)).tolist() == [0] * 4
    assert len(model.heads) == 0


def test_the_state_value_is_the_best_action_value():
    model = build(ModelConfig(latent_dim=8, value=ValueConfig(weight=1.0)))
    latent = torch.randn(4, 8)
    each = [model.taken_values(latent, torch.full((4,), a))[0] for a in range(3)]
    assert torch.equal(model.value(latent), torch.stack(each).amax(0))


@pytest.mark.parametrize(("counts", "box"), [((3,), 0), ((3, 4), 0), ((), 2)])
def test_the_values_of_a_window_are_those_of_its_latents_and_of_the_actions_taken(counts, box):
    model = build(ModelConfig(latent_dim=8, value=ValueConfig(weight=1.0)), action_counts=counts, box_size=box)
    latent = torch.randn(4, 3, 8)
    action = torch.rand(4, 2, 2) if box else torch.randint(3, (4, 2) if len(counts) == 1 else (4, 2, 2))
    best, taken = model.values(latent, action)
    for t in range(2):
        assert torch.allclose(best[:, t], model.value(latent[:, t]), atol=1e-6)
        assert torch.allclose(taken[:, t], model.taken_values(latent[:, t], action[:, t])[0], atol=1e-6)
    assert torch.allclose(best[:, 2], model.value(latent[:, 2]), atol=1e-6)


@pytest.mark.parametrize(("counts", "box"), [((3, 4), 0), ((), 2), ((9, 9, 9), 0)])
def test_values_exist_for_multi_discrete_and_box_actions(counts, box):
    model = build(ModelConfig(latent_dim=8, value=ValueConfig(weight=1.0)), action_counts=counts, box_size=box)
    latent = torch.randn(4, 8)
    best = model.value(latent)
    action = torch.zeros(4, 2) if box else torch.zeros(4, len(counts), dtype=torch.long)
    assert best.shape == (4,)
    # The zero action is always among the candidates that the maximum runs over, but for Sobol points of large spaces.
    if counts != (9, 9, 9):
        assert (best >= model.taken_values(latent, action)[0] - 1e-6).all()


def test_actions_are_one_hot_per_dimension():
    encode = ActionEncoder(counts=(2, 3))
    assert encode(torch.tensor([[1, 0], [0, 2]])).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
    with pytest.raises(ValueError, match="either discrete or continuous"):
        ActionEncoder()


def test_one_hot_observations_respect_their_start():
    encoder = OneHotEncoder(counts=(2, 3), starts=(5, -1), hidden=(), latent_dim=5)
    with torch.no_grad():
        encoder.net.net[0].weight.copy_(torch.eye(5))
        encoder.net.net[0].bias.zero_()
    assert encoder(torch.tensor([[6, -1], [5, 1]])).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]


@pytest.mark.parametrize("contrast", ["max", "standard"])
def test_contrast_normalisation_makes_dim_and_bright_images_alike(contrast):
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[:, :, :4] = 200
    bright, dim = normalize_contrast(image, contrast), normalize_contrast(image // 2, contrast)
    assert (bright - dim).abs().max() < 0.15 * bright.abs().max()
    assert torch.isfinite(normalize_contrast(torch.zeros_like(image), contrast)).all()


def test_images_without_contrast_normalisation_lie_in_zero_to_one():
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 1, 1, 3)
    assert normalize_contrast(image, "none").flatten().tolist() == pytest.approx([0, 0.2, 1] * 2)


def test_standard_contrast_subtracts_the_mean_and_divides_by_the_deviation_and_a_floor():
    image = torch.tensor([0, 200], dtype=torch.uint8).view(1, 1, 1, 2)
    assert normalize_contrast(image, "standard").flatten().tolist() == pytest.approx([-100 / 112.75, 100 / 112.75])


def test_each_image_is_normalised_by_its_own_maximum():
    image = torch.tensor([[100, 50], [20, 10]], dtype=torch.uint8).view(2, 1, 1, 2)
    expected = [100 / 112.75, 50 / 112.75, 20 / 32.75, 10 / 32.75]
    assert normalize_contrast(image, "max").flatten().tolist() == pytest.approx(expected)


def test_images_may_have_their_channels_first_or_last():
    last, first = (
        ImageEncoder(images=ImageFormat(shape=shape, contrast="none"), convolutions=((4, 4, 4, 0),), latent_dim=6)
        for shape in [(16, 12, 3), (3, 16, 12)]
    )
    first.load_state_dict(last.state_dict())
    image = torch.randint(256, (2, 16, 12, 3), dtype=torch.uint8)
    assert torch.allclose(last(image), first(image.permute(0, 3, 1, 2).contiguous()), atol=1e-6)


def test_a_stack_of_images_may_have_more_channels_than_rows():
    assert ImageFormat(shape=(56, 56, 60), contrast="none").planes == (60, 56, 56)
    assert ImageFormat(shape=(12, 56, 56), contrast="none").planes == (12, 56, 56)


def test_convolutions_that_eat_the_whole_image_are_refused():
    with pytest.raises(ValueError, match="shrink an image of shape"):
        ImageEncoder(
            images=ImageFormat(shape=(16, 16, 3), contrast="none"),
            convolutions=((4, 8, 8, 0), (4, 3, 1, 0)),
            latent_dim=4,
        )


@pytest.mark.parametrize("kind", ["convolutional", "perceptron"])
def test_the_grid_encoder_tells_planes_apart_and_refuses_unknown_symbols(kind):
    encoder = GridEncoder(shape=(7, 7, 4), symbols=(11, 11, 11, 4), kind=kind, embedding=8, hidden=(16,), latent_dim=6)
    grid = torch.zeros(1, 7, 7, 4, dtype=torch.uint8)
    other = grid.clone()
    grid[0, 3, 3, 0], other[0, 3, 3, 1] = 5, 5
    assert not torch.allclose(encoder(grid), encoder(other))
    moved = torch.zeros_like(grid)
    moved[0, 3, 4, 0] = 5
    assert not torch.allclose(encoder(grid), encoder(moved))
    grid[0, 0, 0, 2] = 11
    with pytest.raises(ValueError, match=r"symbols up to \[10, 10, 10, 3\].*holds \[5, 0, 11, 0\]"):
        encoder(grid)


def test_the_grid_encoder_reads_every_symbol_of_a_byte():
    encoder = GridEncoder(shape=(2, 2, 1), symbols=(256,), kind="perceptron", embedding=8, hidden=(4,), latent_dim=6)
    grid = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 2, 2, 1)
    low, high = encoder(grid)
    assert not torch.allclose(low, high)


def test_grids_that_are_the_same_are_encoded_once_and_count_as_often_as_they_are_there():
    encoder = GridEncoder(shape=(2, 2, 1), symbols=(3,), kind="perceptron", embedding=8, hidden=(4,), latent_dim=6)
    first, second = torch.randint(3, (2, 2, 2, 1), dtype=torch.uint8)
    batch = torch.stack([first, second, first, first])
    rows = []
    encoder.net.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))

    def gradient(latent: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(latent.square().sum(), encoder.net.net.net[0].weight)[0]

    latent = encoder(batch)
    each = torch.cat([encoder(grid[None]) for grid in batch])
    assert rows == [2, 1, 1, 1, 1]
    assert torch.allclose(latent, each, atol=1e-6)
    assert torch.allclose(gradient(latent), gradient(each), atol=1e-5)


def test_ema_moves_the_stated_share_and_copies_buffers():
    online, target = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        online.weight.fill_(3.0)
        online.running_mean.fill_(7.0)
    copy = frozen_copy(target)
    EMAUpdate(copy, online, 0.25)()
    assert copy.weight.tolist() == [1.5, 1.5]
    assert copy.running_mean.tolist() == [7.0, 7.0]
    assert not copy.weight.requires_grad


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig(latent_dim=0), "model.latent_dim must be at least 1, got 0"),
        (lambda: ModelConfig(latent_dim=12.5), "model.latent_dim must be a whole number, got 12.5"),
        (lambda: ModelConfig(ema_rate=0.0), r"model.ema_rate must be in \(0, 1\], got 0.0"),
        (lambda: ValueConfig(trace=1.5), r"model.value.trace must be in \[0, 1\], got 1.5"),
        (lambda: RewardConfig(weight=-1.0), "model.reward.weight must be at least 0, got -1.0"),
        (lambda: RewardConfig(weight=math.inf), "model.reward.weight must be a finite number, got inf"),
        (lambda: RewardConfig(labels="acted"), "model.reward.input must be observation with labels acted, got transition"),
        (lambda: RewardConfig(label_fraction=0), "model.reward.label_fraction must be above 0 where the task has a weight"),
        (lambda: RewardConfig(label_fraction=1.5), r"model.reward.label_fraction must be in \[0, 1\], got 1.5"),
        (lambda: DynamicsConfig(hidden=0), "model.dynamics.hidden must be at least 1, got 0"),
        (lambda: TerminationConfig(hidden=0), "model.termination.hidden must be at least 1, got 0"),
        (lambda: PolicyConfig(weight=-1.0), "model.policy.weight must be at least 0, got -1.0"),
        (lambda: RegularizerConfig(sigreg_directions=0), "model.regularizer.sigreg_directions must be at least 1, got 0"),
        (lambda: EncoderConfig(hidden=(8.5,)), "model.encoder.hidden must be a whole number, got 8.5"),
        (lambda: EncoderConfig(hidden=[8]), r"model.encoder.hidden must be a tuple, got \[8\]"),
        (
            lambda: EncoderConfig(convolutions=((8, 3.5, 2, 0),)),
            "model.encoder.convolutions must be a whole number, got 3.5",
        ),
        (lambda: MaskedConfig(aspect=(1.0,)), r"model.masked.aspect must be a tuple of 2, got \(1.0,\)"),
        (lambda: MaskedConfig(aspect=(1.0, math.inf)), "model.masked.aspect must be a finite number, got inf"),
        (lambda: DynamicsConfig(trains_encoder="no"), "model.dynamics.trains_encoder must be True or False, got 'no'"),
        (
            lambda: ModelConfig(encoder={"kind": "auto"}),
            r"model.encoder must be of type EncoderConfig, got {'kind': 'auto'}",
        ),
        (
            lambda: ModelConfig(auxiliaries=("inverse",)),
            "entry of model.auxiliaries must be of type AuxiliaryConfig, got 'inv",
        ),
        (
            lambda: ModelConfig(auxiliaries=[AuxiliaryConfig(target="inverse")]),
            r"model.auxiliaries must be a tuple of AuxiliaryConfig, got \[AuxiliaryConfig",
        ),
        (
            lambda: ObservationSpec(kind="picture", shape=(2,)),
            "ObservationSpec.kind must be one of vector, .*, got 'picture'",
        ),
        (lambda: ObservationSpec(kind="grid", shape=(2, 2, 1)), "ObservationSpec.counts must be the number of choices"),
        (lambda: ObservationSpec(kind="onehot", shape=(), counts=(3,)), "ObservationSpec.starts must be one for each"),
        (lambda: EncoderConfig(hidden=(8, 0)), r"model.encoder.hidden must be widths of at least 1, got \(8, 0\)"),
        (lambda: EncoderConfig(convolutions=()), "model.encoder.convolutions must be at least one layer, got none"),
        (lambda: EncoderConfig(convolutions=((8, 3, 0, 0),)), r"convolutions must be channels, kernel, stride .*0, 0\)"),
    ],
)
def test_a_model_config_out_of_range_says_which_option_and_what_came(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_batch_whose_parts_disagree_in_time_or_have_another_dtype_is_refused():
    fields = {
        "observation": torch.zeros(2, 4, 5),
        "action": torch.zeros(2, 3, dtype=torch.long),
        "reward": torch.zeros(2, 3),
        "terminated": torch.zeros(2, 3, dtype=torch.bool),
        "alive": torch.ones(2, 3, dtype=torch.bool),
        "label": torch.zeros(2, 4),
        "labelled": torch.ones(2, 4, dtype=torch.bool),
        "outcome": torch.zeros(2, 3),
        "targets": {"info:count": torch.zeros(2, 4, 1)},
    }
    Batch(**fields)
    for name, wrong, expected in (
        ("terminated", torch.zeros(2, 3, dtype=torch.uint8), r"bool, got torch\.uint8"),
        ("alive", torch.ones(2, 3), r"bool, got torch\.float32"),
        ("labelled", torch.ones(2, 4, dtype=torch.int64), r"bool, got torch\.int64"),
        ("reward", torch.zeros(2, 3, dtype=torch.int64), r"floating, got torch\.int64"),
        ("label", torch.zeros(2, 4, dtype=torch.bool), r"floating, got torch\.bool"),
        ("outcome", torch.zeros(2, 3, dtype=torch.int32), r"floating, got torch\.int32"),
        ("action", torch.zeros(2, 3, dtype=torch.int32), r"int64 or floating, got torch\.int32"),
    ):
        with pytest.raises(ValueError, match=rf"Batch\.{name} must be {expected}"):
            Batch(**{**fields, name: wrong})
    with pytest.raises(ValueError, match=r"Batch\.shown\['info:count'\] must be bool, got torch\.float32"):
        Batch(**fields, shown={"info:count": torch.ones(2, 4)})
    with pytest.raises(ValueError, match=r"Batch\.targets\['info:count'\] must be floating, got torch\.int64"):
        Batch(**{**fields, "targets": {"info:count": torch.zeros(2, 4, 1, dtype=torch.int64)}})
    with pytest.raises(ValueError, match=r"Batch.targets\['info:count'\] must begin with shape \(2, 4\), got \(2, 3\)"):
        Batch(**{**fields, "targets": {"info:count": torch.zeros(2, 3, 1)}})
    with pytest.raises(ValueError, match=r"Batch.observation must begin with shape \(2, 4\), got \(2, 3\)"):
        Batch(**{**fields, "observation": torch.zeros(2, 3, 5)})


def test_every_task_is_configured_alike():
    shared = {field.name for field in dataclasses.fields(TaskConfig)}
    for task in dataclasses.replace(ModelConfig(), auxiliaries=(AuxiliaryConfig(target="noise"),)).tasks.values():
        assert shared <= {field.name for field in dataclasses.fields(task)}


def test_bounded_components_are_scaled_to_one_and_the_others_left():
    size = {"hidden": (16,), "latent_dim": 4}
    plain = VectorEncoder(size=4, **size, wide=(2,))
    bounds = ((-0.1, 0.3), (-8.0, 8.0), (-torch.inf, torch.inf), (5.0, 5.0))
    scaled = VectorEncoder(size=4, **size, wide=(2,), bounds=bounds)
    scaled.load_state_dict(plain.state_dict())
    seen = torch.tensor([[-0.1, 8.0, 30.0, 5.0], [0.3, -8.0, -2.0, 5.0], [0.1, 4.0, 0.0, 5.0]])
    meant = torch.tensor([[-1.0, 1.0, 30.0, 5.0], [1.0, -1.0, -2.0, 5.0], [0.0, 0.5, 0.0, 5.0]])
    torch.testing.assert_close(scaled(seen), plain(meant))


@pytest.mark.parametrize("scale", [False, True])
def test_bounds_are_used_where_they_are_asked_for(scale):
    bounds = ((-2.0, 2.0),) * 5
    model = build(
        ModelConfig(latent_dim=8, encoder=EncoderConfig(scale_bounded=scale)),
        observation=dataclasses.replace(VECTOR, bounds=bounds),
    )
    plain = build(ModelConfig(latent_dim=8))
    seen = torch.randn(3, 5)
    torch.testing.assert_close(model.encode(seen), plain.encode(seen / 2 if scale else seen))


def small_model(**sections):
    off = {
        "dynamics": DynamicsConfig(weight=0),
        "reward": RewardConfig(weight=0),
        "termination": TerminationConfig(weight=0),
    }
    return build_world_model(
        ModelConfig(latent_dim=8, **(off | sections)),
        observation=ObservationSpec(kind="vector", shape=(5,)),
        action_counts=(3,),
        box_size=0,
        generator=torch.Generator().manual_seed(1),
    )


def test_an_imagined_episode_goes_on_as_the_head_says_of_the_latent_that_is_reached():
    model = small_model(termination=TerminationConfig(weight=1.0))
    latent, action = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    following, _, continuation = model.step(latent, action)
    assert torch.allclose(continuation, 1 - model.heads["termination"](following).squeeze(1).sigmoid())


def test_signed_heads_are_built_near_zero():
    model = small_model(
        reward=RewardConfig(weight=1.0, likelihood="signed_bernoulli"),
        value=ValueConfig(weight=1.0, likelihood="signed_bernoulli"),
    )
    assert (model.heads["reward"][-1].bias == -4).all()
    assert (model.heads["value"].net[-1].bias == -4).all()
