"""The one place where an imagined trajectory is scored."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jepa_rl.planners.actions import ActionSpec
from jepa_rl.planners.types import LatentModel, ProposingModel

ROUNDING = 1e-3  # by which a probability may leave [0, 1]: what half precision makes of one


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """N imagined trajectories, all of the same length t.

    With r and c the model's rewards and continuation probabilities, the return of a whole one of length H is::

        sum_t discount^t (c_0 ... c_{t-1}) r_t  +  discount^H (c_0 ... c_{H-1}) value(last latent)

    so the reward of a terminating transition counts and nothing after it does.
    """

    latent: Tensor  # [N, D], where the trajectories are
    imagined_return: Tensor  # [N], the sum so far
    weight: Tensor  # [N], of what follows: discount^t times the probability that the episode is still going

    @classmethod
    def start(cls, latent: Tensor) -> Rollout:
        """Begin at the latents [N, D]."""
        require_latents(latent)
        _require_finite("latent", latent)
        zero = torch.zeros(len(latent), device=latent.device)  # float32, whatever the precision of the latents
        return cls(latent=latent, imagined_return=zero, weight=torch.ones_like(zero))

    def branch(self, count: int) -> Rollout:
        """Copy every trajectory ``count`` times, [N * count]; copies of one lie side by side."""
        return Rollout(
            latent=_repeat_rows(self.latent, count),
            imagined_return=_repeat_rows(self.imagined_return, count),
            weight=_repeat_rows(self.weight, count),
        )

    def advance(self, model: LatentModel, action: Tensor, discount: float) -> Rollout:
        """Take one imagined step with the actions [N, ...].

        Raises FloatingPointError when a reward or a continuation probability is not finite, TypeError and ValueError for a
        step that is not as ``LatentModel`` says.
        """
        latent, reward, continuation = _three_tensors(model.step(self.latent, action))
        if latent.shape != self.latent.shape:
            raise ValueError(f"imagined next latents must have shape {list(self.latent.shape)}, got {list(latent.shape)}")
        self._check("reward", reward)
        self._check_probability("continuation", continuation)
        return Rollout(
            latent=latent,
            imagined_return=self.imagined_return + self.weight * reward,
            weight=self.weight * discount * continuation,
        )

    def finish(self, model: LatentModel) -> Tensor:
        """Close the trajectories with the model's value of where they end; return their returns [N].

        Raises FloatingPointError when a last latent, a value or a return is not finite.
        """
        # Asked once, at the end: latents are many numbers, and a broken one goes on to the last.
        _require_finite("latent", self.latent)
        value = model.value(self.latent)
        self._check("value", value)
        total = self.imagined_return + self.weight * value
        self._check("return", total)
        return total

    def finish_by(self, action_value: Tensor) -> Tensor:
        """The returns [N, A] of going on with each of A actions that are worth ``action_value`` [N, A] where they start."""
        return self.imagined_return.unsqueeze(1) + self.weight.unsqueeze(1) * action_value

    def _check(self, name: str, term: Tensor) -> None:
        self._check_shape(name, term)
        _require_finite(name, term)

    def _check_probability(self, name: str, term: Tensor) -> None:
        self._check_shape(name, term)
        # What is not finite is no equal of its clamp either: one question for both, at every imagined step.
        if (term.clamp(-ROUNDING, 1 + ROUNDING) != term).any():
            _require_finite(name, term)
            extremes = f"[{term.min().item()}, {term.max().item()}]"
            raise ValueError(f"imagined {name} must lie in [0, 1], got values in {extremes}")

    def _check_shape(self, name: str, term: Tensor) -> None:
        if term.shape != self.weight.shape:  # [N, 1] would broadcast in silence
            raise ValueError(f"imagined {name} must have shape {list(self.weight.shape)}, got {list(term.shape)}")


def score(model: LatentModel, latent: Tensor, actions: Tensor, discount: float) -> Tensor:
    """Return the imagined returns [B, M] of M action sequences [B, M, H, ...] from each of the latents [B, D]."""
    return _play(model, latent, actions.shape[1], actions.shape[2], lambda t, _: actions[:, :, t], discount)


def score_beside_proposals(
    model: LatentModel,
    latent: Tensor,
    actions: Tensor,
    *,
    space: ActionSpec,
    count: int,
    discount: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Score sequences as ``score`` does and, beside them, let the model act by itself ``count`` times from each latent.

    Returns the actions [B, M + count, H, ...], the model's own last, and their imagined returns [B, M + count]. Raises
    TypeError for a model that proposes nothing, FloatingPointError where a proposed action is not finite, and ValueError
    where it is none of ``space``.
    """
    if not isinstance(model, ProposingModel):
        raise TypeError(f"proposals need a model with propose(latent, generator), got {type(model).__name__}")
    batch_size, given, horizon = actions.shape[:3]
    followed: list[Tensor] = []

    # All in one batch: in a network of this size a step of few trajectories takes nearly as long as one of many.
    def act(t: int, at: Tensor) -> Tensor:
        undecided = at.unflatten(0, (batch_size, given + count))[:, given:].flatten(0, 1)
        own = model.propose(undecided, generator)
        _require_finite("proposal", own)
        # A model of one dimension does not know whether the space has an axis for it.
        if own.shape[:1] == undecided.shape[:1] and own[0].numel() == math.prod(space.shape):
            own = own.reshape(len(own), *space.shape)
        space.check("imagined proposals", own, (len(undecided),))
        followed.append(torch.cat([actions[:, :, t], own.unflatten(0, (batch_size, count))], dim=1))
        return followed[-1]

    returns = _play(model, latent, given + count, horizon, act, discount)
    return torch.stack(followed, dim=2), returns


def _play(
    model: LatentModel,
    latent: Tensor,
    count: int,
    horizon: int,
    act: Callable[[int, Tensor], Tensor],
    discount: float,
) -> Tensor:
    """Imagine ``count`` trajectories from each of the latents [B, D]; return their returns [B, count].

    ``act`` says what to do, [B, count, ...], at step t where the trajectories are at the latents [B * count, D].
    """
    rollout = Rollout.start(latent).branch(count)
    for t in range(horizon):
        rollout = rollout.advance(model, act(t, rollout.latent).flatten(0, 1), discount)
    return rollout.finish(model).view(len(latent), count)


def require_latents(latent: Tensor) -> None:
    """Raise ValueError unless these are latents [B, D]: of a single one [D] every number would be planned from."""
    if latent.dim() != 2:
        raise ValueError(f"latents must have shape [B, D], got {list(latent.shape)}")


def _three_tensors(step: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What a model's step returned; TypeError unless it is three tensors, the last two of floats."""
    parts = step if isinstance(step, tuple | list) else (step,)
    tensors = len(parts) == 3 and all(isinstance(part, Tensor) for part in parts)
    if not tensors or not all(part.is_floating_point() for part in parts[1:]):  # the states of a table may be whole numbers
        kinds = [str(part.dtype) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
        expected = "three tensors (next latents; rewards and continuation probabilities as floats)"
        raise TypeError(f"a model's step must return {expected}, got ({', '.join(kinds)})")
    return parts[0], parts[1], parts[2]


def _repeat_rows(rows: Tensor, count: int) -> Tensor:
    return rows.unsqueeze(1).expand(-1, count, *rows.shape[1:]).flatten(0, 1)


def _require_finite(name: str, term: Tensor) -> None:
    # x - x is 0, or NaN where x is not finite: half the kernels of isfinite, and a search asks at every imagined step.
    if (term - term).any():
        broken = int((~torch.isfinite(term)).sum())
        raise FloatingPointError(f"imagined {name} is not finite in {broken} of {term.numel()} entries")
