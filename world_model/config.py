"""What a world model is made of and which loss trains which part."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from jepa_rl.world_model.encoder_config import EncoderConfig, MaskedConfig
from jepa_rl.world_model.targets import environment_target
from jepa_rl.world_model.task_config import (
    AuxiliaryConfig,
    PolicyConfig,
    RewardConfig,
    TaskConfig,
    TerminationConfig,
    ValueConfig,
)
from jepa_rl.world_model.validation import require, require_fields, require_task

DynamicsTarget = Literal["same", "stop", "ema"]
Weighting = Literal["fixed", "uncertainty", "pcgrad"]


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """The latent dynamics T: (latent, action) -> next latent, and its loss L_dyn."""

    weight: float = 1.0
    """Weight of L_dyn; 0 switches it off. T is then trained by heads on imagined latents alone, and not at all without."""
    trains_encoder: bool = True
    """Whether the gradient of L_dyn reaches the encoder. Without, none goes back through T: tasks then train the
    encoder on encoded latents alone, not on imagined ones."""
    target: DynamicsTarget = "ema"
    """The branch E(o') of L_dyn: trained too (same; arXiv:2509.12249), stop-gradient (stop), or an EMA copy of E (ema).
    same collapses where the next observation cannot be predicted; ema is the safe choice."""
    scale_free: bool = False
    """Train on L_dyn divided by the variance of the latents, 1 - R^2: the plain loss has no scale anchor, so shrinking
    every latent lowers it, and early in training that outruns a rare auxiliary signal. With target same the variance is
    trained too, which keeps latents from collapsing to a point even without an auxiliary task, so leave it off where
    collapse is the subject. With stop and ema it is the target's and has no gradient: nothing keeps the scale then."""
    hidden: int = 512
    """Width of the hidden layer."""
    action_free: bool = False
    """Predict without seeing the action: the control that shows what conditioning on actions buys."""

    def __post_init__(self) -> None:
        require_fields("model.dynamics.", self)
        require_task("model.dynamics.", self.weight, self.hidden)


@dataclass(frozen=True, kw_only=True)
class RegularizerConfig:
    """Optional regularisers of the encoded latents; 0 switches one off."""

    variance: float = 0.0
    """Weight of VICReg's variance hinge (arXiv:2105.04906)."""
    covariance: float = 0.0
    """Weight of VICReg's covariance penalty."""
    sigreg: float = 0.0
    """Weight of SIGReg, the distance of random projections from a standard Gaussian (arXiv:2511.08544)."""
    sigreg_directions: int = 1024
    """Random unit directions drawn per update."""

    def __post_init__(self) -> None:
        require_fields("model.regularizer.", self)
        for name in ("variance", "covariance", "sigreg"):
            require(getattr(self, name) >= 0, f"model.regularizer.{name}", "at least 0", getattr(self, name))
        require(self.sigreg_directions >= 1, "model.regularizer.sigreg_directions", "at least 1", self.sigreg_directions)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The whole world model."""

    latent_dim: int = 128
    """Numbers in a latent."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    termination: TerminationConfig = field(default_factory=lambda: TerminationConfig(weight=1.0))
    auxiliaries: tuple[AuxiliaryConfig, ...] = ()
    """More tasks, each TARGET or TARGET:OPTION=VALUE,..., as in inverse info:count:weight=0.5,label_fraction=0.1. Targets:
    inverse, next_features, reconstruction, random_linear, random_network, constant, shuffled_reward, noise, info:KEY,
    registered names. Options: weight, likelihood, label_fraction, trains_encoder, hidden, size."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    weighting: Weighting = "fixed"
    """fixed: the losses are added with their weights; uncertainty: from there on the weights of L_dyn and of the tasks are
    learned (arXiv:1705.07115), those of regularisers stay; pcgrad: where the encoder's gradients of two losses oppose each
    other, they are projected before they are added (arXiv:2001.06782)."""
    imagined_heads: bool = True
    """Train the heads on the K-step imagined latents as well as on the encoded ones."""
    ema_rate: float = 0.01
    """Share of the online weights that enters the EMA copy at each update."""

    def __post_init__(self) -> None:
        require_fields("model.", self)
        require(self.latent_dim >= 1, "model.latent_dim", "at least 1", self.latent_dim)
        require(0 < self.ema_rate <= 1, "model.ema_rate", "in (0, 1]", self.ema_rate)
        if self.policy.weight:
            require(self.value.weight > 0, "model.value.weight", "positive with model.policy.weight", self.value.weight)
        if self.masked.weight:
            chosen = self.encoder.image_encoder
            require(chosen == "patches", "model.encoder.image_encoder", "patches with model.masked.weight", chosen)
            require(not self.encoder.own, "model.encoder.own", "empty with model.masked.weight", self.encoder.own)
        twice = [name for name, times in Counter(task.target for task in self.auxiliaries).items() if times > 1]
        require(not twice, "model.auxiliaries", "of different targets", ", ".join(twice) + " more than once")

    @property
    def tasks(self) -> dict[str, TaskConfig]:
        """Every task by the name of its loss, those that are switched off too."""
        sections: dict[str, TaskConfig] = {"reward": self.reward, "value": self.value, "termination": self.termination}
        return sections | {task.target: task for task in self.auxiliaries}

    @property
    def learned_losses(self) -> tuple[str, ...]:
        """The losses in use whose weights are learned."""
        if self.weighting != "uncertainty":
            return ()
        weights = {"dynamics": self.dynamics.weight, **{name: task.weight for name, task in self.tasks.items()}}
        return tuple(name for name, weight in weights.items() if weight)

    def with_open_gates(self) -> ModelConfig:
        """The same, but that the gradient of L_dyn and of every task reaches the encoder."""

        def opened(task: Any) -> Any:
            return dataclasses.replace(task, trains_encoder=True)

        sections = {name: opened(getattr(self, name)) for name in ("dynamics", "masked", "reward", "value", "termination")}
        return dataclasses.replace(self, auxiliaries=tuple(map(opened, self.auxiliaries)), **sections)

    @property
    def label_fractions(self) -> dict[str, float]:
        """The tasks in use that know a part of the observations only, and which part."""
        tasks: list[tuple[str, RewardConfig | AuxiliaryConfig]] = [("reward", self.reward)]
        tasks += [(task.target, task) for task in self.auxiliaries]
        return {name: task.label_fraction for name, task in tasks if task.weight and task.label_fraction < 1}

    @property
    def read_from_environment(self) -> tuple[AuxiliaryConfig, ...]:
        """The tasks in use whose targets come from the environment."""
        return tuple(task for task in self.auxiliaries if task.weight and environment_target(task.target) is not None)

    @property
    def labelled_while_collecting(self) -> tuple[str, ...]:
        """The tasks in use whose labels are read, or hidden in part, when an observation is collected, and not later."""
        return tuple(dict.fromkeys([*(task.target for task in self.read_from_environment), *self.label_fractions]))

    @property
    def needs_ema(self) -> bool:
        """Whether training uses an EMA copy of the model."""
        return self.dynamics.target == "ema" or self.value.weight > 0 or self.masked.weight > 0
