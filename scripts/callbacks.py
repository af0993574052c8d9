"""What the command line watches training with."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.logs import ProgressCSV
from jepa_rl.scripts.progress_bar import progress_bar

STDERR = 2  # its file descriptor


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


class Interruption:
    """While it is entered, SIGINT (Ctrl-C) and SIGTERM ask for an end of training instead of ending it in mid-step.

    A second one does what it did before. Signals reach the main thread alone: in another one nothing changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()
        # Not by print, which may be what was interrupted.
        os.write(STDERR, b"\ninterrupted: saving after this step; once more ends at once\n")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


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
