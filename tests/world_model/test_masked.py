"""Masked latent prediction: the blocks, the patch encoder, the loss, and what it trains."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from jepa_rl.envs.counting import CountingEnv
from jepa_rl.world_model import (
    Batch,
    DynamicsConfig,
    EncoderConfig,
    MaskedConfig,
    ModelConfig,
    ObservationSpec,
    PatchConfig,
    RewardConfig,
    TerminationConfig,
    build_world_model,
    loss_terms,
)
from jepa_rl.world_model.encoders import ImageFormat
from jepa_rl.world_model.masked import MaskedPredictor, block_shapes, masked_prediction_loss, sample_blocks
from jepa_rl.world_model.patches import PatchEncoder, TransformerBlock, grid_positions
from jepa_rl.world_model.slow_copy import EMAUpdate, frozen_copy

IMAGE = ObservationSpec(kind="image", shape=(16, 16, 3), dtype="uint8")
PATCHES = EncoderConfig(image_encoder="patches", patches=PatchConfig(size=4, width=16, depth=1, heads=2))
MASKED = MaskedConfig(weight=1.0, blocks=2, scale=(0.1, 0.3), aspect=(0.5, 2.0), width=8, depth=1, heads=2)
ALONE = ModelConfig(
    latent_dim=6,
    encoder=PATCHES,
    dynamics=DynamicsConfig(weight=0),
    masked=MASKED,
    reward=RewardConfig(weight=0),
    termination=TerminationConfig(weight=0),
)


def build(config: ModelConfig, observation=IMAGE):
    generator = torch.Generator().manual_seed(1)
    return build_world_model(config, observation=observation, action_counts=(3,), box_size=0, generator=generator)


def batch_of(images: torch.Tensor) -> Batch:
    """Windows of one transition, two images each."""
    size = len(images) // 2
    return Batch(
        observation=images.view(size, 2, *images.shape[1:]),
        action=torch.zeros(size, 1, dtype=torch.long),
        reward=torch.zeros(size, 1),
        terminated=torch.zeros(size, 1, dtype=torch.bool),
        alive=torch.ones(size, 1, dtype=torch.bool),
        label=torch.zeros(size, 2),
        labelled=torch.ones(size, 2, dtype=torch.bool),
        outcome=torch.full((size, 1), -torch.inf),
    )


def some_images(count=8, shape=IMAGE.shape) -> torch.Tensor:
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def encoder_of(grid=(2, 3), contrast="none") -> PatchEncoder:
    torch.manual_seed(0)
    shape = (4 * grid[0], 4 * grid[1], 3)
    return PatchEncoder(images=ImageFormat(shape=shape, contrast=contrast), size=4, width=8, depth=2, heads=2, latent_dim=5)


def trains(module: torch.nn.Module) -> bool:
    return any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_the_shapes_of_blocks_are_all_those_within_scale_and_aspect():
    assert block_shapes((8, 8), scale=(0.15, 0.2), aspect=(0.75, 1.5), blocks=4) == [(3, 4), (4, 3)]
    # The bounds themselves count; 2 x 1 and 2 x 3 are too narrow and too wide, 3 x 3 covers too much.
    assert block_shapes((4, 4), scale=(0.25, 0.375), aspect=(1.0, 1.5), blocks=2) == [(2, 2), (3, 2)]
    # 0.07 * 100 is above 7 in floating point.
    assert block_shapes((10, 10), scale=(0.07, 0.07), aspect=(1 / 7, 7.0), blocks=1) == [(1, 7), (7, 1)]
    assert block_shapes((2, 10), scale=(0.2, 0.2), aspect=(0.1, 10.0), blocks=4) == [(1, 4), (2, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (0.15, 0.18), "blocks": 1}, r"admit no block of whole patches in a grid of 4 x 4"),
        ({"scale": (0.25, 0.25), "blocks": 4}, "must leave a patch of the grid of 4 x 4 visible, got 4 blocks of up to 4"),
    ],
)
def test_blocks_that_cannot_be_drawn_or_could_hide_everything_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        block_shapes((4, 4), aspect=(1.0, 1.0), **options)


def test_sampled_blocks_are_filled_rectangles_of_every_shape_at_every_place_and_leave_context():
    grid, shapes = (5, 7), [(2, 3), (3, 2), (1, 5)]
    blocks = sample_blocks(2_000, grid=grid, shapes=shapes, blocks=3, generator=torch.Generator().manual_seed(0))
    assert blocks.shape == (2_000, 3, 5, 7)
    heights, widths = blocks.any(3).sum(2), blocks.any(2).sum(2)
    assert torch.equal(heights * widths, blocks.sum((2, 3)))  # a rectangle without holes
    assert set(zip(heights.flatten().tolist(), widths.flatten().tolist(), strict=True)) == set(shapes)
    assert not blocks.any(1).flatten(1).all(1).any()
    corners = {
        (height, width, int(inside.any(1).int().argmax()), int(inside.any(0).int().argmax()))
        for inside, height, width in zip(
            blocks.flatten(0, 1), heights.flatten().tolist(), widths.flatten().tolist(), strict=True
        )
    }
    assert len(corners) == sum((5 - height + 1) * (7 - width + 1) for height, width in shapes)


def test_the_generator_alone_decides_the_blocks():
    def draw(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return sample_blocks(50, grid=(8, 8), shapes=[(3, 4), (4, 3)], blocks=4, generator=generator)

    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert torch.equal(before, torch.get_rng_state())


def test_positions_are_sines_and_cosines_of_row_and_column():
    """Width 8: frequencies 1 and 1/100; row 1, column 2 is the last of a grid of 2 x 3."""
    expected = [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01), np.sin(2), np.sin(0.02), np.cos(2), np.cos(0.02)]
    positions = grid_positions((2, 3), 8)
    assert positions.shape == (6, 8)
    assert positions[5].tolist() == pytest.approx(expected, abs=1e-6)
    assert len(positions.unique(dim=0)) == 6


@pytest.mark.parametrize("padded", [False, True])
def test_a_block_computes_what_torchs_pre_norm_layer_computes(padded):
    torch.manual_seed(0)
    block = TransformerBlock(width=12, heads=3)
    layer = nn.TransformerEncoderLayer(
        12, 3, dim_feedforward=48, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    pairs = [
        (block.attend_norm, layer.norm1),
        (block.merge, layer.self_attn.out_proj),
        (block.perceptron[0], layer.norm2),
        (block.perceptron[1], layer.linear1),
        (block.perceptron[3], layer.linear2),
    ]
    for ours, theirs in pairs:
        theirs.load_state_dict(ours.state_dict())
    layer.self_attn.in_proj_weight.data.copy_(block.query_key_value.weight)
    layer.self_attn.in_proj_bias.data.copy_(block.query_key_value.bias)

    tokens = torch.randn(4, 5, 12)
    padding = (torch.arange(5) >= torch.tensor([[5], [3], [1], [4]])) if padded else None
    given = ~padding if padded else torch.ones(4, 5, dtype=torch.bool)
    theirs = layer(tokens, src_key_padding_mask=padding)
    torch.testing.assert_close(block(tokens, padding)[given], theirs[given], atol=1e-6, rtol=1e-5)


def test_the_loss_is_the_mean_square_error_over_hidden_patches_alone():
    predicted, target = torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)
    target[0, 0], target[0, 2], target[1, 1] = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.0]), 100.0
    hidden = torch.tensor([[True, False, True], [False, False, True]])
    assert masked_prediction_loss(predicted, target, hidden).item() == pytest.approx((5 + 2 + 0) / 3)


@pytest.mark.parametrize("contrast", ["none", "max"])
def test_the_latent_of_a_context_ignores_hidden_patches_and_no_others(contrast):
    encoder = encoder_of(contrast=contrast)
    image = some_images(2, (8, 12, 3))
    image[:, 0, 0] = 255  # so that the image's contrast is that of a visible patch
    hidden = torch.tensor([[False, True, False, False, True, True], [False, False, False, False, True, False]])
    changed, visible = image.clone(), image.clone()
    changed[:, 4:8, 4:8] = 7  # patch 4: hidden in both
    visible[:, 4:8, 0:4] = 7  # patch 3: hidden in none
    with torch.no_grad():
        before = encoder(image, hidden)
        assert torch.allclose(before, encoder(changed, hidden), atol=1e-6)
        assert not torch.allclose(encoder(image), encoder(changed), atol=1e-3)
        assert not torch.allclose(before, encoder(visible, hidden), atol=1e-3)
        tokens = encoder.tokens(image, hidden)
    assert (tokens[hidden] == 0).all()
    assert (tokens[~hidden] != 0).any(1).all()


def test_contexts_of_different_sizes_in_one_batch_are_encoded_as_alone():
    encoder = encoder_of()
    image = some_images(2, (8, 12, 3))
    hidden = torch.tensor([[True, True, False, True, True, True], [False, True, False, False, False, False]])
    with torch.no_grad():
        together = encoder.tokens(image, hidden)
        alone = torch.cat([encoder.tokens(image[n : n + 1], hidden[n : n + 1]) for n in range(2)])
        nothing_hidden = encoder(image, torch.zeros_like(hidden))
        assert torch.allclose(together, alone, atol=1e-6)
        assert torch.allclose(nothing_hidden, encoder(image), atol=1e-6)
    with pytest.raises(ValueError, match="at least one of the 6 patches of every image visible"):
        encoder(image, torch.tensor([[True] * 6, [False] * 6]))


def test_patches_are_told_apart_by_place_and_images_may_have_their_channels_first():
    encoder = encoder_of()
    image = torch.zeros(2, 8, 12, 3, dtype=torch.uint8)
    image[0, 1, 1], image[1, 1, 5] = 200, 200  # the same content in patch 0 and in patch 1
    images = ImageFormat(shape=(3, 8, 12), contrast="none")
    first = PatchEncoder(images=images, size=4, width=8, depth=2, heads=2, latent_dim=5)
    first.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        latent = encoder(image)
        assert not torch.allclose(latent[0], latent[1], atol=1e-3)
        assert torch.allclose(latent, first(image.permute(0, 3, 1, 2).contiguous()), atol=1e-6)


def test_the_predictor_sees_visible_latents_and_the_place_of_hidden_ones_but_not_their_content():
    torch.manual_seed(0)
    predictor = MaskedPredictor(grid=(2, 2), patch_width=6, width=8, depth=1, heads=2)
    context = torch.randn(1, 4, 6)
    hidden = torch.tensor([[False, True, True, False]])
    poisoned, other = context.clone(), context.clone()
    poisoned[:, 1], other[:, 0] = 50.0, 0.5
    with torch.no_grad():
        predicted = predictor(context, hidden)
        assert torch.equal(predicted, predictor(poisoned, hidden))
        assert not torch.allclose(predicted[:, 1], predictor(other, hidden)[:, 1], atol=1e-3)
        assert not torch.allclose(predicted[0, 1], predicted[0, 2], atol=1e-3)


@pytest.mark.parametrize("open_gate", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_loss_trains_predictor_and_context_encoder_but_neither_target_nor_pooling(open_gate, layer_norm):
    config = dataclasses.replace(
        ALONE,
        masked=dataclasses.replace(MASKED, trains_encoder=open_gate),
        encoder=dataclasses.replace(PATCHES, layer_norm=layer_norm, precision="bfloat16"),
    )
    model = build(config)
    ema = frozen_copy(model).requires_grad_(True)  # so that a gradient would show
    generator = torch.Generator().manual_seed(0)
    terms = loss_terms(model, ema, batch_of(some_images()), config, discount=0.9, generator=generator)
    assert set(terms) == {"masked"}
    terms["masked"].backward()
    assert trains(model.heads["masked"])
    assert trains(model.patch_encoder.blocks) == open_gate
    assert trains(model.patch_encoder.embed) == open_gate
    assert not trains(model.patch_encoder.pool)
    assert not trains(ema)


def test_targets_are_whole_images_seen_by_the_ema_copy_at_unit_scale():
    """With a predictor that answers 0, the loss is the mean square of targets that are normalised: 1."""
    model = build(ALONE)
    torch.nn.init.zeros_(model.heads["masked"].leave.weight)
    torch.nn.init.zeros_(model.heads["masked"].leave.bias)
    ema = frozen_copy(model)
    ema.patch_encoder.norm.weight.mul_(5)

    def loss() -> float:
        generator = torch.Generator().manual_seed(0)
        return loss_terms(model, ema, batch_of(some_images()), ALONE, discount=0.9, generator=generator)["masked"].item()

    assert loss() == pytest.approx(1.0, abs=1e-3)
    torch.nn.init.zeros_(ema.patch_encoder.norm.weight)  # then every target is the bias, and normalised 0
    assert loss() == 0


def test_observations_after_the_end_of_an_episode_are_not_predicted():
    batch = batch_of(some_images())
    alive = batch.alive.clone()
    alive[::2] = False
    ended = dataclasses.replace(batch, alive=alive)
    observation = batch.observation.clone()
    observation[::2, 1] = 255
    poisoned = dataclasses.replace(ended, observation=observation)
    model = build(ALONE)
    ema = frozen_copy(model)

    def loss(given: Batch) -> float:
        generator = torch.Generator().manual_seed(0)
        return loss_terms(model, ema, given, ALONE, discount=0.9, generator=generator)["masked"].item()

    assert loss(ended) == loss(poisoned) != loss(batch)


def test_without_a_weight_nothing_is_drawn_added_or_copied_and_with_one_every_other_part_begins_the_same():
    on = ModelConfig(encoder=PATCHES, masked=MASKED, dynamics=DynamicsConfig(target="same"))
    off = dataclasses.replace(on, masked=dataclasses.replace(MASKED, weight=0.0))
    assert on.needs_ema
    assert not off.needs_ema
    with_it, without = build(on).state_dict(), build(off).state_dict()
    assert (
        {name for name in with_it if name not in without} == {name for name in with_it if "heads.masked" in name} != set()
    )
    assert all(torch.equal(with_it[name], value) for name, value in without.items())
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    terms = loss_terms(build(off), None, batch_of(some_images()), off, discount=0.9, generator=generator)
    assert "masked" not in terms
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ModelConfig(masked=MASKED),
            "model.encoder.image_encoder must be patches with model.masked.weight, got conv",
        ),
        (lambda: ModelConfig(encoder=PATCHES, masked=MaskedConfig(weight=-1)), "model.masked.weight must be at least 0"),
        (lambda: MaskedConfig(blocks=0), "model.masked.blocks must be at least 1, got 0"),
        (lambda: MaskedConfig(scale=(0.3, 0.2)), "model.masked.scale must be increasing"),
        (lambda: MaskedConfig(scale=(0.5, 1.0)), "model.masked.scale must be increasing, in"),
        (lambda: MaskedConfig(aspect=(0.0, 1.0)), "model.masked.aspect must be increasing and positive"),
        (
            lambda: MaskedConfig(width=36, heads=8),
            "model.masked.width must be a multiple of model.masked.heads = 8, got 36",
        ),
        (lambda: PatchConfig(width=30), "model.encoder.patches.width must be a positive multiple of 4, got 30"),
        (lambda: PatchConfig(depth=0), "model.encoder.patches.depth must be at least 1, got 0"),
        (lambda: PatchConfig(size=0), "model.encoder.patches.size must be at least 1 pixel, got 0"),
        (
            lambda: build(ALONE, ObservationSpec(kind="vector", shape=(5,))),
            "needs an observation of one image, got .*'vector'",
        ),
        (lambda: build(ALONE, ObservationSpec(kind="image", shape=(16, 18, 3))), r"sides, 16 and 18 pixels, got 4"),
        (lambda: build(dataclasses.replace(ALONE, masked=MaskedConfig(weight=1.0))), "admit no block of whole patches"),
    ],
)
def test_what_cannot_be_is_refused_with_the_option_and_what_came(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_training_on_counting_images_predicts_better_than_the_mean_target_and_moves_the_target_copy():
    """On held-out images, in the scale of the same targets; a collapsed encoder would have nothing left to predict."""
    env = CountingEnv()
    images = torch.from_numpy(np.stack([env.reset(seed=seed)[0] for seed in range(96)]))
    seen, held = images[:64], images[64:]
    config = dataclasses.replace(
        ALONE,
        encoder=EncoderConfig(image_encoder="patches", patches=PatchConfig(size=16, width=32, depth=1, heads=2)),
        masked=dataclasses.replace(MASKED, scale=(0.2, 0.3), width=32),
        ema_rate=0.005,
    )
    model = build(config, ObservationSpec(kind="image", shape=(64, 64, 3), dtype="uint8"))
    ema = frozen_copy(model)
    start = {name: value.clone() for name, value in ema.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        batch = batch_of(seen[torch.randint(len(seen), (8,), generator=generator)])
        loss = loss_terms(model, ema, batch, config, discount=0.9, generator=generator)["masked"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        EMAUpdate(ema, model, config.ema_rate)()
    with torch.no_grad():
        achieved = loss_terms(model, ema, batch_of(held), config, discount=0.9, generator=generator)["masked"].item()
        known, target = (functional.layer_norm(ema.encode_patches(each), (32,)) for each in (seen, held))
        of_everything = (target - known.mean((0, 1))).square().mean().item()
        of_each_place = (target - known.mean(0)).square().mean().item()
    assert achieved < 0.5 * of_everything
    assert of_each_place > 0.01  # what the images of one place differ by
    moved = {name for name, value in ema.named_parameters() if not torch.equal(value, start[name])}
    assert {"encoder.embed.weight", "encoder.blocks.0.merge.weight", "heads.masked.token"} <= moved
