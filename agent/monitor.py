"""Watching for representation collapse while an agent trains."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.agent.jepa_agent import JEPAAgent
from jepa_rl.world_model.diagnostics import CollapseStatistics, collapse_statistics
from jepa_rl.world_model.losses import dynamics_loss

SAMPLES = 256


class CollapseMonitor(BaseCallback):
    """Records effective rank, variance, pairwise distance and normalised L_dyn at each log, and warns of collapse.

    Latents count as collapsed when their variance is below ``min_variance`` or their effective rank below ``min_rank`` at
    ``patience`` logs in a row. ``stop`` ends training then.
    """

    def __init__(
        self, *, min_variance: float = 1e-5, min_rank: float = 1.2, patience: int = 3, stop: bool = False, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        if patience < 1:
            raise ValueError(f"patience must be at least 1 log, got {patience}")
        self.min_variance = min_variance
        self.min_rank = min_rank
        self.patience = patience
        self.stop = stop
        self.collapsed_logs = 0

    @property
    def agent(self) -> JEPAAgent:
        if not isinstance(self.model, JEPAAgent):
            raise TypeError(f"CollapseMonitor watches a JEPAAgent, got {type(self.model).__name__}")
        return self.model

    def _on_rollout_end(self) -> None:
        agent = self.agent
        if not len(agent.replay) or not agent._n_updates:
            return
        found = self._measure()
        for name in found.__slots__:
            if np.isfinite(figure := getattr(found, name)):  # not the normalised loss, where all latents are the same
                self.logger.record(f"collapse/{name}", figure)
        collapsed = found.variance < self.min_variance or found.effective_rank < self.min_rank
        self.collapsed_logs = self.collapsed_logs + 1 if collapsed else 0
        if self.collapsed_logs == self.patience:
            warnings.warn(
                f"the representation has collapsed: latent variance {found.variance:.2g}, effective rank "
                f"{found.effective_rank:.2g} after {self.num_timesteps} steps. Anchor it with an auxiliary task that "
                "trains the encoder (model.reward.weight), a slower target (model.dynamics.target), or a regulariser.",
                stacklevel=2,
            )

    def _on_step(self) -> bool:
        return not (self.stop and self.collapsed_logs >= self.patience)

    @torch.no_grad()
    def _measure(self) -> CollapseStatistics:
        agent = self.agent
        # The batch depends on the moment alone, so that watching neither shifts the run nor differs after a resume.
        rng = np.random.default_rng((agent.seed or 0, agent.num_timesteps))
        batch = agent.replay.sample(SAMPLES, 1, rng).to(agent.device)
        latent, following = agent.model.encode(batch.observation.flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
        imagined = agent.model.predict(latent, batch.action[:, 0])
        loss = dynamics_loss(imagined[:, None], following[:, None], batch.alive)
        return collapse_statistics(latent.cpu().numpy(), loss.item())
