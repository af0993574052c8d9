"""Planning in imagination: searches over action sequences for anything that answers the questions of ``LatentModel``.

``make_planner(PlannerConfig(...), actions, discount)`` builds one; ``plan`` searches from a batch of latents.
"""

from jepa_rl.planners.action_value import ActionValueModel
from jepa_rl.planners.actions import ActionSpec, BoxActions, DiscreteActions, FiniteActions, MultiDiscreteActions
from jepa_rl.planners.config import PlannerConfig
from jepa_rl.planners.make import make_planner, needs_action_values
from jepa_rl.planners.types import LatentModel, Plan, Planner, ProposingModel

__all__ = [
    "ActionSpec",
    "ActionValueModel",
    "BoxActions",
    "DiscreteActions",
    "FiniteActions",
    "LatentModel",
    "MultiDiscreteActions",
    "Plan",
    "Planner",
    "PlannerConfig",
    "ProposingModel",
    "make_planner",
    "needs_action_values",
]
