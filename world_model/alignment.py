"""Whether an auxiliary task pulls the encoder the way the latent dynamics do."""

from __future__ import annotations

import dataclasses
import difflib

import torch
from torch import Tensor

from jepa_rl.world_model.batch import Batch
from jepa_rl.world_model.config import ModelConfig
from jepa_rl.world_model.model import WorldModel
from jepa_rl.world_model.objective import loss_terms


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GradientAlignment:
    """Two losses' gradients with respect to the encoder's weights."""

    cosine: float | None  # between the two; None where one of them is zero
    dynamics_norm: float  # of the gradient of L_dyn, unweighted
    auxiliary_norm: float  # of the gradient of L_p, unweighted


def gradient_alignment(
    model: WorldModel,
    ema: WorldModel | None,
    batch: Batch,
    config: ModelConfig,
    auxiliary: str,
    *,
    discount: float,
    generator: torch.Generator,
) -> GradientAlignment:
    """Compare the encoder's gradients of L_dyn and of the ``auxiliary`` on a batch.

    ``auxiliary`` is the name of a task: "reward", "value", "termination", or the target of one of ``config.auxiliaries``.

    All gates are opened for the measurement: a loss that is kept from the encoder shows what it would do. The model's
    ``.grad`` is left alone. Other arguments as for ``loss_terms``. Raises ValueError where one of the two is switched off.
    """
    weights = {name: task.weight for name, task in config.tasks.items()}
    if auxiliary not in weights:
        near = difflib.get_close_matches(auxiliary, weights) or list(weights)
        raise ValueError(f"the model has no task {auxiliary!r}; did you mean {' or '.join(near)}?")
    for name, weight in (("dynamics", config.dynamics.weight), (auxiliary, weights[auxiliary])):
        if not weight:
            raise ValueError(f"model.{name}.weight must be positive to measure its gradient, got {weight}")
    opened = config.with_open_gates()
    terms = loss_terms(model, ema, batch, opened, discount=discount, generator=generator)
    dynamics = encoder_gradient(terms["dynamics"], model, retain=True)
    pull = encoder_gradient(terms[auxiliary], model, retain=False)
    norms = dynamics.norm(), pull.norm()
    cosine = (dynamics @ pull / (norms[0] * norms[1])).item() if min(norms) > 0 else None
    return GradientAlignment(cosine=cosine, dynamics_norm=norms[0].item(), auxiliary_norm=norms[1].item())


def encoder_gradient(loss: Tensor, model: WorldModel, *, retain: bool) -> Tensor:
    """The gradient of a loss with respect to all of the encoder's weights, flattened [P]; ``.grad`` is left alone."""
    parameters = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, retain_graph=retain, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(parameter) if gradient is None else gradient).flatten()
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]
    )
