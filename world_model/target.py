"""The slowly moving copy of the model that targets are computed with."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.func import functional_call

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(model: Module) -> Module:
    """A copy that no gradient reaches."""
    return copy.deepcopy(model).requires_grad_(False)


def frozen_call(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """What ``module`` gives for ``inputs``; gradients reach these, but not its parameters."""
    held = {name: parameter.detach() for name, parameter in module.named_parameters()}
    output: torch.Tensor = functional_call(module, held, inputs)
    return output


@torch.no_grad()
def ema_update(target: nn.Module, online: nn.Module, rate: float) -> None:
    """Move every parameter of ``target`` by the share ``rate`` towards ``online``; buffers are copied."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), rate)
    for kept, new in zip(target.buffers(), online.buffers(), strict=True):
        kept.copy_(new)
