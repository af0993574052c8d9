"""The world model: parameters and what they compute. Losses live in losses.py, who trains what in objective.py."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jepa_rl.world_model.auxiliaries import build_auxiliary
from jepa_rl.world_model.config import ModelConfig
from jepa_rl.world_model.dynamics import ActionEncoder, LatentDynamics
from jepa_rl.world_model.encoder_config import Precision
from jepa_rl.world_model.encoders import (
    GridEncoder,
    ImageEncoder,
    ImageFormat,
    OneHotEncoder,
    RowEncoder,
    TextEncoder,
    VectorEncoder,
)
from jepa_rl.world_model.heads import ActionValue, CandidateActionValue, begin_near_zero, expectation, mlp, outputs_of
from jepa_rl.world_model.masked import MaskedPredictor, block_shapes
from jepa_rl.world_model.patches import PatchEncoder, patch_grid
from jepa_rl.world_model.spec import ObservationSpec
from jepa_rl.world_model.targets import Likelihood
from jepa_rl.world_model.task_config import RewardInput

MAX_LISTED_ACTIONS = 64
SOBOL_CANDIDATES = 63  # beside the zero action


class WorldModel(nn.Module):
    """Encoder, latent dynamics and heads. Answers a planner's questions (``step``, ``value``).

    Heads that are switched off are absent: without a reward head imagined rewards are 0, without a termination head
    imagined episodes go on, without a value head the value beyond the horizon is 0. ``log_variance`` [n] is learned where
    the weights of ``learned_losses`` are.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        encoder_precision: Precision,
        actions: ActionEncoder,
        dynamics: LatentDynamics,
        heads: dict[str, nn.Module],
        reward_input: RewardInput,
        reward_likelihood: Likelihood,
        value_likelihood: Likelihood,
        action_free: bool,
        learned_losses: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.encoder_precision: Precision = encoder_precision
        self.actions = actions
        self.dynamics = dynamics
        self.heads = nn.ModuleDict(heads)
        self.reward_input: RewardInput = reward_input
        self.reward_likelihood: Likelihood = reward_likelihood
        self.value_likelihood: Likelihood = value_likelihood
        self.action_free = action_free
        self.learned_losses = tuple(learned_losses)
        self.log_variance = nn.Parameter(torch.zeros(len(learned_losses))) if learned_losses else None

    def encode(self, observation: Tensor) -> Tensor:
        """Map observations [N, *shape] to latents float32 [N, D]."""
        with self._autocast(observation.device):
            return self.encoder(observation).float()

    def encode_patches(self, observation: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Map images [N, *shape] to the latents of their patches, float32 [N, P, W]; see ``PatchEncoder.tokens``."""
        with self._autocast(observation.device):
            return self.patch_encoder.tokens(observation, hidden).float()

    @property
    def patch_encoder(self) -> PatchEncoder:
        """The encoder, where it is one of patches, without the layer that normalises the latent."""
        encoder = self.encoder[0] if isinstance(self.encoder, nn.Sequential) else self.encoder
        assert isinstance(encoder, PatchEncoder)
        return encoder

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.encoder_precision == "bfloat16")

    def predict(self, latent: Tensor, action: Tensor) -> Tensor:
        """T: map latents [N, D] and actions [N, ...] to next latents [N, D]."""
        encoded = self.actions(action)
        return self.dynamics(latent, torch.zeros_like(encoded) if self.action_free else encoded)

    def rollout(self, latent: Tensor, action: Tensor) -> Tensor:
        """Imagine: latents [B, D] and actions [B, T, ...] to the T following latents [B, T, D]."""
        encoded = self.actions(action.flatten(0, 1)).unflatten(0, action.shape[:2])
        return self.dynamics.rollout(latent, torch.zeros_like(encoded) if self.action_free else encoded)

    def reward_logits(self, latent: Tensor, action: Tensor, next_latent: Tensor) -> Tensor:
        """Outputs [N, k] of the reward head for transitions between latents [N, D]."""
        if self.reward_input == "observation":
            return self.heads["reward"](next_latent)
        return self.heads["reward"](torch.cat([latent, self.actions(action)], dim=1))

    def step(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map latents [N, D] and actions [N, ...] to next latents [N, D], rewards [N], continuation probabilities [N]."""
        following = self.predict(latent, action)
        if "reward" in self.heads:
            reward = expectation(self.reward_logits(latent, action, following), self.reward_likelihood)
        else:
            reward = torch.zeros_like(following[:, 0])
        if "termination" in self.heads:
            continuation = 1 - self.heads["termination"](following).squeeze(1).sigmoid()
        else:
            continuation = torch.ones_like(reward)
        return following, reward, continuation

    def action_value_logits(self, latent: Tensor, action: Tensor) -> Tensor:
        """Outputs [N, k] of the value head for actions [N, ...]."""
        head = self.heads["value"]
        encoded = action if isinstance(head, ActionValue) else self.actions(action)
        return head(latent, encoded)

    def value(self, latent: Tensor) -> Tensor:
        """Map latents [N, D] to max_a Q(z, a), [N]."""
        if "value" not in self.heads:
            return torch.zeros_like(latent[:, 0])
        return self.action_values(latent).amax(1)

    def action_values(self, latent: Tensor) -> Tensor:
        """Map latents [N, D] to Q(z, a), [N, A]: of every action where they can be listed, else of candidates.

        Raises ValueError where the value head is switched off.
        """
        if "value" not in self.heads:
            raise ValueError("action values need a value head: model.value.weight must be positive, got 0")
        return expectation(self._value_head.all(latent), self.value_likelihood)

    def values(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents [B, T + 1, D] and the actions [B, T, ...] taken at all but the last to max_a Q(z, a), [B, T + 1], and
        to Q of those actions, [B, T]."""
        head, likelihood = self._value_head, self.value_likelihood
        every = self.action_values(latent.flatten(0, 1)).unflatten(0, latent.shape[:2])
        if isinstance(head, ActionValue):
            taken = every[:, :-1].gather(2, action.unsqueeze(2)).squeeze(2)
        else:
            logits = self.action_value_logits(latent[:, :-1].flatten(0, 1), action.flatten(0, 1))
            taken = expectation(logits, likelihood).unflatten(0, action.shape[:2])
        return every.amax(2), taken

    @property
    def _value_head(self) -> ActionValue | CandidateActionValue:
        head = self.heads["value"]
        assert isinstance(head, ActionValue | CandidateActionValue)
        return head


def build_world_model(
    config: ModelConfig,
    *,
    observation: ObservationSpec,
    action_counts: Sequence[int],
    box_size: int,
    generator: torch.Generator,
) -> WorldModel:
    """A freshly initialised world model; ``generator`` decides every initial weight.

    Actions have ``action_counts`` choices per discrete dimension, or are vectors of ``box_size`` numbers in [-1, 1].
    """
    observation = observation.within(config.encoder.vocabulary)
    seed = int(torch.randint(2**31, (), generator=generator))
    # torch's layers initialise from the global generator; forking keeps that from leaking into the caller's program.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        actions = ActionEncoder(counts=action_counts, box_size=box_size)
        encoder = _encoder(config, observation)
        if config.encoder.layer_norm:
            encoder = nn.Sequential(encoder, nn.LayerNorm(config.latent_dim))
        return WorldModel(
            encoder=encoder,
            encoder_precision=config.encoder.precision,
            actions=actions,
            dynamics=LatentDynamics(
                latent_dim=config.latent_dim,
                action_width=actions.width,
                hidden=config.dynamics.hidden,
                layer_norm=config.encoder.layer_norm,
            ),
            # The predictor comes last, so that with and without it every other part begins with the same weights.
            heads=_heads(config, observation, actions) | _masked_predictor(config, observation),
            reward_input=config.reward.input,
            reward_likelihood=config.reward.likelihood,
            value_likelihood=config.value.likelihood,
            action_free=config.dynamics.action_free,
            learned_losses=config.learned_losses,
        )


def _encoder(config: ModelConfig, observation: ObservationSpec) -> nn.Module:
    choice, latent_dim = config.encoder, config.latent_dim
    if observation.kind == "image":
        images = ImageFormat(shape=observation.shape, contrast=choice.contrast, low=observation.low, high=observation.high)
        if choice.image_encoder == "patches":
            return PatchEncoder(
                images=images,
                size=choice.patches.size,
                width=choice.patches.width,
                depth=choice.patches.depth,
                heads=choice.patches.heads,
                latent_dim=latent_dim,
            )
        return ImageEncoder(images=images, convolutions=choice.convolutions, latent_dim=latent_dim)
    if observation.kind == "grid":
        return GridEncoder(
            shape=observation.shape,
            symbols=observation.counts,
            kind=choice.grid_encoder,
            embedding=choice.embedding,
            hidden=choice.hidden,
            latent_dim=latent_dim,
        )
    if observation.kind == "onehot":
        return OneHotEncoder(
            counts=observation.counts, starts=observation.starts, hidden=choice.hidden, latent_dim=latent_dim
        )
    if observation.kind == "text":
        return TextEncoder(hidden=choice.hidden, latent_dim=latent_dim)
    if observation.kind == "row":
        parts = [(_encoder(config, part), getattr(torch, part.dtype), part.shape) for part in observation.parts]
        return RowEncoder(parts=parts, latent_dim=latent_dim)
    size = int(torch.Size(observation.shape).numel())
    return VectorEncoder(size=size, hidden=choice.hidden, latent_dim=latent_dim, wide=observation.wide)


def _heads(config: ModelConfig, observation: ObservationSpec, actions: ActionEncoder) -> dict[str, nn.Module]:
    latent_dim = config.latent_dim
    heads: dict[str, nn.Module] = {}
    if config.reward.weight:
        inputs = latent_dim + (actions.width if config.reward.input == "transition" else 0)
        heads["reward"] = reward = mlp(inputs, config.reward.hidden, outputs_of(config.reward.likelihood))
        if config.reward.likelihood == "signed_bernoulli":
            begin_near_zero(reward)
    if config.value.weight:
        heads["value"] = value = _value_head(config, actions)
        if config.value.likelihood == "signed_bernoulli":
            begin_near_zero(value.net)
    if config.termination.weight:
        heads["termination"] = mlp(latent_dim, config.termination.hidden, 1)
    for task in config.auxiliaries:
        if task.weight:
            heads[task.target] = build_auxiliary(task, latent_dim=latent_dim, observation=observation, actions=actions)
    return heads


def _masked_predictor(config: ModelConfig, observation: ObservationSpec) -> dict[str, nn.Module]:
    masked, patches = config.masked, config.encoder.patches
    if not masked.weight:
        return {}
    if observation.kind != "image":
        raise ValueError(f"model.masked.weight needs an observation of one image, got one of kind {observation.kind!r}")
    grid = patch_grid(observation.shape, patches.size)
    block_shapes(grid, scale=masked.scale, aspect=masked.aspect, blocks=masked.blocks)  # raises where the update would
    predictor = MaskedPredictor(
        grid=grid, patch_width=patches.width, width=masked.width, depth=masked.depth, heads=masked.heads
    )
    return {"masked": predictor}


def _value_head(config: ModelConfig, actions: ActionEncoder) -> ActionValue | CandidateActionValue:
    size = {"hidden": config.value.hidden, "outputs": outputs_of(config.value.likelihood)}
    if len(actions.counts) == 1:
        return ActionValue(latent_dim=config.latent_dim, count=actions.counts[0], **size)
    return CandidateActionValue(latent_dim=config.latent_dim, candidates=_candidates(actions), **size)


def _candidates(actions: ActionEncoder) -> Tensor:
    """Encoded actions [P, width] over which a state's value is the maximum."""
    if not actions.counts:
        sobol = torch.quasirandom.SobolEngine(actions.width, scramble=True, seed=0).draw(SOBOL_CANDIDATES)
        return torch.cat([torch.zeros(1, actions.width), 2 * sobol - 1])
    if int(torch.Size(actions.counts).numel()) <= MAX_LISTED_ACTIONS:
        return actions(torch.cartesian_prod(*[torch.arange(count) for count in actions.counts]))
    sobol = torch.quasirandom.SobolEngine(len(actions.counts), scramble=True, seed=0).draw(MAX_LISTED_ACTIONS)
    return actions((sobol * torch.tensor(actions.counts)).long())
