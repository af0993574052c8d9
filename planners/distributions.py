"""Distributions over action sequences that a search draws from and refits, and draws from weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from jepa_rl.planners.actions import BoxActions, FiniteActions


class SequenceDistribution(Protocol):
    """One distribution over action sequences per observation. B = observations, H = horizon."""

    def warmed(self, actions: Tensor, warm: Tensor) -> Self:
        """Lean the first H - 1 steps towards the actions [B, H - 1, ...] in the rows where bool[B] ``warm`` is True."""
        ...

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw sequences [B, count, H, ...]."""
        ...

    def refit(self, actions: Tensor, weights: Tensor, momentum: float) -> Self:
        """Move to the moments of the sequences [B, M, H, ...] under weights [B, M] that sum to 1, but for ``momentum``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoricalSequences:
    """Independent categoricals for every step and every dimension of a finite action. A = dimensions, K = most choices."""

    space: FiniteActions
    probability: Tensor  # [B, H, A, K], 0 beyond the choices that a dimension has
    warm_probability: float  # put on the actions that ``warmed`` leans to

    @classmethod
    def uniform(
        cls, space: FiniteActions, *, batch_size: int, horizon: int, warm_probability: float, device: torch.device
    ) -> CategoricalSequences:
        """Every choice alike."""
        counts = torch.tensor(space.counts, device=device).unsqueeze(-1)
        exists = torch.arange(max(space.counts), device=device) < counts
        probability = (exists / counts).expand(batch_size, horizon, -1, -1)
        return cls(space=space, probability=probability, warm_probability=warm_probability)

    def warmed(self, actions: Tensor, warm: Tensor) -> CategoricalSequences:
        """Give the warm rows a mixture of what was there and the actions [B, H - 1, ...], in the first H - 1 steps."""
        share = self.warm_probability * warm.view(-1, 1, 1, 1)
        guided, last = self.probability[:, :-1], self.probability[:, -1:]
        guided = (1 - share) * guided + share * self._one_hot(actions)
        return replace(self, probability=torch.cat([guided, last], dim=1))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw int64 [B, count, H, ...]."""
        batch_size, horizon = self.probability.shape[:2]
        choices = draw_categorical(self.probability, count, generator)  # [B, H, A, count]
        return choices.permute(0, 3, 1, 2).reshape(batch_size, count, horizon, *self.space.shape)

    def refit(self, actions: Tensor, weights: Tensor, momentum: float) -> CategoricalSequences:
        """Move to the weighted frequencies of the choices."""
        frequency = torch.einsum("bm,bmhak->bhak", weights, self._one_hot(actions).to(weights.dtype))
        return replace(self, probability=torch.lerp(frequency, self.probability.to(frequency), momentum))

    def _one_hot(self, actions: Tensor) -> Tensor:
        """Which choice each dimension of the actions [..., A] (or [...] where there is one) makes, bool [..., A, K]."""
        by_dimension = actions if self.space.shape else actions.unsqueeze(-1)
        return by_dimension.unsqueeze(-1) == torch.arange(self.probability.shape[-1], device=actions.device)


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianSequences:
    """Independent Gaussians for every step and every dimension of a box action, clipped to [-1, 1]."""

    mean: Tensor  # [B, H, A]
    std: Tensor  # [B, H, A], before clipping
    min_std: float  # no refit goes below

    @classmethod
    def centred(
        cls, space: BoxActions, *, batch_size: int, horizon: int, std: float, min_std: float, device: torch.device
    ) -> GaussianSequences:
        """Mean 0 and the same standard deviation everywhere."""
        mean = torch.zeros((batch_size, horizon, *space.shape), device=device)
        return cls(mean=mean, std=torch.full_like(mean, std), min_std=min_std)

    def warmed(self, actions: Tensor, warm: Tensor) -> GaussianSequences:
        """Centre the warm rows on the actions [B, H - 1, A] in the first H - 1 steps; keep the standard deviation."""
        guided = torch.where(warm.view(-1, 1, 1), actions, self.mean[:, :-1])
        return replace(self, mean=torch.cat([guided, self.mean[:, -1:]], dim=1))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw float32 [B, count, H, A]."""
        batch_size, *step_shape = self.mean.shape
        noise = torch.randn((batch_size, count, *step_shape), generator=generator, device=generator.device)
        return (self.mean.unsqueeze(1) + self.std.unsqueeze(1) * noise.to(self.mean.device)).clamp(-1, 1)

    def refit(self, actions: Tensor, weights: Tensor, momentum: float) -> GaussianSequences:
        """Move to the weighted mean and standard deviation."""
        weights = weights.to(actions.dtype)
        mean = torch.einsum("bm,bmha->bha", weights, actions)
        variance = torch.einsum("bm,bmha->bha", weights, (actions - mean.unsqueeze(1)).square())
        return replace(
            self,
            mean=torch.lerp(mean, self.mean, momentum),
            std=torch.lerp(variance.sqrt(), self.std, momentum).clamp_min(self.min_std),
        )


def draw_categorical(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` indices of the last dimension in proportion to weights [..., K] >= 0; int64 [..., count].

    The random numbers come from the generator's device, so that a CPU generator gives the same draws on any device.
    """
    cumulative = weights.cumsum(-1)
    uniform = torch.rand((*weights.shape[:-1], count), generator=generator, device=generator.device)
    # Strictly below the total even after rounding, so an index of weight 0 is never drawn.
    return torch.searchsorted(cumulative, uniform.to(weights) * cumulative[..., -1:], right=True)


def boltzmann(returns: Tensor, temperature: float) -> Tensor:
    """Return the probabilities proportional to exp(return / temperature) along the last dimension."""
    # Shifted first: the division cannot overflow to +inf, and the best keeps a weight however low all returns are.
    return torch.softmax((returns - returns.amax(-1, keepdim=True)) / temperature, dim=-1)
