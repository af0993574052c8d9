"""Regularisers of latents [N, D] that need no labels, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

SIGREG_KNOTS = 17
SIGREG_LIMIT = 3.0


def variance_hinge(latent: Tensor) -> Tensor:
    """VICReg's variance term (arXiv:2105.04906): mean over dimensions of max(0, 1 - sqrt(Var + 1e-4))."""
    return (1 - (latent.var(0) + 1e-4).sqrt()).relu().mean()


def covariance_penalty(latent: Tensor) -> Tensor:
    """VICReg's covariance term: the sum of squared off-diagonal covariances over the number of dimensions."""
    centred = latent - latent.mean(0)
    covariance = centred.T @ centred / (len(latent) - 1)
    off_diagonal = covariance - torch.diag(covariance.diagonal())
    return off_diagonal.square().sum() / latent.shape[1]


def sigreg(latent: Tensor, *, directions: int, generator: torch.Generator) -> Tensor:
    """SIGReg (arXiv:2511.08544): how far random projections of the latents are from a standard Gaussian.

    Mean over random unit directions of N * integral |ecf(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt, with ecf the empirical
    characteristic function, by the trapezoid rule on [0, 3], doubled for the negative half. About 1.0 for Gaussian
    latents; 0.402 N when all are zero.
    """
    samples, dimension = latent.shape
    direction = torch.randn(dimension, directions, generator=generator).to(latent.device)
    projected = latent @ (direction / direction.norm(dim=0))
    t = torch.linspace(0, SIGREG_LIMIT, SIGREG_KNOTS, device=latent.device)
    gaussian = torch.exp(-t.square() / 2)
    angle = projected.unsqueeze(-1) * t
    distance = (angle.cos().mean(0) - gaussian).square() + angle.sin().mean(0).square()
    return 2 * samples * torch.trapezoid(distance * gaussian, t, dim=1).mean()
