"""What the command line watches training with."""

from __future__ import annotations

from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.interruption import Interruption
from jepa_rl.scripts.logs import ProgressCSV
from jepa_rl.scripts.progress_bar import progress_bar


class TrainingProgress(BaseCallback):
    """A progress bar with success rate, losses and effective rank, as of the last log."""

    def __init__(self, total_timesteps: int) -> None:
        super().__init__()
        self.total_timesteps = total_timesteps

    def _on_training_start(self) -> None:
        self.bar = progress_bar(self.total_timesteps, "step", initial=self.num_timesteps)
        self.num_timesteps_shown = self.num_timesteps

    def _on_step(self) -> bool:
        self.bar.update(self.model.num_timesteps - self.num_timesteps_shown)
        self.num_timesteps_shown = self.model.num_timesteps
        return True

    def _on_rollout_end(self) -> None:
        agent = self.model
        assert isinstance(agent, JEPAAgent)
        shown = {}
        if agent.ep_success_buffer:
            shown["success"] = f"{sum(agent.ep_success_buffer) / len(agent.ep_success_buffer):.2f}"
        for name, mean in agent.training_log.updates.current().items():
            if name.endswith("_loss") and name != "total_loss":
                shown[name.removesuffix("_loss")] = f"{mean:.3f}"
        rank = self.logger.name_to_value.get("collapse/effective_rank")
        if rank:
            shown["rank"] = f"{rank:.1f}"
        self.bar.set_postfix(shown, refresh=False)

    def _on_training_end(self) -> None:
        self.bar.close()


class CheckpointEvery(BaseCallback):
    """Saves the agent, and the log up to there with it, each time ``interval`` environment steps have passed.

    Where an end is asked for by ``interruption``, it saves and ends training.
    """

    def __init__(self, path: Path, interval: int, progress: ProgressCSV, interruption: Interruption) -> None:
        super().__init__()
        if interval < 1:
            raise ValueError(f"checkpoint_interval must be at least 1 environment step, got {interval}")
        self.path = path
        self.interval = interval
        self.progress = progress
        self.interruption = interruption

    def _on_step(self) -> bool:
        agent = self.model
        assert isinstance(agent, JEPAAgent)
        if agent.crossed(self.interval) or self.interruption.asked:
            self.save(agent)
        return not self.interruption.asked

    def save(self, agent: JEPAAgent) -> None:
        """Save now."""
        agent.attachments["progress"] = list(self.progress.rows)
        agent.save(self.path)
