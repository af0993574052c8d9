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


class EMAUpdate:
    """Moves every parameter of ``target`` by the share ``rate`` towards ``online`` when called; buffers are copied."""

    def __init__(self, target: nn.Module, online: nn.Module, rate: float) -> None:
        # Listed once: walking the modules takes longer than the arithmetic.
        self._slow: list[torch.Tensor] = list(target.parameters())
        self._fast: list[torch.Tensor] = list(online.parameters())
        self._buffers = list(zip(target.buffers(), online.buffers(), strict=True))
        self._rate = rate

    @torch.no_grad()
    def __call__(self) -> None:
        torch._foreach_lerp_(self._slow, self._fast, self._rate)
        for kept, new in self._buffers:
            kept.copy_(new)
