"""Auxiliary heads on the latent: scalars with a likelihood, and action values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepa_rl.world_model.targets import BOUNDS, Likelihood

TWO_HOT_BINS = 101
TWO_HOT_LIMIT = 10.0  # symlog units
SIGNED_BIAS = -4.0  # of a signed_bernoulli head's outputs at first: both parts of a rare reward or a far return are near 0


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer; every head is of this form."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def begin_near_zero(head: nn.Sequential) -> None:
    """Set the last bias of a signed_bernoulli head: from 0.5, bootstrapped values would fall by a discount at a time."""
    last = head[-1]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, SIGNED_BIAS)


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|): the squashing of arXiv:2301.04104."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """The inverse of ``symlog``."""
    return x.sign() * x.abs().expm1()


def two_hot(value: Tensor) -> Tensor:
    """Spread symlog(value) [...] over its two nearest bins: [..., 101], rows sum to 1. FloatingPointError for NaN."""
    if value.isnan().any():  # as an index it would be out of range, which a GPU does not survive
        raise FloatingPointError("two_hot targets must be numbers, got NaN")
    position = (
        (symlog(value).clamp(-TWO_HOT_LIMIT, TWO_HOT_LIMIT) + TWO_HOT_LIMIT) / (2 * TWO_HOT_LIMIT) * (TWO_HOT_BINS - 1)
    )
    below = position.floor().clamp(max=TWO_HOT_BINS - 2)
    share = (position - below).unsqueeze(-1)
    index = below.long().unsqueeze(-1)
    spread = torch.zeros(*value.shape, TWO_HOT_BINS, device=value.device)
    return spread.scatter(-1, index, 1 - share).scatter(-1, index + 1, share)


def outputs_of(likelihood: Likelihood) -> int:
    """How many network outputs describe one scalar."""
    return {"two_hot": TWO_HOT_BINS, "signed_bernoulli": 2}.get(likelihood, 1)


def expectation(logits: Tensor, likelihood: Likelihood) -> Tensor:
    """The scalar that outputs [..., k] stand for, [...]."""
    if likelihood == "gaussian":
        return logits.squeeze(-1)
    if likelihood == "bernoulli":
        return logits.squeeze(-1).sigmoid()
    if likelihood == "signed_bernoulli":
        positive, negative = logits.sigmoid().unbind(-1)
        return positive - negative
    bins = torch.linspace(-TWO_HOT_LIMIT, TWO_HOT_LIMIT, TWO_HOT_BINS, device=logits.device)
    return symexp(logits.softmax(-1) @ bins)


def negative_log_likelihood(logits: Tensor, target: Tensor, likelihood: Likelihood) -> Tensor:
    """The loss of each prediction, [...]: squared error, binary cross-entropy, or cross-entropy over symlog bins."""
    if likelihood == "gaussian":
        return (logits.squeeze(-1) - target).square()
    if likelihood == "bernoulli":
        return functional.binary_cross_entropy_with_logits(logits.squeeze(-1), target, reduction="none")
    if likelihood == "signed_bernoulli":
        parts = torch.stack([target, -target], dim=-1).clamp(min=0)
        return functional.binary_cross_entropy_with_logits(logits, parts, reduction="none").sum(-1)
    return -(two_hot(target) * logits.log_softmax(-1)).sum(-1)


def require_targets(name: str, target: Tensor, likelihood: Likelihood) -> None:
    """Raise ValueError where ``target`` holds what the likelihood of the task ``name`` cannot express."""
    if likelihood in BOUNDS and target.numel():
        low, high = BOUNDS[likelihood]
        least, greatest = (bound.item() for bound in target.aminmax())
        if not low <= least <= greatest <= high:  # nor where they are NaN
            raise ValueError(
                f"the targets of {name} must be in [{low:g}, {high:g}], the range of its {likelihood} likelihood, got "
                f"{least:g} to {greatest:g}; gaussian has none, two_hot cuts at +-{math.expm1(TWO_HOT_LIMIT):,.0f}"
            )


def loss_floor(target: Tensor, likelihood: Likelihood) -> Tensor:
    """The least ``negative_log_likelihood`` of each target, [...]: the entropy of a soft label, else 0."""
    if likelihood == "gaussian":
        return torch.zeros_like(target)
    if likelihood in ("bernoulli", "signed_bernoulli"):
        share = target.abs()  # of the other part there is nothing to predict
        return -torch.xlogy(share, share) - torch.xlogy(1 - share, 1 - share)
    share = two_hot(target)
    return -torch.xlogy(share, share).sum(-1)


class ActionValue(nn.Module):
    """Q(z, a) outputs for every action of a Discrete space, [N, count, outputs]."""

    def __init__(self, *, latent_dim: int, hidden: int, outputs: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.net = mlp(latent_dim, hidden, count * outputs)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Outputs [N, k] for actions int64 [N]."""
        every = self.all(latent)
        return every.gather(1, action.view(-1, 1, 1).expand(-1, 1, every.shape[2])).squeeze(1)

    def all(self, latent: Tensor) -> Tensor:
        return self.net(latent).unflatten(1, (self.count, -1))


def critic_names(count: int) -> tuple[str, ...]:
    """Under which names a world model holds its Q heads; names of tasks have no hyphen."""
    return ("value", *(f"value-{number}" for number in range(2, count + 1)))


class CandidateActionValue(nn.Module):
    """Q(z, a) outputs where actions cannot be listed in the output layer: the action is an input.

    The value of a state is the maximum over ``candidates`` [P, width], a fixed set of encoded actions that fills the
    space evenly (all of them where a MultiDiscrete space is small, else Sobol points).
    """

    def __init__(self, *, latent_dim: int, hidden: int, outputs: int, candidates: Tensor) -> None:
        super().__init__()
        self.register_buffer("candidates", candidates)
        self.candidates: Tensor
        self.net = mlp(latent_dim + candidates.shape[1], hidden, outputs)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Outputs [N, k] for encoded actions [N, width]."""
        return self.net(torch.cat([latent, action], dim=1))

    def all(self, latent: Tensor) -> Tensor:
        pairs = len(latent), len(self.candidates)
        joined = torch.cat(
            [latent[:, None].expand(*pairs, -1), self.candidates.expand(*pairs, -1)],
            dim=2,
        )
        return self.net(joined)
