"""The minigrid preset learns: held-out episodes of a small room, sampled and greedy."""

import functools

from jepa_rl.agent import JEPAAgent
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.evaluate import HELDOUT_SEED
from jepa_rl.scripts.minigrid_benchmark.evaluation import HeldOutEpisodes


def test_the_minigrid_preset_learns_the_way_to_the_goal_and_does_not_walk_in_circles():
    factory = functools.partial(make_env, "MiniGrid-Empty-Random-5x5-v0")
    agent = JEPAAgent("minigrid", factory, seed=0, device="cpu").learn(1_200)
    held = HeldOutEpisodes(factory, 20, HELDOUT_SEED)
    for deterministic in (False, True):
        outcome = held.run(agent, deterministic=deterministic)
        assert outcome.success == 1.0
        assert outcome.looped == 0.0
