"""The training objective: every loss term of a batch, and which of them trains the encoder.

L = c_dyn L_dyn + c_mask L_mask + sum of c_p L_p (arXiv:2509.12249, arXiv:2301.08243). The gradient gates stand here and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from jepa_rl.world_model.auxiliaries import AuxiliaryTask
from jepa_rl.world_model.batch import Batch
from jepa_rl.world_model.config import ModelConfig
from jepa_rl.world_model.heads import negative_log_likelihood, require_targets
from jepa_rl.world_model.losses import dynamics_loss, lambda_return, latent_variance, masked_mean
from jepa_rl.world_model.masked import block_shapes, masked_prediction_loss, sample_blocks
from jepa_rl.world_model.model import WorldModel
from jepa_rl.world_model.policy import policy_loss
from jepa_rl.world_model.regularizers import covariance_penalty, sigreg, variance_hinge
from jepa_rl.world_model.targets import BOUNDS

SCALE_FLOOR = 1e-4  # keeps the scale-free L_dyn finite when every latent is the same


def loss_weights(config: ModelConfig) -> dict[str, float]:
    """The weight of every term that is switched on, by name."""
    weights = {
        "dynamics": config.dynamics.weight,
        "masked": config.masked.weight,
        **{name: task.weight for name, task in config.tasks.items()},
        "policy": config.policy.weight,
        "variance": config.regularizer.variance,
        "covariance": config.regularizer.covariance,
        "sigreg": config.regularizer.sigreg,
    }
    return {name: weight for name, weight in weights.items() if weight}


def loss_terms(
    model: WorldModel,
    ema: WorldModel | None,
    batch: Batch,
    config: ModelConfig,
    *,
    discount: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Every term of the objective, unweighted scalars.

    The keys are those of ``loss_weights(config)``, but for "policy" where actions are finite and the model has none.

    ``ema`` is the slow copy of the model, needed when ``config.needs_ema``. Raises FloatingPointError, naming the term,
    when one is not finite.
    """
    encoded = model.encode(batch.observation.flatten(0, 1)).unflatten(0, batch.observation.shape[:2])
    detached = encoded.detach()

    def gated(trains_encoder: bool) -> Tensor:
        return encoded if trains_encoder else detached

    latent = gated(config.dynamics.trains_encoder)
    imagined = model.rollout(latent[:, 0], batch.action)
    terms = {}
    if config.dynamics.weight:
        target = _dynamics_target(latent, ema, batch, config)
        terms["dynamics"] = dynamics_loss(imagined, target, batch.alive)
        if config.dynamics.scale_free:
            # A target that is not trained sets the scale: divided by its own variance, the encoder would grow without end.
            scaled_by = (latent, batch.valid) if config.dynamics.target == "same" else (target, batch.alive)
            terms["dynamics"] = terms["dynamics"] / (latent_variance(*scaled_by) + SCALE_FLOOR)

    if config.masked.weight:
        terms["masked"] = _masked_loss(model, ema, batch, config, generator)

    for name, task in config.tasks.items():
        if not task.weight:
            continue
        views = [gated(task.trains_encoder)]
        if config.imagined_heads:
            # The imagined counterpart starts from the same first latent, so that time indices agree.
            heads_see = imagined if task.trains_encoder else imagined.detach()
            views.append(torch.cat([views[0][:, :1], heads_see], dim=1))
        loss = _task_loss(name, model, ema, detached, batch, config, discount, generator)
        terms[name] = torch.stack([loss(view) for view in views]).mean()

    if model.policy is not None:
        imagined_from = torch.cat([detached[:, :1], imagined.detach()], dim=1)
        terms["policy"] = _policy_loss(model, imagined_from, batch, config, generator)

    terms |= _regularizer_terms(encoded[batch.valid], config, generator)
    for name, term in terms.items():
        if not torch.isfinite(term):
            raise FloatingPointError(f"the loss term {name!r} is {term.item()}; the update was not applied")
    return terms


def _dynamics_target(latent: Tensor, ema: WorldModel | None, batch: Batch, config: ModelConfig) -> Tensor:
    if config.dynamics.target == "same":
        return latent[:, 1:]
    if config.dynamics.target == "stop":
        return latent[:, 1:].detach()
    assert ema is not None
    following = batch.observation[:, 1:]
    with torch.no_grad():
        return ema.encode(following.flatten(0, 1)).unflatten(0, following.shape[:2])


def _masked_loss(
    model: WorldModel, ema: WorldModel | None, batch: Batch, config: ModelConfig, generator: torch.Generator
) -> Tensor:
    """L_mask over the observations of the batch; the EMA copy sees whole images, the encoder what is not hidden."""
    assert ema is not None
    masked, grid = config.masked, model.patch_encoder.grid
    observation = batch.observation[batch.valid]
    shapes = block_shapes(grid, scale=masked.scale, aspect=masked.aspect, blocks=masked.blocks)
    blocks = sample_blocks(len(observation), grid=grid, shapes=shapes, blocks=masked.blocks, generator=generator)
    hidden = blocks.any(1).flatten(1).to(observation.device)
    context = model.encode_patches(observation, hidden)
    context = context if masked.trains_encoder else context.detach()
    with torch.no_grad():
        target = ema.encode_patches(observation)
        # One scale for every patch, so that no latent counts for being large.
        target = functional.layer_norm(target, target.shape[-1:])
    return masked_prediction_loss(model.heads["masked"](context, hidden), target, hidden)


def _task_loss(
    name: str,
    model: WorldModel,
    ema: WorldModel | None,
    encoded: Tensor,
    batch: Batch,
    config: ModelConfig,
    discount: float,
    generator: torch.Generator,
) -> Callable[[Tensor], Tensor]:
    """The loss of a task as a function of a view of the latents [B, T + 1, D]; its targets are drawn once for all views."""
    if name == "reward":
        return lambda view: _reward_loss(model, view, batch, config)
    if name == "value":
        target = _value_target(ema, encoded, batch, config, discount, generator)
        return lambda view: _value_loss(model, view, batch, config, target)
    if name == "termination":
        return lambda view: _termination_loss(model, view, batch)
    task = model.heads[name]
    assert isinstance(task, AuxiliaryTask)
    with torch.no_grad():
        action = model.actions(batch.action.flatten(0, 1)).unflatten(0, batch.alive.shape)
        aim = task.target(batch, generator)
    return lambda view: task.loss(task(view, action), aim, batch)


def _reward_loss(model: WorldModel, view: Tensor, batch: Batch, config: ModelConfig) -> Tensor:
    likelihood = config.reward.likelihood
    if config.reward.input == "observation":
        logits = model.heads["reward"](view)
        seen = batch.valid if config.reward.labels == "all" else batch.acted
        require_targets("the reward", batch.label, likelihood)
        return masked_mean(negative_log_likelihood(logits, batch.label, likelihood), batch.labelled & seen)
    require_targets("the reward", batch.reward, likelihood)
    action = batch.action.flatten(0, 1)
    logits = model.reward_logits(view[:, :-1].flatten(0, 1), action, view[:, 1:].flatten(0, 1))
    loss = negative_log_likelihood(logits, batch.reward.flatten(), likelihood)
    return masked_mean(loss, batch.seen("reward")[:, 1:].flatten())


def _value_loss(model: WorldModel, view: Tensor, batch: Batch, config: ModelConfig, target: Tensor) -> Tensor:
    logits = model.action_value_logits(view[:, :-1].flatten(0, 1), batch.action.flatten(0, 1))
    aim = target.flatten().expand(len(logits), -1)
    loss = negative_log_likelihood(logits, aim, config.value.likelihood).mean(0)
    return masked_mean(loss, batch.alive.flatten())


def _policy_loss(
    model: WorldModel, latent: Tensor, batch: Batch, config: ModelConfig, generator: torch.Generator
) -> Tensor:
    """Of the imagined latents [B, T + 1, D], which carry no gradient; Q's weights receive none."""
    assert model.policy is not None
    at = latent.flatten(0, 1)
    action, log_probability = model.policy.sample(at, generator)
    value = model.action_values(at, action, frozen=True).mean(0)
    return policy_loss(value, log_probability, batch.valid.flatten(), config.policy.entropy)


@torch.no_grad()
def _value_target(
    ema: WorldModel | None,
    latent: Tensor,
    batch: Batch,
    config: ModelConfig,
    discount: float,
    generator: torch.Generator,
) -> Tensor:
    """Returns [B, T]; the slow head values the latents [B, T + 1, D] of the observations, as in arXiv:2310.16828."""
    assert ema is not None
    bootstrap = ema.careful_value(latent[:, 1:].flatten(0, 1), generator).unflatten(0, batch.alive.shape)
    target = lambda_return(batch.reward, batch.terminated, batch.alive, bootstrap, discount, config.value.trace)
    if config.value.at_least_outcome:
        target = torch.maximum(target, batch.outcome)
    if config.value.gap:
        at, action = latent[:, :-1].flatten(0, 1), batch.action.flatten(0, 1)
        taken = ema.action_values(at, action).mean(0)
        target = target - config.value.gap * (ema.value(at) - taken).unflatten(0, batch.alive.shape)
    bounds = BOUNDS.get(config.value.likelihood)
    return target if bounds is None else target.clamp(*bounds)


def _termination_loss(model: WorldModel, view: Tensor, batch: Batch) -> Tensor:
    logits = model.heads["termination"](view[:, 1:]).squeeze(-1)
    loss = functional.binary_cross_entropy_with_logits(logits, batch.terminated.float(), reduction="none")
    return masked_mean(loss, batch.alive)


def _regularizer_terms(latent: Tensor, config: ModelConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Terms on the encoded latents [N, D] of the batch."""
    chosen = config.regularizer
    terms = {}
    if chosen.variance:
        terms["variance"] = variance_hinge(latent)
    if chosen.covariance:
        terms["covariance"] = covariance_penalty(latent)
    if chosen.sigreg:
        terms["sigreg"] = sigreg(latent, directions=chosen.sigreg_directions, generator=generator)
    return terms
