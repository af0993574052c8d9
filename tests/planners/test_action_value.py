"""Acting by the value head: the best action of a known table, and the shares of a draw."""

import math

import pytest
import torch

from jepa_rl.planners import DiscreteActions, MultiDiscreteActions
from jepa_rl.planners.action_value import ActionValuePlanner
from jepa_rl.world_model import ModelConfig, ObservationSpec, ValueConfig, build_world_model

THREE = DiscreteActions(3)
TABLE = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.4, 0.3]])


class Ranked:
    """Q by a table; the latent [1] is the row."""

    def __init__(self, table):
        self.table = table

    def step(self, latent, action):
        raise AssertionError("nothing is imagined")

    value = step

    def action_values(self, latent):
        return self.table[latent[:, 0].long()]


def plan(table, rows, space=THREE, temperature=0.1, **arguments):
    planner = ActionValuePlanner(space=space, temperature=temperature)
    latent = torch.tensor(rows, dtype=torch.float32)[:, None]
    return planner.plan(Ranked(table), latent, generator=torch.Generator().manual_seed(0), **arguments)


def test_the_action_of_the_highest_value_is_taken():
    found = plan(TABLE, [0, 1, 0])
    assert found.actions.tolist() == [[1], [0], [1]]
    assert found.value.tolist() == pytest.approx([0.7, 0.5, 0.7])
    assert found.spread[0].item() == pytest.approx(TABLE[0].std(correction=0).item())


def test_what_an_action_costs_is_taken_off_its_value():
    found = plan(TABLE, [0, 1], first_cost=torch.tensor([[0.0, 0.6, 0.0], [0.0, 0.0, 0.0]]))
    assert found.actions.tolist() == [[2], [0]]
    assert found.value.tolist() == pytest.approx([0.2, 0.5])
    assert found.spread.tolist() == plan(TABLE, [0, 1]).spread.tolist()  # what the model sees, without the cost


def test_joint_actions_are_numbered_as_they_are_enumerated():
    table = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.9, 0.4]])
    assert plan(table, [0], space=MultiDiscreteActions((2, 3))).actions.tolist() == [[[1, 1]]]


def test_a_plan_that_is_drawn_follows_the_weights():
    found = plan(TABLE, [1] * 4000, temperature=0.2, deterministic=False)
    shares = torch.bincount(found.action, minlength=3) / 4000
    weights = [math.exp(value / 0.2) for value in TABLE[1].tolist()]
    assert shares.tolist() == pytest.approx([weight / sum(weights) for weight in weights], abs=0.03)
    assert found.value.tolist() == TABLE[1][found.action].tolist()


def test_values_of_half_precision_are_drawn_from():
    found = plan(TABLE.bfloat16(), [1] * 4000, deterministic=False)  # a uniform number that rounds to 1 is among as many
    assert found.value.dtype == torch.float32
    assert found.action.max() < 3


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match=r"action values must have shape \[1, 4\], got \[1, 3\]"):
        plan(TABLE, [0], space=DiscreteActions(4))
    with pytest.raises(FloatingPointError, match="not finite in 1 entries"):
        plan(torch.tensor([[0.1, torch.nan, 0.2]]), [0])
    planner = ActionValuePlanner(space=THREE, temperature=0.1)
    with pytest.raises(TypeError, match="needs a model with action_values, got object"):
        planner.plan(object(), torch.zeros(1, 1), generator=torch.Generator())


@pytest.mark.parametrize("counts", [(3,), (2, 3)])
def test_the_world_model_ranks_every_action_in_that_order(counts):
    model = build_world_model(
        ModelConfig(latent_dim=4, value=ValueConfig(weight=1.0)),
        observation=ObservationSpec(kind="vector", shape=(2,)),
        action_counts=counts,
        box_size=0,
        generator=torch.Generator().manual_seed(0),
    )
    space = DiscreteActions(*counts) if len(counts) == 1 else MultiDiscreteActions(counts)
    latent = torch.randn(1, 4)
    each = model.taken_values(latent.expand(space.joint_count, -1), space.enumerate())[0]
    assert torch.allclose(model.action_values(latent)[0], each, atol=1e-6)


def test_without_a_value_head_there_is_nothing_to_act_by():
    model = build_world_model(
        ModelConfig(latent_dim=4),
        observation=ObservationSpec(kind="vector", shape=(2,)),
        action_counts=(3,),
        box_size=0,
        generator=torch.Generator().manual_seed(0),
    )
    with pytest.raises(ValueError, match=r"model.value.weight must be positive, got 0"):
        model.action_values(torch.zeros(1, 4))
