"""Whether auxiliary tasks pull the encoder the way the latent dynamics do, and how hard each loss pulls."""

from __future__ import annotations

import dataclasses
import difflib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from jepa_rl.world_model.batch import Batch
from jepa_rl.world_model.config import DynamicsConfig, ModelConfig
from jepa_rl.world_model.encoder_config import MaskedConfig
from jepa_rl.world_model.model import WorldModel
from jepa_rl.world_model.objective import loss_terms
from jepa_rl.world_model.task_config import TaskConfig


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GradientAlignment:
    """Two losses' gradients with respect to the encoder's weights."""

    cosine: float | None  # between the two; None where one of them is zero
    dynamics_norm: float  # of the gradient of L_dyn, unweighted
    auxiliary_norm: float  # of the gradient of L_p, unweighted


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pull:
    """A loss and its gradient on the encoder beside that of a reference loss, over several batches."""

    loss: float  # unweighted, mean over the batches
    norm: float  # of the gradient that trains the encoder, unweighted, mean over the batches; 0 where the gate is closed
    cosine: float | None  # with the reference's gradient, mean over the batches where neither is zero
    standard_error: float | None  # of that mean; None for fewer than two such batches
    batches: int  # such batches


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
    terms = _open_terms(model, ema, batch, config, discount, generator)
    gradients = _gradients({name: terms[name] for name in ("dynamics", auxiliary)}, model)
    dynamics, pull = gradients["dynamics"], gradients[auxiliary]
    return GradientAlignment(
        cosine=_cosine(dynamics, pull), dynamics_norm=dynamics.norm().item(), auxiliary_norm=pull.norm().item()
    )


def encoder_pulls(
    model: WorldModel,
    ema: WorldModel | None,
    batches: Iterable[Batch],
    config: ModelConfig,
    *,
    reference: str = "dynamics",
    discount: float,
    generator: torch.Generator,
) -> dict[str, Pull]:
    """How every term of the objective pulls the encoder, by name; cosines are with the gradient of ``reference``.

    The gradient of one batch points nearly anywhere, so that a cosine needs many: ``standard_error`` says how well the
    mean is known. It knows nothing of how the cosine swings from one update to the next.

    For the cosines gates are open, for the norms as the model has them. Other arguments as for ``gradient_alignment``.
    Raises ValueError where ``reference`` is no term of the objective, or there is no batch.
    """
    losses: dict[str, list[float]] = {}
    norms: dict[str, list[float]] = {}
    cosines: dict[str, list[float]] = {}
    gated = config != config.with_open_gates()
    for batch in batches:
        drawn = generator.get_state()
        terms = _open_terms(model, ema, batch, config, discount, generator)
        if reference not in terms:
            raise ValueError(f"the reference must be a term of the objective, one of {', '.join(terms)}, got {reference!r}")
        gradients = _gradients(terms, model)
        training = gradients
        if gated:
            generator.set_state(drawn)  # the same losses, as they reach the encoder in training
            training = _gradients(loss_terms(model, ema, batch, config, discount=discount, generator=generator), model)
        for name, gradient in gradients.items():
            losses.setdefault(name, []).append(terms[name].item())
            norms.setdefault(name, []).append(training[name].norm().item() * trains_encoder(name, config))
            cosine = _cosine(gradients[reference], gradient)
            cosines.setdefault(name, []).extend([] if cosine is None else [cosine])
    if not losses:
        raise ValueError("measuring gradients needs at least one batch, got none")
    return {
        name: Pull(
            loss=statistics.fmean(losses[name]),
            norm=statistics.fmean(norms[name]),
            cosine=statistics.fmean(cosines[name]) if cosines[name] else None,
            standard_error=standard_error(cosines[name]),
            batches=len(cosines[name]),
        )
        for name in losses
    }


def gradient_shares(norms: Mapping[str, float], weights: Mapping[str, float], config: ModelConfig) -> dict[str, float]:
    """Each loss's share of the gradient that trains the encoder: c_i |g_i| over the sum of all, by the names of ``norms``.

    Args:
        norms: of the unweighted gradients, as in ``Pull``.
        weights: c_i by name, such as ``loss_weights(config)``, or the learned ones.
        config: says which losses are kept from the encoder; their share is 0, and all are 0 where nothing trains it.
    """
    reaching = {name: weights[name] * norm * trains_encoder(name, config) for name, norm in norms.items()}
    total = sum(reaching.values())
    return {name: force / total if total else 0.0 for name, force in reaching.items()}


def trains_encoder(name: str, config: ModelConfig) -> bool:
    """Whether the gradient of this term of the objective reaches the encoder.

    That of a regulariser always does, and that of the policy never: it learns from imagined latents alone.
    """
    if name == "policy":
        return False
    gates: dict[str, DynamicsConfig | MaskedConfig | TaskConfig] = {
        "dynamics": config.dynamics,
        "masked": config.masked,
        **config.tasks,
    }
    return gates[name].trains_encoder if name in gates else True


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of independent values; None for fewer than two."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


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


def _open_terms(
    model: WorldModel,
    ema: WorldModel | None,
    batch: Batch,
    config: ModelConfig,
    discount: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    return loss_terms(model, ema, batch, config.with_open_gates(), discount=discount, generator=generator)


def _gradients(terms: Mapping[str, Tensor], model: WorldModel) -> dict[str, Tensor]:
    last = list(terms)[-1]
    return {name: encoder_gradient(term, model, retain=name != last) for name, term in terms.items()}


def _cosine(first: Tensor, second: Tensor) -> float | None:
    norms = first.norm(), second.norm()
    return (first @ second / (norms[0] * norms[1])).item() if min(norms) > 0 else None
