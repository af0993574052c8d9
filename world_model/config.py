"""What a world model is made of and which loss trains which part."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from jepa_rl.world_model.targets import (
    FUNCTION_TARGETS,
    INFO,
    NUMBER_TARGETS,
    Likelihood,
    environment_target,
    require_target,
)

EncoderKind = Literal["auto", "vector", "image", "grid"]
ImageEncoderKind = Literal["convolutional", "patches"]
Contrast = Literal["none", "max", "standard"]
Precision = Literal["float32", "bfloat16"]
Target = Literal["same", "stop", "ema"]
GridMixing = Literal["convolution", "bag"]
TaskLikelihood = Literal["auto", "gaussian", "bernoulli", "signed_bernoulli", "two_hot"]
RewardInput = Literal["observation", "transition"]
Labels = Literal["all", "acted"]
Weighting = Literal["fixed", "uncertainty", "pcgrad"]


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """The patch encoder of images: a small vision transformer (arXiv:2010.11929)."""

    size: int = 8
    """Side of a patch in pixels; it must divide the image's height and width."""
    width: int = 128
    """Dimension of the latent of one patch."""
    depth: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of each block."""

    def __post_init__(self) -> None:
        _require(self.size >= 1, "model.encoder.patches.size", "at least 1 pixel", self.size)
        _require_transformer("model.encoder.patches", self.width, self.depth, self.heads)


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The encoder E: observation -> latent."""

    kind: EncoderKind = "auto"
    """auto: image for uint8 pixels and for colour planes of other dtypes, vector for other Box spaces; grid must be asked
    for. Every other space has an encoder of its own; in a Dict or Tuple the kind is that of the parts that it fits."""
    hidden: tuple[int, ...] = (256,)
    """Widths of the hidden layers of the vector encoder."""
    convolutions: tuple[tuple[int, int, int, int], ...] = ((32, 4, 4, 0), (64, 3, 2, 1), (64, 3, 1, 1))
    """(channels, kernel, stride, padding) of each layer of the convolutional image encoder, in pixels."""
    image_encoder: ImageEncoderKind = "convolutional"
    """convolutional: the layers of ``convolutions``; patches: the vision transformer of ``patches``."""
    patches: PatchConfig = field(default_factory=PatchConfig)
    contrast: Contrast = "none"
    """Per-image contrast normalisation: divide by the image's maximum (max), or subtract its mean and divide by its
    standard deviation (standard), so that a dim object counts as much as a bright one."""
    mixing: GridMixing = "convolution"
    """How the grid encoder joins cells: by convolutions over summed symbol embeddings, or each symbol of each cell adds a
    vector of its own (bag): a perceptron over one-hot symbols, which takes a fraction of the time and knows no
    translation."""
    embedding: int = 32
    """Width of the summed symbol embeddings of the convolutional grid encoder; the bag has that of ``hidden``."""
    vocabulary: int = 16
    """Symbols of the grid encoder run from 0 to at most vocabulary - 1 in each plane; the space may allow fewer."""
    precision: Precision = "float32"
    """bfloat16: the encoder computes in bfloat16 (autocast), in training as in acting; its weights stay float32."""
    layer_norm: bool = False
    """Normalise the latent. Off where collapse is the subject: it freezes a collapse in place."""


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """The latent dynamics T: (latent, action) -> next latent, and its loss L_dyn."""

    weight: float = 1.0
    """Weight of L_dyn; 0 switches it off (T is then not trained)."""
    trains_encoder: bool = True
    """Whether the gradient of L_dyn reaches the encoder."""
    target: Target = "ema"
    """The branch E(o') of L_dyn: trained too (same; arXiv:2509.12249), stop-gradient (stop), or an EMA copy of E (ema).
    same collapses where the next observation cannot be predicted; ema is the safe choice."""
    scale_free: bool = False
    """Train on L_dyn divided by the variance of the latents, 1 - R^2: the plain loss has no scale anchor, so shrinking
    every latent lowers it, and early in training that outruns a rare auxiliary signal. It keeps latents from collapsing to
    a point even without an auxiliary task, so leave it off where collapse is the subject."""
    hidden: int = 512
    """Width of the hidden layer."""
    action_free: bool = False
    """Predict without seeing the action: the control that shows what conditioning on actions buys."""


@dataclass(frozen=True, kw_only=True)
class MaskedConfig:
    """Masked latent prediction, L_mask: the second JEPA objective, of single images (I-JEPA, arXiv:2301.08243).

    The latents that an EMA copy of the encoder gives the hidden patches are predicted from the visible ones. It needs an
    observation of one image and ``encoder.image_encoder = patches``, and trains neither the latent dynamics nor how patches
    are pooled into the latent: used alone, with ``dynamics.weight = 0``, it leaves the planner nothing to plan with.
    """

    weight: float = 0.0
    """Weight of L_mask; 0 switches it off."""
    trains_encoder: bool = True
    """Whether the gradient of L_mask reaches the encoder."""
    blocks: int = 4
    """Rectangular blocks of patches that are hidden in each image; they may overlap."""
    scale: tuple[float, float] = (0.15, 0.2)
    """Least and greatest area of a block, as a share of the image. All blocks together must stay below 1."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Least and greatest height of a block over its width."""
    width: int = 64
    """Width of the predictor, a transformer narrower than the encoder."""
    depth: int = 2
    """Its blocks."""
    heads: int = 4
    """Attention heads of each block."""

    def __post_init__(self) -> None:
        _require(self.blocks >= 1, "model.masked.blocks", "at least 1", self.blocks)
        _require(0 < self.scale[0] <= self.scale[1] < 1, "model.masked.scale", "increasing, in (0, 1)", self.scale)
        _require(0 < self.aspect[0] <= self.aspect[1], "model.masked.aspect", "increasing and positive", self.aspect)
        _require_transformer("model.masked", self.width, self.depth, self.heads)


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A task on the latent: a head, its loss, and whether that loss trains the encoder."""

    weight: float = 0.0
    """Weight c_p of this task's loss; 0 switches the head off."""
    trains_encoder: bool = True
    """Whether the gradient of this task reaches the encoder."""
    hidden: int = 256
    """Width of the head's hidden layer."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TaskConfig):
    """The reward: of the observation, P(z) = p(o), or of the transition, R(z, a)."""

    weight: float = 1.0
    input: RewardInput = "transition"
    """observation: the head reads the latent of the observation that paid (arXiv:2509.12249's p); transition: (z, a)."""
    likelihood: Likelihood = "gaussian"
    """gaussian: squared error; bernoulli: cross-entropy of a reward in [0, 1]; signed_bernoulli: the same for its positive
    and its negative part, in [-1, 1], which begins near 0 as rare rewards do; two_hot: 101 bins of symlog(reward)."""
    labels: Labels = "all"
    """With input observation, which observations are labelled: all of them, or only those that an action was taken at
    (acted), which leaves out the last of each episode and with it most that paid."""
    label_fraction: float = 1.0
    """Share of the observations whose reward this task gets to know, drawn once for each when it is collected (with input
    transition: of the observations reached). The value's returns are made of every reward all the same."""


@dataclass(frozen=True, kw_only=True)
class ValueConfig(TaskConfig):
    """The action value Q, learned from lambda-returns that bootstrap on an EMA copy of its head."""

    likelihood: Likelihood = "gaussian"
    """As for the reward; bernoulli needs returns in [0, 1], signed_bernoulli in [-1, 1]."""
    trace: float = 1.0
    """lambda: 0 bootstraps after one step, 1 at the end of the training window."""
    gap: float = 0.0
    """Widen the gap between the best action and the others by subtracting this share of max Q(z, .) - Q(z, a) from the
    targets (advantage learning, arXiv:1512.04860): the value of the best stays, and an action that changes nothing, worth
    only a discount less, is no longer lost in the error of the head, where a greedy policy would stay for ever."""
    at_least_outcome: bool = False
    """Raise targets to the return that the episode then had, where it terminated: the best action is worth no less where
    transitions are deterministic, and one success is credited to all of its steps at once (arXiv:1806.05635)."""


@dataclass(frozen=True, kw_only=True)
class TerminationConfig(TaskConfig):
    """The probability that the transition into an observation terminated the episode (a time limit does not)."""


@dataclass(frozen=True, kw_only=True)
class AuxiliaryConfig(TaskConfig):
    """One more auxiliary task, by the name of its target; docs/auxiliary_tasks.md says what each target is."""

    target: str
    """inverse, next_features, reconstruction, random_linear, random_network, constant, shuffled_reward, noise, info:KEY
    (a number that the environment puts into its info), or a name given to ``register_auxiliary``."""
    weight: float = 1.0
    likelihood: TaskLikelihood = "auto"
    """As for the reward, where the target is numbers: constant, shuffled_reward and noise (auto: gaussian), info:KEY (auto:
    two_hot) and registered ones (auto: as registered). The others have one loss each."""
    label_fraction: float = 1.0
    """Share of the observations that are labelled, drawn once for each when it is collected. Of tasks on transitions: the
    observations reached."""
    size: int = 0
    """Outputs of the random function (0: 256), or numbers under info:KEY (0: 1); of other targets always 0."""

    def __post_init__(self) -> None:
        name = f"the auxiliary task {self.target!r}: "
        require_target(self.target)
        _require(self.weight >= 0, f"{name}weight", "at least 0", self.weight)
        _require(self.hidden >= 1, f"{name}hidden", "at least 1", self.hidden)
        _require_fraction(f"{name}label_fraction", self.label_fraction, self.weight)
        environment = environment_target(self.target)
        if environment is None and self.target not in NUMBER_TARGETS:
            _require(self.likelihood == "auto", f"{name}likelihood", "auto", self.likelihood)
        sized = self.target in FUNCTION_TARGETS or self.target.startswith(INFO)
        _require(self.size == 0 or (sized and self.size > 0), f"{name}size", "at least 0" if sized else "0", self.size)

    @property
    def numbers(self) -> int:
        """How many numbers the target of an observation has, where it is numbers."""
        environment = environment_target(self.target)
        if environment is not None:
            return self.size or environment.size
        return self.size or 256 if self.target in FUNCTION_TARGETS else 1

    @property
    def number_likelihood(self) -> Likelihood:
        """The likelihood of a target that is numbers."""
        if self.likelihood != "auto":
            return self.likelihood
        environment = environment_target(self.target)
        return "gaussian" if environment is None else environment.likelihood


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


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The whole world model."""

    latent_dim: int = 128
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
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
        _require(self.latent_dim >= 1, "model.latent_dim", "at least 1", self.latent_dim)
        _require(0 < self.ema_rate <= 1, "model.ema_rate", "in (0, 1]", self.ema_rate)
        _require(0 <= self.value.trace <= 1, "model.value.trace", "in [0, 1]", self.value.trace)
        _require(0 <= self.value.gap < 1, "model.value.gap", "in [0, 1)", self.value.gap)
        _require(self.encoder.vocabulary >= 2, "model.encoder.vocabulary", "at least 2", self.encoder.vocabulary)
        if self.reward.labels == "acted":
            _require(self.reward.input == "observation", "model.reward.input", "observation", self.reward.input)
        _require(bool(self.encoder.convolutions), "model.encoder.convolutions", "at least one layer", "none")
        if self.masked.weight:
            chosen = self.encoder.image_encoder
            _require(chosen == "patches", "model.encoder.image_encoder", "patches with model.masked.weight", chosen)
        weights = {
            "dynamics.weight": self.dynamics.weight,
            "masked.weight": self.masked.weight,
            "reward.weight": self.reward.weight,
            "value.weight": self.value.weight,
            "termination.weight": self.termination.weight,
            "regularizer.variance": self.regularizer.variance,
            "regularizer.covariance": self.regularizer.covariance,
            "regularizer.sigreg": self.regularizer.sigreg,
        }
        for name, weight in weights.items():
            _require(weight >= 0, f"model.{name}", "at least 0", weight)
        _require_fraction("model.reward.label_fraction", self.reward.label_fraction, self.reward.weight)
        twice = [name for name, times in Counter(task.target for task in self.auxiliaries).items() if times > 1]
        _require(not twice, "model.auxiliaries", "of different targets", ", ".join(twice) + " more than once")

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

        sections = {name: opened(getattr(self, name)) for name in ("dynamics", "reward", "value", "termination")}
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
    def needs_ema(self) -> bool:
        """Whether training uses an EMA copy of the model."""
        return self.dynamics.target == "ema" or self.value.weight > 0 or self.masked.weight > 0


def _require(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {got}")


def _require_transformer(name: str, width: int, depth: int, heads: int) -> None:
    _require(depth >= 1, f"{name}.depth", "at least 1", depth)
    _require(heads >= 1, f"{name}.heads", "at least 1", heads)
    # Sine and cosine of a patch's row and of its column take a quarter of the width each.
    _require(width >= 1 and width % 4 == 0, f"{name}.width", "a positive multiple of 4", width)
    _require(width % heads == 0, f"{name}.width", f"a multiple of {name}.heads = {heads}", width)


def _require_fraction(name: str, fraction: float, weight: float) -> None:
    _require(0 <= fraction <= 1, name, "in [0, 1]", fraction)
    _require(fraction > 0 or weight == 0, name, "above 0 where the task has a weight", fraction)
