"""The auxiliary tasks: what each wants to know of the latents, its head, and its loss. B = batch, T = transitions.

A task answers ``forward`` (latents and actions to outputs), ``target`` (drawn once per update; no gradient enters it) and
``loss``. Which of them trains the encoder is decided in objective.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepa_rl.world_model.batch import Batch
from jepa_rl.world_model.decoders import ImageDecoder, SymbolDecoder, VectorDecoder
from jepa_rl.world_model.dynamics import ActionEncoder
from jepa_rl.world_model.encoders import ImageFormat
from jepa_rl.world_model.heads import mlp, negative_log_likelihood, outputs_of, require_targets
from jepa_rl.world_model.losses import latent_variance, masked_mean
from jepa_rl.world_model.random_function import RandomFunction
from jepa_rl.world_model.spec import ObservationSpec
from jepa_rl.world_model.task_config import AuxiliaryConfig

# Keeps the losses that are divided by their targets' variance finite where all targets are the same. Targets whose standard
# deviation is not above its root, 1e-3, count for less than others.
VARIANCE_FLOOR = 1e-6


class AuxiliaryTask(nn.Module, ABC):
    """One task with its head; ``name`` is its target's."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @abstractmethod
    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Map latents [B, T + 1, D] and encoded actions [B, T, width] to [B, T + 1, ...], of transitions [B, T, ...]."""

    @abstractmethod
    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """What the outputs should say."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Mean over the observations that the task may know, a scalar; 0 where there are none."""


class Numbers(AuxiliaryTask):
    """Numbers of each observation, as the environment gave them; the mean loss over them."""

    def __init__(self, config: AuxiliaryConfig, latent_dim: int) -> None:
        super().__init__(config.target)
        self.size, self.likelihood = config.numbers, config.number_likelihood
        self.head = mlp(latent_dim, config.hidden, self.size * outputs_of(self.likelihood))

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.head(latent).unflatten(-1, (self.size, -1))

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        if self.name not in batch.targets:
            raise ValueError(
                f"the batch must hold the targets of the auxiliary task {self.name!r}, got {sorted(batch.targets)}"
            )
        target = batch.targets[self.name]
        if target.shape[2:] != (self.size,):  # one number would be broadcast to many, and many to one
            raise ValueError(
                f"the targets of the auxiliary task {self.name!r} must be {self.size} for each observation, [B, T + 1, "
                f"{self.size}], got {list(target.shape)}"
            )
        return target

    def mask(self, batch: Batch) -> Tensor:
        """bool[B, T + 1]: the observations that the task is trained on."""
        return batch.seen(self.name)

    def loss(self, output: Tensor, target: Tensor, batch: Batch) -> Tensor:
        require_targets(f"the auxiliary task {self.name!r}", target, self.likelihood)
        return masked_mean(negative_log_likelihood(output, target, self.likelihood).mean(-1), self.mask(batch))


class Constant(Numbers):
    """The number 1 for every observation that has a reward label: a task that tells nothing."""

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return torch.ones_like(batch.label).unsqueeze(-1)

    def mask(self, batch: Batch) -> Tensor:
        return batch.seen(self.name) & batch.labelled


class ShuffledReward(Constant):
    """The reward labels of the batch, dealt out anew among its observations."""

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        dealt = self.mask(batch)
        rewards = batch.label[dealt]
        target = torch.zeros_like(batch.label)
        target[dealt] = rewards[torch.randperm(len(rewards), generator=generator).to(rewards.device)]
        return target.unsqueeze(-1)


class Noise(Numbers):
    """A standard normal number for every observation, another one in every update."""

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return torch.randn(*batch.label.shape, 1, generator=generator).to(batch.label.device)


class RandomOutputs(AuxiliaryTask):
    """A frozen random function of the observation; squared error over the variance of its outputs in the batch.

    So a weight means the same whatever the scale of the function, above a standard deviation of about 1e-3.
    """

    def __init__(self, config: AuxiliaryConfig, latent_dim: int, observation: ObservationSpec, extra: int = 0) -> None:
        super().__init__(config.target)
        _require_one_array(config.target, observation)
        function = RandomFunction(
            shape=observation.shape,
            size=config.numbers,
            linear=config.target == "random_linear",
            scale=1 / (observation.high - observation.low) if observation.kind == "image" else 1.0,
            wide=observation.wide,
        )
        self.head = mlp(latent_dim + extra, config.hidden, config.numbers)
        self.function = function

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.head(latent)

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return self.function(batch.observation.flatten(0, 1)).unflatten(0, batch.label.shape)

    def loss(self, output: Tensor, target: Tensor, batch: Batch) -> Tensor:
        return _relative_error((output - target).square().mean(-1), target, batch.seen(self.name), batch.valid)


class NextFeatures(RandomOutputs):
    """A frozen random network of the *next* observation, from the latent and the action; the same loss."""

    def __init__(
        self, config: AuxiliaryConfig, latent_dim: int, observation: ObservationSpec, actions: ActionEncoder
    ) -> None:
        super().__init__(config, latent_dim, observation, extra=actions.width)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.head(torch.cat([latent[:, :-1], action], dim=-1))

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return super().target(batch, generator)[:, 1:]

    def loss(self, output: Tensor, target: Tensor, batch: Batch) -> Tensor:
        return _relative_error((output - target).square().mean(-1), target, batch.seen(self.name)[:, 1:], batch.alive)


class InverseDynamics(AuxiliaryTask):
    """The action between two successive latents: cross-entropy per discrete dimension, squared error for a Box."""

    def __init__(self, config: AuxiliaryConfig, latent_dim: int, actions: ActionEncoder) -> None:
        super().__init__(config.target)
        self.counts = actions.counts
        self.head = mlp(2 * latent_dim, config.hidden, actions.width)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.head(torch.cat([latent[:, :-1], latent[:, 1:]], dim=-1))

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return batch.action.reshape(*batch.alive.shape, -1)

    def loss(self, output: Tensor, target: Tensor, batch: Batch) -> Tensor:
        if self.counts:
            columns = zip(output.split(self.counts, dim=-1), target.unbind(-1), strict=True)
            losses = [functional.cross_entropy(logits.mT, action, reduction="none") for logits, action in columns]
            error = torch.stack(losses).mean(0)
        else:
            error = (output - target).square().mean(-1)
        return masked_mean(error, batch.seen(self.name)[:, 1:])


class Reconstruction(AuxiliaryTask):
    """The observation itself: squared error over its variance in the batch, or cross-entropy of symbols."""

    def __init__(self, config: AuxiliaryConfig, latent_dim: int, observation: ObservationSpec) -> None:
        super().__init__(config.target)
        _require_one_array(config.target, observation)
        self.decoder = _decoder(observation, latent_dim, config.hidden)

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        return self.decoder(latent.flatten(0, 1)).unflatten(0, latent.shape[:2])

    def target(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return self.decoder.target(batch.observation.flatten(0, 1)).unflatten(0, batch.label.shape)

    def loss(self, output: Tensor, target: Tensor, batch: Batch) -> Tensor:
        error = self.decoder.error(output.flatten(0, 1), target.flatten(0, 1)).unflatten(0, batch.label.shape)
        if isinstance(self.decoder, SymbolDecoder):
            return masked_mean(error, batch.seen(self.name))
        return _relative_error(error, target, batch.seen(self.name), batch.valid)


def build_auxiliary(
    config: AuxiliaryConfig,
    *,
    latent_dim: int,
    observation: ObservationSpec,
    actions: ActionEncoder,
) -> AuxiliaryTask:
    """The task of ``config.target``.

    Raises ValueError for a task that cannot be had with such observations.
    """
    numbers = {"constant": Constant, "shuffled_reward": ShuffledReward, "noise": Noise}
    match config.target:
        case "random_linear" | "random_network":
            return RandomOutputs(config, latent_dim, observation)
        case "next_features":
            return NextFeatures(config, latent_dim, observation, actions)
        case "inverse":
            return InverseDynamics(config, latent_dim, actions)
        case "reconstruction":
            return Reconstruction(config, latent_dim, observation)
    return numbers.get(config.target, Numbers)(config, latent_dim)


def _decoder(observation: ObservationSpec, latent_dim: int, hidden: int) -> VectorDecoder | ImageDecoder | SymbolDecoder:
    size = torch.Size(observation.shape).numel()
    if observation.kind == "image":
        images = ImageFormat(shape=observation.shape, contrast="none", low=observation.low, high=observation.high)
        return ImageDecoder(latent_dim=latent_dim, hidden=hidden, images=images)
    if observation.kind == "grid":
        counts = observation.counts * (size // len(observation.counts))
        return SymbolDecoder(latent_dim=latent_dim, hidden=hidden, counts=counts, starts=(0,) * size)
    if observation.kind == "onehot":
        return SymbolDecoder(latent_dim=latent_dim, hidden=hidden, counts=observation.counts, starts=observation.starts)
    return VectorDecoder(latent_dim=latent_dim, hidden=hidden, size=size, wide=observation.wide)


def _relative_error(error: Tensor, target: Tensor, seen: Tensor, valid: Tensor) -> Tensor:
    """Mean of errors [B, T] where ``seen``, over the variance of the targets [B, T, size] where ``valid``.

    The variance is that of all targets: over a few labelled ones it would be near 0 now and then. At less than
    ``VARIANCE_FLOOR`` it counts as that, and the loss is no longer relative.
    """
    return masked_mean(error, seen) / latent_variance(target, valid).clamp(min=VARIANCE_FLOOR)


def _require_one_array(name: str, observation: ObservationSpec) -> None:
    if observation.kind == "row":
        raise ValueError(
            f"the auxiliary task {name!r} needs an observation of one array, not a Dict or Tuple: wrap the environment, as "
            "jepa_rl.envs.make_env does MiniGrid's"
        )
