"""What the world model learns from: sub-trajectories with one stated time alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

Kind = Literal["any", "bool", "floating", "int64 or floating"]  # of dtype


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Sub-trajectories from replay. B = batch, T = transitions; time runs along dim 1.

    ``action[:, t]`` was taken at ``observation[:, t]`` and led to ``observation[:, t + 1]``, which paid ``reward[:, t]``.
    After an episode's last transition the window repeats its last observation and ``alive`` is False; nothing of the next
    episode enters. The first transition is always alive.

    ``label`` is p(o), the auxiliary value of each *observation* (arXiv:2509.12249): the reward that arriving there paid,
    or what the environment said of it in ``info["auxiliary"]``, which must be that same number: nobody acts at an episode's
    last observation, so that nothing but the reward is known of it. The first observation of an episode may have none.
    The repeated last observation repeats its label: mask with ``valid``.

    ``targets`` are what auxiliary tasks read from the environment, by the task's name. ``shown`` says for each task that is
    labelled in part (``label_fraction``) which observations it may know; a task that is not in it may know all.
    """

    observation: Tensor  # [B, T + 1, *observation_shape], in the environment's dtype; packed uint8 rows for Dict and Tuple
    action: Tensor  # [B, T] int64 for Discrete, [B, T, A] int64 for MultiDiscrete, [B, T, A] float32 in [-1, 1] for Box
    reward: Tensor  # [B, T] float32, environment units, not scaled
    terminated: Tensor  # [B, T] bool; a time limit is not a termination
    alive: Tensor  # [B, T] bool; False after the episode's last transition
    label: Tensor  # [B, T + 1] float32, environment units; 0 where not labelled
    labelled: Tensor  # [B, T + 1] bool
    outcome: Tensor  # [B, T] float32, discounted return to the episode's termination; -inf where unknown
    targets: Mapping[str, Tensor] = field(default_factory=dict)  # [B, T + 1, size] float32; 0 where not shown
    shown: Mapping[str, Tensor] = field(default_factory=dict)  # [B, T + 1] bool
    first_visit: Tensor | None = None  # [B, T] bool; whether the observation reached was new to its episode, where known

    def __post_init__(self) -> None:
        batch_size, transitions = self.alive.shape
        by_name: tuple[tuple[str, int, Kind], ...] = (
            ("observation", transitions + 1, "any"),
            ("action", transitions, "int64 or floating"),
            ("reward", transitions, "floating"),
            ("terminated", transitions, "bool"),
            ("alive", transitions, "bool"),
            ("label", transitions + 1, "floating"),
            ("labelled", transitions + 1, "bool"),
            ("outcome", transitions, "floating"),
        )
        for name, steps, kind in by_name:
            _require(name, getattr(self, name), (batch_size, steps), kind)
        for task, tensor in self.targets.items():
            _require(f"targets[{task!r}]", tensor, (batch_size, transitions + 1), "floating")
        for task, tensor in self.shown.items():
            _require(f"shown[{task!r}]", tensor, (batch_size, transitions + 1), "bool")
        if self.first_visit is not None:
            _require("first_visit", self.first_visit, (batch_size, transitions), "bool")

    @property
    def valid(self) -> Tensor:
        """bool[B, T + 1]: which observations belong to the episode; the first always does."""
        return torch.cat([torch.ones_like(self.alive[:, :1]), self.alive], dim=1)

    @property
    def acted(self) -> Tensor:
        """bool[B, T + 1]: at which observations an action of this window was taken; at the last of it never."""
        return torch.cat([self.alive, torch.zeros_like(self.alive[:, :1])], dim=1)

    def seen(self, task: str) -> Tensor:
        """bool[B, T + 1]: which observations of the episode the auxiliary task of this name may know."""
        return self.valid & self.shown[task] if task in self.shown else self.valid

    def to(self, device: torch.device) -> Batch:
        moved: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, Mapping):
                moved[name] = {task: tensor.to(device) for task, tensor in value.items()}
            else:
                moved[name] = None if value is None else value.to(device)
        return Batch(**moved)


def _require(name: str, tensor: Tensor, expected: tuple[int, int], kind: Kind) -> None:
    shape = tuple(tensor.shape[:2])
    if shape != expected:
        raise ValueError(f"Batch.{name} must begin with shape {expected}, got {shape}")
    # ~ of a uint8 mask is 255 or 254, not a mask: the losses would be wrong and finite.
    dtype = tensor.dtype
    fits = dtype == torch.bool if kind == "bool" else dtype.is_floating_point
    if kind == "int64 or floating":
        fits = fits or dtype == torch.int64
    if not fits and kind != "any":
        raise ValueError(f"Batch.{name} must be {kind}, got {dtype}")
