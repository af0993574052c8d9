"""The slowly moving copy of the model that targets are computed with."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(model: Module) -> Module:
    """A copy that no gradient reaches."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def ema_update(target: nn.Module, online: nn.Module, rate: float) -> None:
    """Move every parameter of ``target`` by the share ``rate`` towards ``online``; buffers are copied."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), rate)
    for kept, new in zip(target.buffers(), online.buffers(), strict=True):
        kept.copy_(new)
