"""The training objective: every loss term of a batch, and which of them trains the encoder.

L = c_dyn L_dyn + c_mask L_mask + sum of c_p L_p (arXiv:2509.12249, arXiv:2301.08243). The gradient gates stand here and
nowhere else.
"""

from __future__ import annotations

import math

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
from jepa_rl.world_model.targets import BOUNDS, Likelihood

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

    ``ema`` is the slow copy of the model, needed when ``config.needs_ema``. Raises ValueError where a term needs it and it
    is None, FloatingPointError, naming the term, when one is not finite.
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

    # The imagined counterpart starts from the same first latent, so that time indices agree.
    continued = torch.cat([encoded[:, :1], imagined], dim=1)
    views = torch.stack([encoded, continued] if config.imagined_heads else [encoded])
    for name, task in config.tasks.items():
        if task.weight:
            given = views if task.trains_encoder else views.detach()
            terms[name] = _task_loss(name, model, ema, given, batch, config, discount, generator)

    if model.policy is not None:
        terms["policy"] = _policy_loss(model, continued.detach(), batch, config, generator)

    terms |= _regularizer_terms(encoded, batch.valid, config, generator)
    # Read at once: each reading waits for a GPU.
    values = torch.stack(list(terms.values())).tolist() if terms else []
    for name, value in zip(terms, values, strict=True):
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss term {name!r} is {value}; the update was not applied")
    return terms


def _slow_copy(ema: WorldModel | None, because: str) -> WorldModel:
    if ema is None:
        raise ValueError(f"ema must be the slow copy of the model, because {because}, got None")
    return ema


def _dynamics_target(latent: Tensor, ema: WorldModel | None, batch: Batch, config: ModelConfig) -> Tensor:
    if config.dynamics.target == "same":
        return latent[:, 1:]
    if config.dynamics.target == "stop":
        return latent[:, 1:].detach()
    ema = _slow_copy(ema, "model.dynamics.target is ema")
    following = batch.observation[:, 1:]
    with torch.no_grad():
        return ema.encode(following.flatten(0, 1)).unflatten(0, following.shape[:2])


def _masked_loss(
    model: WorldModel, ema: WorldModel | None, batch: Batch, config: ModelConfig, generator: torch.Generator
) -> Tensor:
    """L_mask over the observations of the batch; the EMA copy sees whole images, the encoder what is not hidden."""
    ema = _slow_copy(ema, f"model.masked.weight is {config.masked.weight:g}")
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
    views: Tensor,
    batch: Batch,
    config: ModelConfig,
    discount: float,
    generator: torch.Generator,
) -> Tensor:
    """The loss of a task, mean over ``views`` [V, B, T + 1, D] of the latents; the first view is the encoded one.

    A head reads all views in one call, and its targets are drawn once for all of them.
    """
    if name == "reward":
        return _reward_loss(model, views, batch, config)
    if name == "value":
        target = _value_target(ema, views[0].detach(), batch, config, discount, generator)
        return _value_loss(model, views, batch, config, target)
    if name == "termination":
        logits = model.heads["termination"](views[:, :, 1:])
        return _mean_loss(logits, batch.terminated.float(), "bernoulli", batch.alive)
    task = model.heads[name]
    assert isinstance(task, AuxiliaryTask)
    with torch.no_grad():
        action = model.actions(batch.action.flatten(0, 1)).unflatten(0, batch.alive.shape)
        aim = task.target(batch, generator)
    outputs = task(views.flatten(0, 1), action.repeat(len(views), 1, 1)).unflatten(0, views.shape[:2])
    return torch.stack([task.loss(output, aim, batch) for output in outputs]).mean()


def _mean_loss(logits: Tensor, target: Tensor, likelihood: Likelihood, mask: Tensor) -> Tensor:
    """Mean over V views of outputs [V, B, S, k] for the targets [B, S], where bool[B, S]."""
    loss = negative_log_likelihood(logits, target.expand(logits.shape[:-1]), likelihood)
    return masked_mean(loss.mean(0), mask)


def _reward_loss(model: WorldModel, views: Tensor, batch: Batch, config: ModelConfig) -> Tensor:
    likelihood = config.reward.likelihood
    if config.reward.input == "observation":
        seen = batch.valid if config.reward.labels == "all" else batch.acted
        require_targets("the reward", batch.label, likelihood)
        return _mean_loss(model.heads["reward"](views), batch.label, likelihood, batch.labelled & seen)
    require_targets("the reward", batch.reward, likelihood)
    before, action, after = _transitions(views, batch)
    logits = model.reward_logits(before, action, after).unflatten(0, (len(views), *batch.alive.shape))
    return _mean_loss(logits, batch.reward, likelihood, batch.seen("reward")[:, 1:])


def _value_loss(model: WorldModel, views: Tensor, batch: Batch, config: ModelConfig, target: Tensor) -> Tensor:
    before, action, _ = _transitions(views, batch)
    logits = model.action_value_logits(before, action).unflatten(1, (len(views), *batch.alive.shape))
    return _mean_loss(logits.flatten(0, 1), target, config.value.likelihood, batch.alive)


def _transitions(views: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The transitions of all views [V, B, T + 1, D] in a row: latents, actions, following latents; [V B T, ...] each."""
    action = batch.action.expand(len(views), *batch.action.shape)
    return views[:, :, :-1].flatten(0, 2), action.flatten(0, 2), views[:, :, 1:].flatten(0, 2)


def _policy_loss(
    model: WorldModel, latent: Tensor, batch: Batch, config: ModelConfig, generator: torch.Generator
) -> Tensor:
    """Of the imagined latents [B, T + 1, D], which carry no gradient; Q's weights receive none."""
    assert model.policy is not None
    at = latent.flatten(0, 1)
    action, log_probability = model.policy.sample(at, generator)
    value = model.taken_values(at, action, frozen=True).mean(0)
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
    ema = _slow_copy(ema, f"model.value.weight is {config.value.weight:g}")
    bootstrap, behind = _slow_values(ema, latent, batch, config, generator)
    reward = batch.reward
    if config.value.novelty:
        reward = reward + config.value.novelty * _first_visits(batch)
    target = lambda_return(reward, batch.terminated, batch.alive, bootstrap, discount, config.value.trace)
    if config.value.at_least_outcome:
        target = torch.maximum(target, batch.outcome)
    target = target - config.value.gap * behind
    bounds = BOUNDS.get(config.value.likelihood)
    return target if bounds is None else target.clamp(*bounds)


def _slow_values(
    ema: WorldModel, latent: Tensor, batch: Batch, config: ModelConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What each following observation is worth, and how far the action taken is behind the best one, [B, T] each.

    The latter is 0 where there is no ``value.gap`` to be taken off for it.
    """

    def careful() -> Tensor:
        return ema.careful_value(latent[:, 1:].flatten(0, 1), generator).unflatten(0, batch.alive.shape)

    if not config.value.gap:
        return careful(), torch.zeros_like(batch.reward)
    best, taken = ema.values(latent, batch.action)
    # Where actions cannot all be tried, the one that was taken may be worth more than the best that is known.
    behind = (best[:, :-1] - taken).clamp(min=0)
    return careful() if ema.is_careful else best[:, 1:], behind


def _first_visits(batch: Batch) -> Tensor:
    if batch.first_visit is None:
        raise ValueError("model.value.novelty must be 0 for batches that do not tell first visits, which it counts")
    return batch.first_visit


def _regularizer_terms(
    encoded: Tensor, valid: Tensor, config: ModelConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Terms on those of the encoded latents [B, T + 1, D] of the batch that are ``valid`` bool[B, T + 1]."""
    chosen = config.regularizer
    if not (chosen.variance or chosen.covariance or chosen.sigreg):
        return {}
    latent, terms = encoded[valid], {}
    if chosen.variance:
        terms["variance"] = variance_hinge(latent)
    if chosen.covariance:
        terms["covariance"] = covariance_penalty(latent)
    if chosen.sigreg:
        terms["sigreg"] = sigreg(latent, directions=chosen.sigreg_directions, generator=generator)
    return terms
