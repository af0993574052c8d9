"""Planners on the exact table of a MiniGrid task, followed in the real environment."""

from collections import deque

import numpy as np
import pytest

from jepa_rl.envs.make import make_env
from jepa_rl.envs.tabular import minigrid_table
from jepa_rl.planners import DiscreteActions, PlannerConfig, make_planner

DISCOUNT = 0.95
SEED = 3


def fewest_steps(table):
    """From the start to the goal, by breadth-first search."""
    steps, queue = {table.start: 0}, deque([table.start])
    while queue:
        state = queue.popleft()
        if table.success[state].any():
            return steps[state] + 1
        for following in table.transition[state].tolist():
            if following not in steps:
                steps[following] = steps[state] + 1
                queue.append(following)
    raise AssertionError("the goal cannot be reached")


def values(table):
    """Of every state under the best policy, by value iteration."""
    value = np.zeros(len(table.label))
    for _ in range(100):
        value = (table.reward + DISCOUNT * ~table.terminated * value[table.transition]).max(1)
    return value


@pytest.mark.parametrize("kind", ["exhaustive", "cem"])
def test_a_planner_fetches_the_key_and_opens_the_door_in_the_fewest_steps(kind, tabular_model, generator):
    env = make_env("MiniGrid-DoorKey-5x5-v0")
    table = minigrid_table(env, seed=SEED)
    space = DiscreteActions(table.transition.shape[1])
    model = tabular_model(
        space=space,
        next_state=table.transition,
        reward=table.reward,
        continuation=1.0 - table.terminated,
        state_value=values(table),
    )
    planner = make_planner(PlannerConfig(kind=kind, horizon=2, samples=512), space, DISCOUNT)
    expected = fewest_steps(table)
    assert expected >= 8  # to the key, to the door, through it, to the goal
    env.reset(seed=SEED)
    state = table.start
    for step in range(expected):
        action = int(planner.plan(model, model.latents(state), generator=generator).action)
        state = int(table.transition[state, action])
        _, reward, terminated, _, info = env.step(action)
        assert terminated == (step == expected - 1)
    assert info["success"]
    assert reward > 0


@pytest.mark.parametrize(
    ("kind", "horizon", "arrives"), [("exhaustive", 2, True), ("cem", 2, True), ("exhaustive", 1, False)]
)
def test_a_planner_sees_as_far_as_its_horizon(kind, horizon, arrives, tabular_model, generator):
    """The values end two steps before the goal's light reaches the agent: only who looks two steps ahead gets there."""
    table = minigrid_table(make_env("MiniGrid-DoorKey-5x5-v0"), seed=SEED)
    value, swept = np.zeros(len(table.label)), []
    while not value[table.start]:  # swept[n] knows of the goal up to n steps from it
        swept.append(value)
        value = (table.reward + DISCOUNT * ~table.terminated * value[table.transition]).max(1)
    space, state = DiscreteActions(table.transition.shape[1]), table.start
    model = tabular_model(
        space=space,
        next_state=table.transition,
        reward=table.reward,
        continuation=1.0 - table.terminated,
        state_value=value,
    )
    planner = make_planner(PlannerConfig(kind=kind, horizon=horizon, samples=512), space, DISCOUNT)
    for left in range(len(swept), 0, -1):
        model.state_value = swept[max(left - 2, 0)]
        action = int(planner.plan(model, model.latents(state), generator=generator).action)
        done, state = bool(table.success[state, action]), int(table.transition[state, action])
    assert done == arrives
