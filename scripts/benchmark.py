"""``jepa-rl benchmark``: the agent beside model-free baselines, in one harness."""

from __future__ import annotations

from collections.abc import Sequence

from jepa_rl.scripts.studies import run_study

BENCHMARKS = {
    "control": ("control_benchmark", "sample efficiency of control from vectors, beside SAC, PPO and DQN"),
    "minigrid": ("minigrid_benchmark", "sample efficiency on MiniGrid, beside PPO and n-step DQN"),
}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    run_study("benchmark", BENCHMARKS, arguments)
