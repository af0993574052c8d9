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
        sequences = np.random.SeedSequence(seed).spawn(7)  # a further one leaves those before it as they are
        exploration, replay, initialisation, planning, training, prediction, labels = sequences
        self.exploration = np.random.default_rng(exploration)
        self.replay = np.random.default_rng(replay)
        self.labels = np.random.default_rng(labels)
        self.initialisation = _torch_generator(initialisation)
        self.planning = _torch_generator(planning)
        self.training = _torch_generator(training)
        self.prediction = _torch_generator(prediction)

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """The position of every stream: numpy's as JSON-able dicts, torch's as tensors."""
        generators = {name: stream for name, stream in vars(self).items() if isinstance(stream, np.random.Generator)}
        arrays = {name: stream.bit_generator.state for name, stream in generators.items()}
        tensors = {name: stream.get_state() for name, stream in vars(self).items() if isinstance(stream, torch.Generator)}
        return arrays, tensors

    def load_state(self, arrays: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Go back to a ``state``."""
        for name in ("exploration", "replay", "labels"):
            getattr(self, name).bit_generator.state = arrays[name]
        for name, state in tensors.items():
            getattr(self, name).set_state(state)


def _torch_generator(sequence: np.random.SeedSequence) -> torch.Generator:
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
