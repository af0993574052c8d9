"""``jepa-rl benchmark``: the agent beside model-free baselines and beside itself with other gates, in one harness."""

from __future__ import annotations

from collections.abc import Sequence

from jepa_rl.scripts.studies import run_study

BENCHMARKS = {
    "control": ("control_benchmark", "sample efficiency of control from vectors, beside SAC, PPO and DQN"),
    "minigrid": ("minigrid_benchmark", "sample efficiency on MiniGrid, beside PPO and n-step DQN"),
    "pieces": ("pieces_benchmark", "what each piece of the minigrid preset buys, by switching it off once"),
    "sb3": ("sb3_benchmark", "what the encoder and the imagined environment buy Stable-Baselines3's PPO"),
    "collection": ("collection_benchmark", "steps a second from slow environments, in one process or in several"),
    "anchors": ("anchors_benchmark", "who should train the encoder, and whether merged states explain failing"),
}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    run_study("benchmark", BENCHMARKS, arguments)
