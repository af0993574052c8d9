"""Encoders that come from elsewhere, by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

import torch
from torch import nn

from jepa_rl.world_model.spec import ObservationSpec

EncoderFactory = Callable[[ObservationSpec, int], nn.Module]
"""Maps what is to be read and the dimension of the latent to a module with fresh weights."""

_registered: dict[str, EncoderFactory] = {}


def register_encoder(name: str, factory: EncoderFactory) -> None:
    """Make ``EncoderConfig(own=name)`` the encoder that ``factory(observation, latent_dim)`` builds.

    Its module maps observations [N, *observation.shape], in the environment's dtype, to latents float32 [N, latent_dim].
    Of a Dict or Tuple the factory is asked for every part, and a linear layer joins their latents. torch's global generator
    is seeded while it builds: drawn from that, as layers do, initial weights are decided by the agent's seed. So is what it
    draws in updates, as dropout does; there it is in training mode, and in evaluation mode wherever it acts. A saved agent
    holds the name only, so register before loading it.

    Raises ValueError for a name with anything but letters, digits and underscores, TypeError for what cannot be called.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"an encoder's name must be letters, digits and underscores, got {name!r}")
    if not callable(factory):
        raise TypeError(f"the factory of encoder {name!r} must be callable, got {factory!r}")
    _registered[name] = factory


def own_encoder(name: str, observation: ObservationSpec, latent_dim: int) -> nn.Module:
    """The encoder registered as ``name``.

    Raises ValueError for a name that is not, and for a module that does not give latents of that form.
    """
    if name not in _registered:
        near = difflib.get_close_matches(name, _registered) or list(_registered)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(
            f"unknown encoder {name!r}{hint} One of your own is made known by register_encoder, also before loading an "
            "agent that has it"
        )
    encoder = _registered[name](observation, latent_dim)
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"the factory of encoder {name!r} must give a torch.nn.Module, got {type(encoder).__name__}")
    start = torch.tensor(observation.starts).view(observation.shape) if observation.starts else 0
    with torch.no_grad():
        latent = encoder.eval()(torch.zeros(2, *observation.shape, dtype=getattr(torch, observation.dtype)) + start)
    if tuple(latent.shape) != (2, latent_dim) or not latent.is_floating_point():
        raise ValueError(
            f"the encoder {name!r} must map {[2, *observation.shape]} to floats {[2, latent_dim]}, got {latent.dtype} "
            f"{list(latent.shape)}"
        )
    return encoder
