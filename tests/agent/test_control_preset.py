"""One preset for observations that are vectors, whatever the actions."""

import dataclasses

import pytest

from jepa_rl.agent import JEPAAgent, preset


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1", "MountainCarContinuous-v0", "Acrobot-v1"])
def test_one_preset_serves_box_and_finite_actions(env_id):
    whole = preset("control").agent
    quick = dataclasses.replace(whole.training, starts=16, batch_size=4, updates_per_step=0.25)
    config = dataclasses.replace(whole, training=quick, exploration=dataclasses.replace(whole.exploration, warmup=16))
    agent = JEPAAgent(config, env_id, seed=0).learn(24)
    assert agent._n_updates == 2
    assert (agent.model.policy is None) == bool(agent.action_adapter.counts)
