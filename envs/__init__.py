"""Environments of jepa_rl and the wrappers that it needs; importing this package registers ``jepa_rl/Counting-v0``."""

import gymnasium

from jepa_rl.envs.make import make_env

__all__ = ["make_env"]

if "jepa_rl/Counting-v0" not in gymnasium.registry:
    gymnasium.register("jepa_rl/Counting-v0", entry_point="jepa_rl.envs.counting:CountingEnv")
