"""``jepa-rl benchmark``: the agent beside model-free baselines and beside itself with other gates, in one harness."""

from __future__ import annotations

from collections.abc import Sequence

from jepa_rl.scripts.studies import run_study

BENCHMARKS = {
    "control": ("control_benchmark", "sample efficiency of control from vectors, beside SAC, PPO and DQN"),
    "minigrid": ("minigrid_benchmark", "sample efficiency on MiniGrid, beside PPO and n-step DQN"),
    "anchors": ("anchors_benchmark", "who should train the encoder, and whether merged states explain failing"),
}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    run_study("benchmark", BENCHMARKS, arguments)
