"""The encoder as a features extractor of Stable-Baselines3's own algorithms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from jepa_rl.agent.algorithm import file_of
from jepa_rl.agent.jepa_agent import JEPAAgent
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.world_model import ModelConfig, build_world_model
from jepa_rl.world_model.encoder_config import EncoderKind

Space = spaces.Space[Any]
ROUNDING = 0.01  # of a pixel value; dividing float32 by 255 and multiplying again is off by far less


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedEncoder:
    """An encoder taken out of an agent, with what is needed to build it again."""

    config: ModelConfig
    observation_space: Space
    weights: dict[str, Tensor] = field(repr=False)
    unpickled: bool = field(default=False, init=False)  # it came in the file of an algorithm

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, unpickled=True)

    @classmethod
    def read(cls, run: str | Path) -> Self:
        """The encoder of a file that ``JEPAAgent.save`` wrote, or of the last checkpoint in a run's folder.

        Raises CheckpointError as ``JEPAAgent.load`` does.
        """
        agent = JEPAAgent.load(file_of(run), device="cpu")
        weights = agent.model.encoder.state_dict()
        return cls(config=agent.config.model, observation_space=agent.observation_space, weights=weights)


class JEPAFeaturesExtractor(BaseFeaturesExtractor):
    """The encoder E of a world model: observations, as Stable-Baselines3 preprocesses them, to latents float32 [N, D].

    The features are those of ``JEPAAgent.encode`` on the raw observations: the division of images by 255, their
    transposition and the one-hot vectors of discrete observations are undone first. Pass it in ``policy_kwargs`` as
    ``features_extractor_class``, and these arguments as ``features_extractor_kwargs``.

    Args:
        observation_space: of the algorithm.
        config: of a fresh encoder, ``ModelConfig()`` where neither this nor ``run`` is given. Its initial weights come from
            torch's global generator, which Stable-Baselines3 seeds.
        run: a saved agent or a run's folder, whose encoder to begin with. An algorithm that was saved can be loaded
            without it.
        trainable: whether the algorithm's losses train the encoder.
        normalize_images: the policy's argument of the same name.

    Raises:
        TypeError: a ``config`` that is no ModelConfig, a ``run`` that is no path.
        ValueError: both ``config`` and ``run``, a space that no encoder serves, or another than that of ``run``.
        CheckpointError: ``run`` cannot be read.
    """

    def __init__(
        self,
        observation_space: Space,
        config: ModelConfig | None = None,
        run: str | Path | None = None,
        trainable: bool = True,
        normalize_images: bool = True,
    ) -> None:
        if config is not None and run is not None:
            raise ValueError("config must be None where run is given, whose own configuration serves; got both")
        if not isinstance(config, ModelConfig | None):
            raise TypeError(f"config must be a ModelConfig (the .model of an AgentConfig), got {config!r}")
        trained = None if run is None else _read_or_recall(run, observation_space)
        self.config = trained.config if trained else config or ModelConfig()
        super().__init__(observation_space, self.config.latent_dim)
        self.trainable = trainable
        self.observations = ObservationReader(
            observation_space,
            trained.observation_space if trained else _channels_last(observation_space),
            kind=self.config.encoder.kind,
            normalize_images=normalize_images,
        )
        self.encoder = _fresh_encoder(self.config, self.observations.adapter)
        if trained:
            self.encoder.load_state_dict(trained.weights)
        self.requires_grad_(trainable)
        self.train()

    def forward(self, observations: Tensor | dict[str, Tensor]) -> Tensor:
        """Map preprocessed observations [N, ...] to latents float32 [N, D].

        Raises ValueError for images whose scale is not the one that ``normalize_images`` tells.
        """
        packed = self.observations.undo(observations)
        bfloat16 = self.config.encoder.precision == "bfloat16"
        with torch.autocast(packed.device.type, torch.bfloat16, enabled=bfloat16):
            latent: Tensor = self.encoder(packed).float()
        return latent

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, unless the encoder is frozen."""
        return super().train(mode and self.trainable)

    def apply(self, fn: Callable[[nn.Module], object]) -> Self:
        """Leave the encoder alone.

        Through this method Stable-Baselines3's actor-critic policies give every layer below the extractor new orthogonal
        weights (``ortho_init``), which would throw a trained encoder away.
        """
        return self


class ObservationReader:
    """Observations as a Stable-Baselines3 algorithm holds them, made what the encoder reads again.

    Args:
        space: of the algorithm; images in it may be transposed.
        encoder_space: of the environment.
        kind: ``ModelConfig.encoder.kind``.
        normalize_images: the policy's argument of the same name.

    Raises ValueError where the spaces differ in more than the place of the colour axis.
    """

    def __init__(self, space: Space, encoder_space: Space, *, kind: EncoderKind, normalize_images: bool) -> None:
        self.adapter = ObservationAdapter(encoder_space, kind)
        self._is_dict = isinstance(encoder_space, spaces.Dict)
        pairs = [("", space, encoder_space)]
        if isinstance(encoder_space, spaces.Dict):
            if not isinstance(space, spaces.Dict) or set(space) != set(encoder_space):
                raise _other_space(space, encoder_space)
            # A packed row holds the parts in the order of the encoder's space.
            pairs = [(key, space[key], part) for key, part in encoder_space.items()]
        specs = self.adapter.spec.parts if self._is_dict else (self.adapter.spec,)
        self._parts = {
            key: _Part(
                space=part,
                dtype=getattr(torch, spec.dtype),
                moves_channels=_needs_channels_moved(part, encoder_part),
                scaled=normalize_images and is_image_space(part),
            )
            for (key, part, encoder_part), spec in zip(pairs, specs, strict=True)
        }

    def pack(self, observation: Any) -> np.ndarray:
        """One observation or a batch of them, as in the algorithm's buffers, as ``ObservationAdapter.pack`` gives them."""
        if not self._is_dict:
            return self.adapter.pack(self._parts[""].arrange(observation))
        return self.adapter.pack({key: part.arrange(observation[key]) for key, part in self._parts.items()})

    def undo(self, preprocessed: Tensor | dict[str, Tensor]) -> Tensor:
        """A batch as the policy preprocessed it, packed, on its device."""
        if isinstance(preprocessed, Tensor):
            return self._parts[""].undo(preprocessed)
        parts = [part.undo(preprocessed[key]) for key, part in self._parts.items()]
        return torch.cat([part.reshape(len(part), -1).view(torch.uint8) for part in parts], dim=1)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One array of an observation."""

    space: Space  # of the algorithm
    dtype: torch.dtype  # that the encoder reads
    moves_channels: bool
    scaled: bool  # to [0, 1], by the policy

    def arrange(self, array: Any) -> np.ndarray:
        return np.moveaxis(array, -3, -1) if self.moves_channels else np.asarray(array)

    def undo(self, preprocessed: Tensor) -> Tensor:
        if isinstance(self.space, spaces.Discrete | spaces.MultiDiscrete):
            counts = [int(self.space.n)] if isinstance(self.space, spaces.Discrete) else self.space.nvec.tolist()
            chosen = [one_hot.argmax(1) for one_hot in preprocessed.flatten(1).split(counts, dim=1)]
            return torch.stack(chosen, dim=1).reshape(-1, *(self.space.shape or ())).to(self.dtype)
        raw = self._pixels(preprocessed) if is_image_space(self.space) else preprocessed
        raw = raw.movedim(-3, -1) if self.moves_channels else raw
        restored = raw.to(self.dtype).contiguous()
        if not (self.dtype.is_floating_point or is_image_space(self.space)) and (restored != raw).any():
            raise ValueError(
                f"observations of {self.space} must be as the environment gave them, got {raw.min().item():g} to "
                f"{raw.max().item():g}; VecNormalize makes fractions of whole numbers: norm_obs=False leaves them"
            )
        return restored

    def _pixels(self, image: Tensor) -> Tensor:
        value = image * 255 if self.scaled else image
        whole = value.round()
        if (value - whole).abs().amax() > ROUNDING or whole.amax() > 255:
            expected = "[0, 1], in steps of 1 / 255" if self.scaled else "0..255"
            raise ValueError(
                f"images must have values in {expected}, got up to {image.amax().item()}; "
                "is the policy's normalize_images that of the features extractor?"
            )
        return whole


def _read_or_recall(run: str | Path, observation_space: Space) -> TrainedEncoder:
    """Read a run, or take what was read of it when the algorithm that is being loaded was made.

    Stable-Baselines3 saves ``policy_kwargs`` as they were given, so with the path alone, and builds the policy from them
    before it loads the weights. Of what it saves, only the observation space reaches the extractor: it keeps the encoder.
    """
    kept: dict[str, TrainedEncoder] = vars(observation_space).setdefault("jepa_encoders", {})
    known = kept.get(str(run))
    # The algorithm's weights fit the encoder that came with it, whatever has become of the run since.
    if known is None or (file_of(run).exists() and not known.unpickled):
        kept[str(run)] = TrainedEncoder.read(run)
    return kept[str(run)]


def _channels_last(space: Space) -> Space:
    """The space before ``VecTransposeImage``: a fresh encoder reads images as most environments give them."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _channels_last(part) for key, part in space.items()})
    if not (isinstance(space, spaces.Box) and is_image_space(space) and is_image_space_channels_first(space)):
        return space
    return spaces.Box(np.moveaxis(space.low, 0, -1), np.moveaxis(space.high, 0, -1), dtype=np.uint8)


def _needs_channels_moved(space: Space, encoder_space: Space) -> bool:
    if space == encoder_space:
        return False
    if isinstance(encoder_space, spaces.Box) and is_image_space(encoder_space):
        planes = np.moveaxis(encoder_space.low, -1, 0).shape
        if space == spaces.Box(0, 255, planes, np.uint8):
            return True
    raise _other_space(space, encoder_space)


def _other_space(space: Space, encoder_space: Space) -> ValueError:
    return ValueError(f"the encoder was trained on observations of {encoder_space}, got {space}")


def _fresh_encoder(config: ModelConfig, observations: ObservationAdapter) -> nn.Module:
    # Of the rest of the model, which is dropped, only the width of an action would have to be known.
    return build_world_model(
        config,
        observation=observations.spec,
        action_counts=(),
        box_size=1,
        generator=torch.Generator().manual_seed(int(torch.randint(2**31, ()))),
    ).encoder
