"""The world model: parameters and what they compute. Losses live in losses.py, who trains what in objective.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from jepa_rl.world_model.dynamics import ActionEncoder, LatentDynamics
from jepa_rl.world_model.encoder_config import Precision
from jepa_rl.world_model.heads import (
    ActionValue,
    CandidateActionValue,
    critic_names,
    expectation,
)
from jepa_rl.world_model.patches import PatchEncoder
from jepa_rl.world_model.policy import GaussianPolicy, softmax_policy
from jepa_rl.world_model.slow_copy import frozen_call
from jepa_rl.world_model.targets import Likelihood
from jepa_rl.world_model.task_config import RewardInput


class WorldModel(nn.Module):
    """Encoder, latent dynamics and heads. Answers a planner's questions (``step``, ``value``, ``propose``).

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
        critics: int = 1,
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
        self.critics = critic_names(critics)
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

    def action_value_logits(self, latent: Tensor, action: Tensor, *, frozen: bool = False) -> Tensor:
        """Outputs [C, N, k] of the C value heads for actions [N, ...]; ``frozen`` heads get no gradient."""
        heads = [self.heads[name] for name in self.critics]
        encoded = action if isinstance(heads[0], ActionValue) else self.actions(action)
        return torch.stack([frozen_call(head, latent, encoded) if frozen else head(latent, encoded) for head in heads])

    def taken_values(self, latent: Tensor, action: Tensor, *, frozen: bool = False) -> Tensor:
        """What the C value heads say of actions [N, ...], [C, N]; ``frozen`` as above."""
        return expectation(self.action_value_logits(latent, action, frozen=frozen), self.value_likelihood)

    def value(self, latent: Tensor) -> Tensor:
        """Map latents [N, D] to the mean over the value heads of Q(z, a), [N], at the best action known.

        That is the policy's, where there is one, otherwise the best of ``action_values``.
        """
        if "value" not in self.heads:
            return torch.zeros_like(latent[:, 0])
        if self.policy is not None:
            return self.taken_values(latent, self.policy.best(latent)).mean(0)
        return self.action_values(latent).amax(1)

    def action_values(self, latent: Tensor) -> Tensor:
        """Map latents [N, D] to Q(z, a), [N, A], mean over the value heads: of every action where they can be listed, else
        of candidates.

        Raises ValueError where the value head is switched off.
        """
        if "value" not in self.heads:
            raise ValueError("action values need a value head: model.value.weight must be positive, got 0")
        return self._listed_values(latent).mean(0)

    @property
    def listed_actions(self) -> int:
        """How many actions ``action_values`` are of; 0 where the value head is switched off."""
        if "value" not in self.heads:
            return 0
        head = self.heads["value"]
        return head.count if isinstance(head, ActionValue) else len(cast(CandidateActionValue, head).candidates)

    def values(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents [B, T + 1, D] and the actions [B, T, ...] taken at all but the last to the values of the latents,
        [B, T + 1], and to Q of those actions, [B, T]."""
        flat = latent.flatten(0, 1)
        if isinstance(self.heads["value"], ActionValue):
            every = self.action_values(flat).unflatten(0, latent.shape[:2])
            return every.amax(2), every[:, :-1].gather(2, action.reshape(*action.shape[:2], 1)).squeeze(2)
        taken = self.taken_values(latent[:, :-1].flatten(0, 1), action.flatten(0, 1)).mean(0)
        return self.value(flat).unflatten(0, latent.shape[:2]), taken.unflatten(0, action.shape[:2])

    @property
    def is_careful(self) -> bool:
        """Whether ``careful_value`` differs from ``value``."""
        return len(self.critics) > 1 or self.policy is not None

    def careful_value(self, latent: Tensor, generator: torch.Generator) -> Tensor:
        """As ``value``, but by the least of the value heads, and at an action drawn from the policy: to bootstrap on."""
        if self.policy is not None:
            return self.taken_values(latent, self.policy.sample(latent, generator)[0]).amin(0)
        return self._listed_values(latent).amin(0).amax(1)

    def _listed_values(self, latent: Tensor) -> Tensor:
        """Q of every listed action, [C, N, count], for latents [N, D]."""
        heads = [self.heads[name] for name in self.critics]
        listed = [head.all(latent) for head in heads if isinstance(head, ActionValue | CandidateActionValue)]
        return expectation(torch.stack(listed), self.value_likelihood)

    @property
    def policy(self) -> GaussianPolicy | None:
        """pi(a | z) of Box actions, where it is switched on."""
        return next((head for head in self.heads.values() if isinstance(head, GaussianPolicy)), None)

    @property
    def can_propose(self) -> bool:
        """Whether there is something to ``propose`` with."""
        return "policy" in self.heads or ("value" in self.heads and bool(self.actions.counts))

    def propose(self, latent: Tensor, generator: torch.Generator) -> Tensor:
        """Draw actions [N, ...] for latents [N, D]: from the policy, or of finite ones from a softmax of Q."""
        if self.policy is not None:
            return self.policy.sample(latent, generator)[0]
        probability = softmax_policy(self.action_values(latent))
        uniform = torch.rand(probability.shape, generator=generator, device=generator.device).to(probability)
        index = (probability / -uniform.log()).argmax(1)  # arrivals at these rates: the first is drawn
        head = self.heads["value"]
        return self.actions.decode(head.candidates[index]) if isinstance(head, CandidateActionValue) else index
