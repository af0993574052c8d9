"""What kind of observation the encoder reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from jepa_rl.world_model.validation import require

ObservationKind = Literal["vector", "image", "grid", "onehot", "text", "row"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservationSpec:
    """What the encoder reads.

    "onehot" are integers that begin at ``starts`` and have ``counts`` choices each; the planes of a "grid" have ``counts``
    symbols each; "text" is padded UTF-8; "row" is uint8, the bytes of its ``parts`` one after another.
    """

    kind: ObservationKind
    shape: tuple[int, ...]
    dtype: str = "float32"  # name of the observation's dtype, in numpy as in torch
    counts: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    wide: tuple[int, ...] = ()  # components of the flattened vector that are read as their symlog
    bounds: tuple[tuple[float, float], ...] = ()  # of each component of the flattened vector
    low: float = 0.0  # value of the darkest pixel
    high: float = 255.0  # value of the brightest pixel
    parts: tuple[ObservationSpec, ...] = ()

    def __post_init__(self) -> None:
        kinds = get_args(ObservationKind)
        require(self.kind in kinds, "ObservationSpec.kind", f"one of {', '.join(kinds)}", repr(self.kind))
        if self.kind in ("grid", "onehot"):
            require(
                bool(self.counts), "ObservationSpec.counts", f"the number of choices of each symbol of a {self.kind}", ()
            )
        if self.kind == "onehot":
            fits = len(self.starts) == len(self.counts)
            require(fits, "ObservationSpec.starts", f"one for each of the counts {self.counts}", self.starts)

    def within(self, vocabulary: int) -> ObservationSpec:
        """The same, with at most ``vocabulary`` symbols in each plane of a grid, whose space may allow every byte."""
        parts = tuple(part.within(vocabulary) for part in self.parts)
        counts = tuple(min(count, vocabulary) for count in self.counts) if self.kind == "grid" else self.counts
        return replace(self, counts=counts, parts=parts)

    @property
    def bytes(self) -> int:
        """Bytes of one observation."""
        return torch.Size(self.shape).numel() * getattr(torch, self.dtype).itemsize
