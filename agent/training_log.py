"""What a line of the training log shows, summed from one line to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.utils import safe_mean

from jepa_rl.agent.collect import Decision

if TYPE_CHECKING:
    from jepa_rl.agent.jepa_agent import JEPAAgent

LONGEST_NAME = 100  # characters, in the table of figures that verbose=1 prints


def allow_long_names(logger: Logger) -> None:
    """Let a printed table hold names of auxiliary tasks: it takes those with the same first characters for one."""
    for output in logger.output_formats:
        if isinstance(output, HumanOutputFormat):
            output.max_length = max(output.max_length, LONGEST_NAME)


class Means:
    """Running means of named figures."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}  # name -> sum and number of values

    def add(self, means: Mapping[str, float], count: int = 1) -> None:
        """Add means over ``count`` values each."""
        for name, mean in means.items():
            total, number = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + mean * count, number + count

    def current(self) -> dict[str, float]:
        """The means so far, in order of appearance."""
        return {name: total / number for name, (total, number) in self.sums.items()}


class TrainingLog:
    """Collects figures while an agent trains and writes them to its Stable-Baselines3 logger.

    Everything but the times depends on the run alone, so that the log of a resumed run equals that of one that never
    stopped: ``state`` is part of a checkpoint.
    """

    def __init__(self) -> None:
        self.updates = Means()  # of ``Learner.update``
        self.plans = Means()
        self._written_at = {"seconds": 0.0, "steps": 0, "updates": 0}  # of the agent's life, when the last line was written

    def add_decision(self, decision: Decision) -> None:
        """Note the plans of one step of the environments."""
        plan, kept = decision.plan, decision.kept
        self.plans.add(
            {"return": plan.value.mean().item(), "return_spread": plan.spread.mean().item()}, count=len(plan.value)
        )
        if len(kept):
            self.plans.add({"kept_share": float(kept.mean())}, count=len(kept))

    def lacks_steps(self, agent: JEPAAgent) -> bool:
        """Whether steps were taken since the last line."""
        return agent.steps_taken > self._written_at["steps"]

    def write(self, agent: JEPAAgent) -> None:
        """Record a line, write it and begin the next."""
        record = agent.logger.record
        assert agent.ep_info_buffer is not None and agent.ep_success_buffer is not None
        # An environment may put anything under "episode"; only a Monitor's figures are a dict.
        if episodes := [episode for episode in agent.ep_info_buffer if isinstance(episode, dict)]:
            record("rollout/ep_rew_mean", safe_mean([episode["r"] for episode in episodes]))
            record("rollout/ep_len_mean", safe_mean([episode["l"] for episode in episodes]))
        if len(agent.ep_success_buffer):
            record("rollout/success_rate", safe_mean(agent.ep_success_buffer))
        record("rollout/explored_share", agent.collector.explorer.share(agent.num_timesteps))
        for name, mean in self.updates.current().items():
            record(f"train/{name}", mean)
        training = agent.config.training
        record("train/learning_rate", training.learning_rate * training.rate_share(agent._current_progress_remaining))
        record("train/updates", agent._n_updates)
        for name, mean in self.plans.current().items():
            record(f"plan/{name}", mean)
        record("replay/transitions", len(agent.replay))
        record("replay/rewarded_share", agent.replay.rewarded / max(len(agent.replay), 1))
        self._record_pace(agent)
        agent.logger.dump(step=agent.num_timesteps)
        self.updates, self.plans = Means(), Means()

    def _record_pace(self, agent: JEPAAgent) -> None:
        record, before = agent.logger.record, self._written_at
        now = {"seconds": agent.wall_seconds, "steps": agent.steps_taken, "updates": agent._n_updates}
        seconds = now["seconds"] - before["seconds"]
        record("time/episodes", agent._episode_num)
        record("time/total_timesteps", agent.num_timesteps)
        record("time/seconds", now["seconds"])
        for name in ("steps", "updates"):
            record(f"time/{name}_per_second", (now[name] - before[name]) / max(seconds, 1e-9))
        self._written_at = now

    def state(self) -> dict[str, Any]:
        """What ``load_state`` needs, JSON-able."""
        sums = {name: {key: list(pair) for key, pair in getattr(self, name).sums.items()} for name in ("updates", "plans")}
        return {**sums, "written_at": self._written_at}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``."""
        for name in ("updates", "plans"):
            getattr(self, name).sums = {key: (float(total), int(number)) for key, (total, number) in state[name].items()}
        self._written_at = dict(state["written_at"])
