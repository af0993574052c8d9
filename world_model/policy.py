"""The policy prior pi(a | z): proposes actions to the planner and says what to bootstrap at (arXiv:2310.16828)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LOG_STD_BOUNDS = (-5.0, 1.0)  # before squashing
SHARPNESS = 5.0  # of finite actions: the worst is exp(-5) times as likely as the best


class GaussianPolicy(nn.Module):
    """A diagonal Gaussian squashed to the box [-1, 1]^A by tanh (arXiv:1801.01290)."""

    def __init__(self, *, latent_dim: int, hidden: int, size: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, 2 * size)
        )

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, both [N, A], before squashing, of latents [N, D]."""
        mean, free = self.net(latent).chunk(2, dim=-1)
        low, high = LOG_STD_BOUNDS
        return mean, low + (high - low) / 2 * (free.tanh() + 1)

    def best(self, latent: Tensor) -> Tensor:
        """The actions [N, A] at the mean."""
        return self(latent)[0].tanh()

    def sample(self, latent: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw actions [N, A] and return them with their log densities [N]; both carry gradients."""
        mean, log_std = self(latent)
        noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean)
        raw = mean + log_std.exp() * noise
        log_gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(x)^2), in the form that does not round to log(0).
        log_slope = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        return raw.tanh(), (log_gaussian - log_slope).sum(-1)


def softmax_policy(value: Tensor) -> Tensor:
    """Probabilities [N, count] of finite actions from their values; the same for values of any scale and offset."""
    best, worst = value.amax(-1, keepdim=True), value.amin(-1, keepdim=True)
    spread = (best - worst).clamp(min=torch.finfo(value.dtype).tiny)
    return (SHARPNESS * (value - best) / spread).softmax(-1)


def policy_loss(value: Tensor, log_probability: Tensor, valid: Tensor, entropy: float) -> Tensor:
    """entropy * log pi(a | z) - Q(z, a) / S, mean over the valid entries; all [...].

    S is the range from the 5th to the 95th percentile of the values of the batch (arXiv:2301.04104), at least 1: what is
    smaller than one unit of return is not blown up.
    """
    seen = value.detach()[valid]
    low, high = torch.quantile(seen, seen.new_tensor([0.05, 0.95]))
    scale = (high - low).clamp(min=1)
    return (entropy * log_probability - value / scale)[valid].mean()
