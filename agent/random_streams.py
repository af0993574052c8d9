"""Every source of randomness of an agent, one stream per purpose, so that one use never shifts another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class RandomStreams:
    """Independent generators derived from one seed.

    ``prediction`` serves ``predict``: evaluating in the middle of training leaves the training run as it was.
    """

    def __init__(self, seed: int) -> None:
        exploration, replay, initialisation, planning, training, prediction = np.random.SeedSequence(seed).spawn(6)
        self.exploration = np.random.default_rng(exploration)
        self.replay = np.random.default_rng(replay)
        self.initialisation = _torch_generator(initialisation)
        self.planning = _torch_generator(planning)
        self.training = _torch_generator(training)
        self.prediction = _torch_generator(prediction)

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """The position of every stream: numpy's as JSON-able dicts, torch's as tensors."""
        arrays = {"exploration": self.exploration.bit_generator.state, "replay": self.replay.bit_generator.state}
        tensors = {name: stream.get_state() for name, stream in vars(self).items() if isinstance(stream, torch.Generator)}
        return arrays, tensors

    def load_state(self, arrays: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Go back to a ``state``."""
        self.exploration.bit_generator.state = arrays["exploration"]
        self.replay.bit_generator.state = arrays["replay"]
        for name, state in tensors.items():
            getattr(self, name).set_state(state)


def _torch_generator(sequence: np.random.SeedSequence) -> torch.Generator:
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
