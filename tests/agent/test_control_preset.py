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


def test_held_random_pushes_find_the_goal_of_the_continuous_mountain_car_before_the_planner_takes_over():
    """Where pushes cost, nothing but the goal, 100 once, speaks against doing nothing."""
    whole = preset("control").agent
    config = dataclasses.replace(whole, training=dataclasses.replace(whole.training, starts=10_000))
    agent = JEPAAgent(config, "MountainCarContinuous-v0", seed=0).learn(whole.exploration.warmup)
    reward, outcome = (agent.replay.state()[name] for name in ("reward", "outcome"))
    assert reward.max() > 99
    first = reward.argmax()
    assert outcome[first] == reward[first]
    assert outcome[first - 100] == pytest.approx(0.99**100 * 100, abs=0.1 / (1 - 0.99))
