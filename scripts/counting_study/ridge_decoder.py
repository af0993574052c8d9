"""A decoder in closed form, and what can be read from an image: its mass, place, colour and texture."""

from __future__ import annotations

import numpy as np
from scipy import fft

from jepa_rl.world_model.diagnostics import standardize

FEATURES = 512  # random cosines beside the latents themselves
PENALTIES = 10.0 ** np.arange(-3, 5)
PROJECTIONS = 64  # random directions of pixel space on which the penalty is chosen
LAGS = 4  # pixels
PADDED = 72  # an FFT length of small factors with room for the lags of a 64-pixel image
MASS_FLOOR = 1e-6  # of an image whose mass is at most 64 * 64


def ridge_decode(
    latent: np.ndarray, image: np.ndarray, latent_test: np.ndarray, image_test: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """Fit a decoder to latents [N, D] and images uint8[N, H, W, C]; draw the test images, uint8, and return the error.

    Ridge regression of the pixels on the latents and random cosines of them (Rahimi & Recht 2007), the penalty by
    leave-one-out error. The error is squared, over that of the mean training image, before rounding.
    """
    rng = np.random.default_rng(seed)
    phi, phi_test = _features(latent, latent_test, rng)
    pixels, mean = _flat(image), _flat(image).mean(0)
    pixels -= mean
    center = phi.mean(0)
    phi -= center
    spectrum, basis = np.linalg.eigh(phi.T.astype(np.float64) @ phi)
    spectrum, basis = np.maximum(spectrum, 0), basis.astype(np.float32)
    rotated = phi @ basis
    sketch = pixels @ rng.normal(size=(pixels.shape[1], PROJECTIONS)).astype(np.float32)
    penalty = min(PENALTIES, key=lambda each: _left_out_error(rotated, spectrum, sketch, each))
    weight = rotated.T @ pixels / (spectrum + penalty)[:, None].astype(np.float32)
    drawn = np.clip((phi_test - center) @ basis @ weight + mean, 0, 1)
    test = _flat(image_test)
    error = float(((drawn - test) ** 2).mean() / ((test - mean) ** 2).mean())
    # In the 256 levels of a screen, so that what nobody can see cannot be read either.
    return np.rint(drawn * 255).astype(np.uint8).reshape(image_test.shape), error


def _features(latent: np.ndarray, latent_test: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Latents of unit mean square length, and cosines that vary over about that length."""
    parts = standardize(latent, latent, latent_test)
    length = np.sqrt((parts[0] ** 2).sum(1).mean()) or 1.0
    frequency = rng.normal(size=(latent.shape[1], FEATURES))
    phase = rng.uniform(0, 2 * np.pi, FEATURES)
    scaled = [part / length for part in parts]
    first, second = (
        np.concatenate([part, np.cos(part @ frequency + phase) * np.sqrt(2 / FEATURES)], axis=1).astype(np.float32)
        for part in scaled
    )
    return first, second


def _left_out_error(rotated: np.ndarray, spectrum: np.ndarray, target: np.ndarray, penalty: float) -> float:
    """Squared error at each row of the fit without that row: the residual over one minus its leverage."""
    shrink = (1 / (spectrum + penalty)).astype(np.float32)
    residual = target - rotated @ (shrink[:, None] * (rotated.T @ target))
    leverage = (rotated**2) @ shrink + 1 / len(rotated)  # the mean is fitted too
    return float(((residual / (1 - leverage)[:, None]) ** 2).sum())


def _flat(image: np.ndarray) -> np.ndarray:
    return image.reshape(len(image), -1).astype(np.float32) / 255


def image_statistics(image: np.ndarray) -> np.ndarray:
    """What a reader may look at in images uint8[N, S, S, 3], S <= 64, as float32[N, F].

    Mass per channel; mass over the peak and over the mean square (covered pixels, if all are of one brightness);
    centroid; mean colour, weighted by brightness; brightest value per channel; autocorrelation of the brightness at small
    lags, where shapes differ.
    """
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[1] != image.shape[2] or image.shape[1] > PADDED - 2 * LAGS:
        raise ValueError(f"image must be uint8[N, S, S, 3] with S <= {PADDED - 2 * LAGS}, got {image.dtype}{image.shape}")
    color = image.astype(np.float32) / 255
    gray = color.mean(-1)
    channel_mass, mass = color.sum((1, 2)), gray.sum((1, 2))[:, None]
    dark = mass < MASS_FLOOR
    share = gray / np.maximum(mass, MASS_FLOOR)[:, None]
    at = np.linspace(0, 1, image.shape[1], dtype=np.float32)
    centroid = np.where(dark, 0.5, np.stack([share.sum(1) @ at, share.sum(2) @ at], axis=1))
    mean_color = np.einsum("nhw,nhwc->nc", share, color)
    peak = np.maximum(gray.max((1, 2)), MASS_FLOOR)[:, None]
    size = (PADDED, PADDED)
    correlation = fft.irfft2(np.abs(fft.rfft2(gray, s=size)) ** 2, s=size)
    power = np.maximum(correlation[:, 0, 0], MASS_FLOOR)[:, None]
    near = np.concatenate([correlation[:, : LAGS + 1, : LAGS + 1], correlation[:, : LAGS + 1, -LAGS:]], axis=2)
    texture = near.reshape(len(image), -1)[:, 1:] / power
    columns = [channel_mass, mass / peak, mass**2 / power, centroid, mean_color, color.max((1, 2)), texture]
    return np.concatenate(columns, axis=1).astype(np.float32)
