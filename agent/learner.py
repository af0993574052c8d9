"""The update step: one batch, one gradient step on the whole objective."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from jepa_rl.agent.config import AgentConfig
from jepa_rl.world_model import Batch, ObservationSpec, build_world_model, loss_terms, loss_weights
from jepa_rl.world_model.alignment import encoder_gradient
from jepa_rl.world_model.slow_copy import EMAUpdate, frozen_copy
from jepa_rl.world_model.weighting import project_conflicts, uncertainty_weighted


class Learner:
    """A world model with its slow copy (where the objective needs one) and its optimiser.

    Args:
        config: of the agent.
        observation, action_counts, box_size: see ``build_world_model``.
        initialisation: decides the initial weights.
        training: serves losses that draw at random.
        device: of the networks.
        encoder: one that is there already, on the device, to train in place of a new one.

    Raises ValueError where every loss is switched off.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        observation: ObservationSpec,
        action_counts: tuple[int, ...],
        box_size: int,
        initialisation: torch.Generator,
        training: torch.Generator,
        device: torch.device,
        encoder: torch.nn.Module | None = None,
    ) -> None:
        if not loss_weights(config.model):
            raise ValueError("model must have a loss with a positive weight to train on, got none")
        self._config = config
        self._device = device
        self._generator = training
        self.model = build_world_model(
            config.model,
            observation=observation,
            action_counts=action_counts,
            box_size=box_size,
            generator=initialisation,
        ).to(device)
        self.model.eval()
        if encoder is not None:
            self.model.encoder = encoder
        self.ema = frozen_copy(self.model) if config.model.needs_ema else None
        self._move_ema = None if self.ema is None else EMAUpdate(self.ema, self.model, config.model.ema_rate)
        self._parts = self._trained_parts()
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), weight_decay=config.training.weight_decay, fused=True)

    def update(self, batch: Batch, rate_share: float) -> dict[str, float]:
        """Take one gradient step with ``rate_share`` times the learning rate; return what a log shows of it.

        NAME_loss is there for every term of the objective and "total", their weighted sum; NAME_gradient_norm for every
        part that was trained and "total", all of them, before clipping; clipped_share is 1 where the gradient was clipped,
        otherwise 0. NAME_weight is there for losses whose weights are learned.

        Raises FloatingPointError, with the weights unchanged, where a loss or the gradient is not finite.
        """
        with self._encoder_in_training():
            terms = loss_terms(
                self.model,
                self.ema,
                batch,
                self._config.model,
                discount=self._config.discount,
                generator=self._generator,
            )
        weighted = self._weighted(terms)
        loss = weighted.sum()
        self.optimizer.zero_grad(set_to_none=True)
        if self._config.model.weighting == "pcgrad":
            self._backward_without_conflicts(weighted)
        else:
            loss.backward()
        norms = self._descend(loss, rate_share)
        if self._move_ema is not None:
            self._move_ema()
        clipped = norms["total"] > self._config.training.max_gradient_norm
        figures = {f"{name}_loss": term.detach() for name, term in {**terms, "total": loss}.items()}
        figures |= {f"{name}_gradient_norm": norm for name, norm in norms.items()}
        figures["clipped_share"] = clipped.float()
        told = dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True))
        return told | {f"{name}_weight": weight for name, weight in self.learned_weights().items()}

    def learned_weights(self) -> dict[str, float]:
        """What the losses whose weights are learned weigh by now, by name."""
        model = self.model
        if model.log_variance is None:
            return {}
        begin = loss_weights(self._config.model)
        factor = (-model.log_variance.detach()).exp().tolist()
        return {name: begin[name] * now for name, now in zip(model.learned_losses, factor, strict=True)}

    @contextmanager
    def _encoder_in_training(self) -> Iterator[None]:
        """One's own encoder may normalise by the batch or drop out: only while it learns, and as our generator says."""
        encoder = self.model.encoder
        if not self._config.model.encoder.own:
            yield
            return
        seed = int(torch.randint(2**31, (), generator=self._generator))
        before = encoder.training  # Stable-Baselines3 switches that of its extractor itself
        gpus = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(seed)
            if gpus:
                with torch.cuda.device(self._device):
                    torch.cuda.manual_seed(seed)
            encoder.train()
            try:
                yield
            finally:
                encoder.train(before)

    def _weighted(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """What each term adds to the loss, [n]."""
        weights, model = loss_weights(self._config.model), self.model
        if model.log_variance is None:
            return torch.stack([weights[name] * term for name, term in terms.items()])
        learned = torch.stack([terms[name] for name in model.learned_losses])
        begin = learned.new_tensor([weights[name] for name in model.learned_losses])
        fixed = [weights[name] * term for name, term in terms.items() if name not in model.learned_losses]
        return torch.cat([uncertainty_weighted(learned, begin, model.log_variance), *(term[None] for term in fixed)])

    def _backward_without_conflicts(self, losses: torch.Tensor) -> None:
        pulls = torch.stack([encoder_gradient(loss, self.model, retain=True) for loss in losses])
        losses.sum().backward()
        orders = [torch.randperm(len(pulls), generator=self._generator).to(pulls.device) for _ in pulls]
        parameters = [parameter for parameter in self.model.encoder.parameters() if parameter.requires_grad]
        pieces = project_conflicts(pulls, orders).split([parameter.numel() for parameter in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(piece.view_as(parameter))  # into its own memory, whose layout the optimiser counts on

    def _descend(self, loss: torch.Tensor, rate_share: float) -> dict[str, torch.Tensor]:
        """Take the step; the norms of the gradient as it was before clipping, by part and in "total"."""
        training = self._config.training
        norms = self._gradient_norms()
        norm = norms["total"].item()
        if not math.isfinite(norm):
            raise FloatingPointError(f"the gradient norm is {norm} at a loss of {loss.item()}; nothing was applied")
        if norm > training.max_gradient_norm:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), training.max_gradient_norm, norms["total"])
        for group, factor in zip(self.optimizer.param_groups, (1.0, training.encoder_rate), strict=True):
            group["lr"] = training.learning_rate * rate_share * factor
        self.optimizer.step()
        return norms

    def _gradient_norms(self) -> dict[str, torch.Tensor]:
        """Of every part that was trained, and "total"; each gradient is read once for both."""
        gradients = {name: [p.grad for p in part if p.grad is not None] for name, part in self._parts.items()}
        gradients = {name: found for name, found in gradients.items() if found}
        norms = torch.stack(torch._foreach_norm([gradient for found in gradients.values() for gradient in found]))
        by_part = norms.split([len(found) for found in gradients.values()])
        return {name: part.norm() for name, part in zip(gradients, by_part, strict=True)} | {"total": norms.norm()}

    def _trained_parts(self) -> dict[str, list[torch.nn.Parameter]]:
        """Every parameter of the model, by the part that it belongs to."""
        model = self.model
        parts = {"encoder": model.encoder, "dynamics": model.dynamics, **dict(model.heads.items())}
        parameters = {name: list(part.parameters()) for name, part in parts.items()}
        return parameters if model.log_variance is None else {**parameters, "loss_weights": [model.log_variance]}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        encoder = list(self.model.encoder.parameters())
        ids = {id(parameter) for parameter in encoder}
        others = [p for p in self.model.parameters() if p.requires_grad and id(p) not in ids]
        return [{"params": others}, {"params": encoder}]
