"""What the sampling planners share: scored candidates, the choice among them, and the loop of drawing and refitting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_rl.planners.actions import ActionSpec, BoxActions, require_first_cost
from jepa_rl.planners.distributions import (
    CategoricalSequences,
    GaussianSequences,
    SequenceDistribution,
    boltzmann,
    draw_categorical,
)
from jepa_rl.planners.rollout import score, score_beside_proposals
from jepa_rl.planners.types import LatentModel, Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Guidance:
    """What is known before a search: the previous plan and sequences from elsewhere. B = observations, H = horizon."""

    shifted: Tensor | None  # [B, H - 1, ...], what is left of the previous plan after the step that was taken
    warm: Tensor  # bool[B], rows in which ``shifted`` is to be used
    proposals: Tensor | None  # [B, P, H, ...]

    @classmethod
    def of(
        cls,
        space: ActionSpec,
        *,
        batch_size: int,
        horizon: int,
        warm_start: Tensor | None,
        warm: Tensor | None,
        proposals: Tensor | None,
    ) -> Guidance:
        """Check the arguments of ``Planner.plan``; raise ValueError where shape, dtype or range is wrong."""
        if warm is None:
            warm = torch.ones(batch_size, dtype=torch.bool, device=None if warm_start is None else warm_start.device)
        if warm.shape != (batch_size,) or warm.dtype != torch.bool:
            raise ValueError(f"warm must be torch.bool [{batch_size}], got {warm.dtype} {list(warm.shape)}")
        if warm_start is not None:
            space.check("warm_start", warm_start, (batch_size, horizon))
        if proposals is not None:
            space.check("proposals", proposals, (batch_size, proposals.shape[1], horizon))
        return cls(shifted=None if warm_start is None else warm_start[:, 1:], warm=warm, proposals=proposals)

    def lead(self, sampled: Tensor) -> Tensor:
        """Put the proposals before the sequences [B, M, H, ...], and the shifted plan in place of the first of these.

        The last step of the shifted plan stays as sampled.
        """
        if self.shifted is not None:
            first = sampled[:, 0, :-1]
            warm = self.warm.view(-1, *[1] * (first.dim() - 1))
            sampled[:, 0, :-1] = torch.where(warm, self.shifted, first)
        return sampled if self.proposals is None else torch.cat([self.proposals, sampled], dim=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Scored action sequences. B = observations, M = candidates of each, H = horizon."""

    actions: Tensor  # [B, M, H, ...]
    returns: Tensor  # [B, M]

    @classmethod
    def scored(cls, model: LatentModel, latent: Tensor, actions: Tensor, discount: float) -> Candidates:
        """Imagine the sequences [B, M, H, ...] from the latents [B, D]."""
        return cls(actions=actions, returns=score(model, latent, actions, discount))

    def join(self, other: Candidates) -> Candidates:
        """Put the candidates of another set behind these."""
        return Candidates(
            actions=torch.cat([self.actions, other.actions], dim=1),
            returns=torch.cat([self.returns, other.returns], dim=1),
        )

    def charged(self, first_cost: Tensor | None) -> Candidates:
        """The same candidates, each worth less by the cost [B, A] of its first action; see ``require_first_cost``."""
        if first_cost is None:
            return self
        return Candidates(actions=self.actions, returns=self.returns - first_cost.gather(1, self.actions[:, :, 0]))

    def top(self, count: int) -> Candidates:
        """Keep the best ``count``, best first; of equals the earlier."""
        order = self.returns.argsort(dim=1, descending=True, stable=True)[:, :count]
        rows = torch.arange(len(order), device=order.device).unsqueeze(1)
        return Candidates(actions=self.actions[rows, order], returns=self.returns[rows, order])

    def spread(self, count: int) -> Tensor:
        """Standard deviation of the returns of the first ``count``, [B]; 0 for a single candidate."""
        return self.returns[:, :count].std(dim=1, correction=0)

    def choose(
        self, *, elites: int, temperature: float, generator: torch.Generator, deterministic: bool, spread: Tensor
    ) -> Plan:
        """Take the best candidate, or draw one among the elites with weights exp(return / temperature).

        ``spread`` [B] is that of the candidates which the search began with.
        """
        if deterministic:
            index = self.returns.argmax(dim=1)
        else:
            good = self.returns.masked_fill(~elite_mask(self.returns, elites), -torch.inf)
            index = draw_categorical(boltzmann(good, temperature), 1, generator).squeeze(1)
        rows = torch.arange(len(index), device=index.device)
        return Plan(actions=self.actions[rows, index], value=self.returns[rows, index], spread=spread)


def elite_mask(returns: Tensor, elites: int) -> Tensor:
    """Return which of the returns [B, M] are at least the ``elites``-th best of their row, bool [B, M].

    Ties count as elites: on a flat landscape all do, so that a distribution that is refitted to them stays put.
    """
    return returns >= returns.topk(elites, dim=1).values[:, -1:]


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingPlanner:
    """What every search among drawn sequences has, and how it begins."""

    space: ActionSpec
    horizon: int  # environment steps
    discount: float
    samples: int  # per observation, and iteration where there are several
    proposals: int  # sequences of the model's own choice, beside the first that are drawn
    elites: int
    temperature: float  # units of return

    def begin(
        self,
        model: LatentModel,
        latent: Tensor,
        sequences: Tensor,
        *,
        first_cost: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[Candidates, Tensor]:
        """Score the drawn sequences [B, M, H, ...] and, behind them, the model's own.

        Returns the candidates, their first costs taken off, and the spread [B] of the drawn ones before that.
        """
        if self.proposals:
            actions, returns = score_beside_proposals(
                model,
                latent,
                sequences,
                space=self.space,
                count=self.proposals,
                discount=self.discount,
                generator=generator,
            )
            candidates = Candidates(actions=actions, returns=returns)
        else:
            candidates = Candidates.scored(model, latent, sequences, self.discount)
        return candidates.charged(first_cost), candidates.spread(sequences.shape[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class RefittingPlanner(SamplingPlanner, ABC):
    """Draw sequences, score them, move the distribution to the good ones, repeat; subclasses say which are good."""

    iterations: int
    carried: int  # candidates that stay for the next iteration; at least 1, so that the best is never lost
    momentum: float
    warm_probability: float
    initial_std: float  # action units
    min_std: float  # action units

    @abstractmethod
    def weigh(self, returns: Tensor) -> Tensor:
        """Turn the returns [B, M] into weights [B, M] that sum to 1 per row."""

    @torch.no_grad()
    def plan(
        self,
        model: LatentModel,
        latent: Tensor,
        *,
        generator: torch.Generator,
        warm_start: Tensor | None = None,
        warm: Tensor | None = None,
        proposals: Tensor | None = None,
        first_cost: Tensor | None = None,
        deterministic: bool = True,
    ) -> Plan:
        """Plan from each of the latents [B, D] separately; see ``Planner.plan``.

        The best candidate of all iterations is the plan, or one drawn among the elites of the last iteration.
        """
        require_first_cost(self.space, first_cost, len(latent))
        guidance = Guidance.of(
            self.space, batch_size=len(latent), horizon=self.horizon, warm_start=warm_start, warm=warm, proposals=proposals
        )
        distribution = self._first_distribution(latent, guidance)
        sequences = guidance.lead(distribution.sample(self.samples, generator))
        candidates, spread = self.begin(model, latent, sequences, first_cost=first_cost, generator=generator)
        for _ in range(self.iterations - 1):
            distribution = distribution.refit(candidates.actions, self.weigh(candidates.returns), self.momentum)
            sequences = distribution.sample(self.samples, generator)
            fresh = Candidates.scored(model, latent, sequences, self.discount)
            candidates = candidates.top(self.carried).join(fresh.charged(first_cost))
        return candidates.choose(
            elites=self.elites,
            temperature=self.temperature,
            generator=generator,
            deterministic=deterministic,
            spread=spread,
        )

    def _first_distribution(self, latent: Tensor, guidance: Guidance) -> SequenceDistribution:
        """The uninformed distribution, leaning towards the shifted plan where there is one."""
        batch_size, device = len(latent), latent.device
        distribution: CategoricalSequences | GaussianSequences
        if isinstance(self.space, BoxActions):
            distribution = GaussianSequences.centred(
                self.space,
                batch_size=batch_size,
                horizon=self.horizon,
                std=self.initial_std,
                min_std=self.min_std,
                device=device,
            )
        else:
            distribution = CategoricalSequences.uniform(
                self.space,
                batch_size=batch_size,
                horizon=self.horizon,
                warm_probability=self.warm_probability,
                device=device,
            )
        return distribution if guidance.shifted is None else distribution.warmed(guidance.shifted, guidance.warm)
