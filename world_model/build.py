"""From settings and spaces to a freshly initialised world model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jepa_rl.world_model.auxiliaries import build_auxiliary
from jepa_rl.world_model.config import ModelConfig
from jepa_rl.world_model.dynamics import ActionEncoder, LatentDynamics
from jepa_rl.world_model.encoders import (
    GridEncoder,
    ImageEncoder,
    ImageFormat,
    OneHotEncoder,
    RowEncoder,
    TextEncoder,
    VectorEncoder,
)
from jepa_rl.world_model.heads import ActionValue, CandidateActionValue, begin_near_zero, critic_names, mlp, outputs_of
from jepa_rl.world_model.masked import MaskedPredictor, block_shapes
from jepa_rl.world_model.model import WorldModel
from jepa_rl.world_model.own_encoders import own_encoder
from jepa_rl.world_model.patches import PatchEncoder, patch_grid
from jepa_rl.world_model.policy import GaussianPolicy
from jepa_rl.world_model.spec import ObservationSpec

MAX_LISTED_ACTIONS = 64
SOBOL_CANDIDATES = 63  # beside the zero action


def build_world_model(
    config: ModelConfig,
    *,
    observation: ObservationSpec,
    action_counts: Sequence[int],
    box_size: int,
    generator: torch.Generator,
) -> WorldModel:
    """A freshly initialised world model; ``generator`` decides every initial weight.

    Actions have ``action_counts`` choices per discrete dimension, or are vectors of ``box_size`` numbers in [-1, 1].
    """
    observation = observation.within(config.encoder.vocabulary)
    seed = int(torch.randint(2**31, (), generator=generator))
    # torch's layers initialise from the global generator; forking keeps that from leaking into the caller's program.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the caller's GPUs as well
        actions = ActionEncoder(counts=action_counts, box_size=box_size)
        encoder = _encoder(config, observation)
        if config.encoder.layer_norm:
            encoder = nn.Sequential(encoder, nn.LayerNorm(config.latent_dim))
        return WorldModel(
            encoder=encoder,
            encoder_precision=config.encoder.precision,
            actions=actions,
            dynamics=LatentDynamics(
                latent_dim=config.latent_dim,
                action_width=actions.width,
                hidden=config.dynamics.hidden,
                layer_norm=config.encoder.layer_norm,
            ),
            # These come last, so that with and without them every other part begins with the same weights.
            heads=_heads(config, observation, actions) | _masked_predictor(config, observation) | _actor(config, actions),
            reward_input=config.reward.input,
            reward_likelihood=config.reward.likelihood,
            value_likelihood=config.value.likelihood,
            action_free=config.dynamics.action_free,
            critics=config.value.critics,
            learned_losses=config.learned_losses,
        )


def _encoder(config: ModelConfig, observation: ObservationSpec) -> nn.Module:
    choice, latent_dim = config.encoder, config.latent_dim
    if choice.own and observation.kind != "row":
        return own_encoder(choice.own, observation, latent_dim)
    if observation.kind == "image":
        images = ImageFormat(shape=observation.shape, contrast=choice.contrast, low=observation.low, high=observation.high)
        if choice.image_encoder == "patches":
            return PatchEncoder(
                images=images,
                size=choice.patches.size,
                width=choice.patches.width,
                depth=choice.patches.depth,
                heads=choice.patches.heads,
                latent_dim=latent_dim,
            )
        return ImageEncoder(images=images, convolutions=choice.convolutions, latent_dim=latent_dim)
    if observation.kind == "grid":
        return GridEncoder(
            shape=observation.shape,
            symbols=observation.counts,
            kind=choice.grid_encoder,
            embedding=choice.embedding,
            hidden=choice.hidden,
            latent_dim=latent_dim,
        )
    if observation.kind == "onehot":
        return OneHotEncoder(
            counts=observation.counts, starts=observation.starts, hidden=choice.hidden, latent_dim=latent_dim
        )
    if observation.kind == "text":
        return TextEncoder(hidden=choice.hidden, latent_dim=latent_dim)
    if observation.kind == "row":
        parts = [(_encoder(config, part), getattr(torch, part.dtype), part.shape) for part in observation.parts]
        return RowEncoder(parts=parts, latent_dim=latent_dim)
    size = int(torch.Size(observation.shape).numel())
    bounds = observation.bounds if choice.scale_bounded else ()
    return VectorEncoder(size=size, hidden=choice.hidden, latent_dim=latent_dim, wide=observation.wide, bounds=bounds)


def _heads(config: ModelConfig, observation: ObservationSpec, actions: ActionEncoder) -> dict[str, nn.Module]:
    latent_dim = config.latent_dim
    heads: dict[str, nn.Module] = {}
    if config.reward.weight:
        inputs = latent_dim + (actions.width if config.reward.input == "transition" else 0)
        heads["reward"] = reward = mlp(inputs, config.reward.hidden, outputs_of(config.reward.likelihood))
        if config.reward.likelihood == "signed_bernoulli":
            begin_near_zero(reward)
    if config.value.weight:
        heads["value"] = _value_head(config, actions)
    if config.termination.weight:
        heads["termination"] = mlp(latent_dim, config.termination.hidden, 1)
    for task in config.auxiliaries:
        if task.weight:
            heads[task.target] = build_auxiliary(task, latent_dim=latent_dim, observation=observation, actions=actions)
    return heads


def _masked_predictor(config: ModelConfig, observation: ObservationSpec) -> dict[str, nn.Module]:
    masked, patches = config.masked, config.encoder.patches
    if not masked.weight:
        return {}
    if observation.kind != "image":
        raise ValueError(f"model.masked.weight needs an observation of one image, got one of kind {observation.kind!r}")
    grid = patch_grid(observation.shape, patches.size)
    block_shapes(grid, scale=masked.scale, aspect=masked.aspect, blocks=masked.blocks)  # raises where the update would
    predictor = MaskedPredictor(
        grid=grid, patch_width=patches.width, width=masked.width, depth=masked.depth, heads=masked.heads
    )
    return {"masked": predictor}


def _actor(config: ModelConfig, actions: ActionEncoder) -> dict[str, nn.Module]:
    """The policy and the value heads beside the first."""
    heads: dict[str, nn.Module] = {}
    if config.value.weight:
        heads = {name: _value_head(config, actions) for name in critic_names(config.value.critics)[1:]}
    if config.policy.weight and not actions.counts:
        size = {"hidden": config.policy.hidden, "size": actions.width}
        heads["policy"] = GaussianPolicy(latent_dim=config.latent_dim, **size)
    return heads


def _value_head(config: ModelConfig, actions: ActionEncoder) -> ActionValue | CandidateActionValue:
    size = {"hidden": config.value.hidden, "outputs": outputs_of(config.value.likelihood)}
    head: ActionValue | CandidateActionValue
    if len(actions.counts) == 1:
        head = ActionValue(latent_dim=config.latent_dim, count=actions.counts[0], **size)
    else:
        head = CandidateActionValue(latent_dim=config.latent_dim, candidates=_candidates(actions), **size)
    if config.value.likelihood == "signed_bernoulli":
        begin_near_zero(head.net)
    return head


def _candidates(actions: ActionEncoder) -> Tensor:
    """Encoded actions [P, width] over which a state's value is the maximum."""
    if not actions.counts:
        sobol = torch.quasirandom.SobolEngine(actions.width, scramble=True, seed=0).draw(SOBOL_CANDIDATES)
        return torch.cat([torch.zeros(1, actions.width), 2 * sobol - 1])
    if math.prod(actions.counts) <= MAX_LISTED_ACTIONS:  # exact, where 64 binary choices overflow a tensor's count
        return actions(torch.cartesian_prod(*[torch.arange(count) for count in actions.counts]))
    sobol = torch.quasirandom.SobolEngine(len(actions.counts), scramble=True, seed=0).draw(MAX_LISTED_ACTIONS)
    return actions((sobol * torch.tensor(actions.counts)).long())
