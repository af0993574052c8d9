"""Images from latents: a decoder that only watches, to show what an encoder keeps. Nothing of it reaches the encoder."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from jepa_rl.world_model.decoders import transposed_convolutions

BATCH_SIZE = 32
LEARNING_RATE = 4e-3
TIMED_UPDATES = 5


class Decoder(nn.Module):
    """One linear layer and transposed convolutions: latents [N, D] to images [N, H, W, C] with values in [0, 1].

    ``latent`` and ``image`` [N, H, W, C] are the data to be fitted: their means and scale are where the decoder starts.
    """

    def __init__(self, latent: Tensor, image: Tensor) -> None:
        super().__init__()
        _, height, width, channels = image.shape
        self.size = height, width
        self.register_buffer("mean", latent.mean(0))
        self.register_buffer("std", latent.std(0).mean() + 1e-6)
        self.mean: Tensor
        self.std: Tensor
        self.net = transposed_convolutions(latent.shape[1], channels, height, width)
        last = self.net[-1]
        assert isinstance(last, nn.ConvTranspose2d) and last.bias is not None
        # Images are mostly background: starting at its brightness saves the first hundreds of updates.
        last.bias.data.copy_(image.float().mean((0, 1, 2)).div(255).clamp(1e-3, 1 - 1e-3).logit())

    def forward(self, latent: Tensor) -> Tensor:
        height, width = self.size
        logits: Tensor = self.net((latent - self.mean) / self.std)
        return logits[..., :height, :width].sigmoid().permute(0, 2, 3, 1)

    @torch.no_grad()
    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Images float32 [N, H, W, C] in [0, 1] of latents [N, D]."""
        return self(torch.as_tensor(latent)).numpy()

    def explained_variance(self, latent: np.ndarray, image: np.ndarray) -> float:
        """The share of the variance of uint8 images [N, H, W, C] that their latents [N, D] give; 0 for the mean image."""
        target = image.astype(np.float32) / 255
        return float(1 - ((self.decode(latent) - target) ** 2).mean() / target.var(0).mean())


def updates_within(seconds: float, latent_dim: int, image: np.ndarray) -> int:
    """How many gradient steps for images [N, H, W, C] take about ``seconds`` on this machine; at least 1."""
    latent = np.random.default_rng(0).standard_normal((len(image), latent_dim), dtype=np.float32)
    train_decoder(latent, image, updates=1, seed=0)  # what is done once, such as choosing kernels, does not count
    began = time.perf_counter()
    train_decoder(latent, image, updates=TIMED_UPDATES, seed=0)
    return max(1, int(seconds / (time.perf_counter() - began) * TIMED_UPDATES))


def train_decoder(latent: np.ndarray, image: np.ndarray, *, updates: int, seed: int) -> Decoder:
    """Fit a decoder to latents float32 [N, D] and their images uint8 [N, H, W, C], by squared error, on the CPU."""
    inputs, target = torch.as_tensor(latent), torch.as_tensor(image)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = Decoder(inputs, target)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        rows = torch.as_tensor(rng.integers(len(inputs), size=BATCH_SIZE))
        loss = functional.mse_loss(decoder(inputs[rows]), target[rows].float() / 255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return decoder
