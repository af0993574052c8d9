"""Named settings, one per family of environments; nothing in them depends on a single task."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jepa_rl.agent.config import AgentConfig, ExplorationConfig, ReplayConfig, TrainingConfig
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import (
    AuxiliaryConfig,
    DynamicsConfig,
    EncoderConfig,
    ModelConfig,
    PolicyConfig,
    RewardConfig,
    TerminationConfig,
    ValueConfig,
)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An agent and the run that shows it."""

    env_id: str
    total_timesteps: int
    agent: AgentConfig
    env: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the environment


_MINIGRID = AgentConfig(
    n_envs=4,
    discount=0.97,
    acting_weights="ema",
    model=ModelConfig(
        latent_dim=128,
        encoder=EncoderConfig(kind="grid", grid_encoder="perceptron", hidden=(256,), layer_norm=True),
        dynamics=DynamicsConfig(target="ema", hidden=256),
        reward=RewardConfig(input="observation", likelihood="signed_bernoulli"),
        value=ValueConfig(
            weight=1.0, likelihood="signed_bernoulli", trace=0.9, at_least_outcome=True, gap=0.7, novelty=0.01
        ),
        termination=TerminationConfig(weight=1.0),
        # Before the first reward nothing else keeps observations apart, which exploring in latent space needs.
        auxiliaries=(AuxiliaryConfig(target="random_linear", size=64),),
        ema_rate=0.02,
    ),
    # The best of 49 imagined leaves may be the one whose value errs most: Q at the root tempers that.
    planner=PlannerConfig(kind="exhaustive", horizon=2, trace=0.8, temperature=0.01, revisit_cost=0.1),
    # What MiniGrid pays falls with the time taken, which no observation shows.
    replay=ReplayConfig(capacity=200_000, rewards="sign"),
    # Once something was rewarded, plans explore, whose values count what is new.
    exploration=ExplorationConfig(kind="novelty", warmup=0, epsilon_start=0.1, epsilon_end=0.1),
    training=TrainingConfig(updates_per_step=1.0, starts=500, batch_size=32, transitions=5, learning_rate=1e-3),
)

PRESETS = {
    "default": Preset(env_id="CartPole-v1", total_timesteps=20_000, agent=AgentConfig()),
    "counting": Preset(
        env_id="jepa_rl/Counting-v0",
        total_timesteps=50_000,
        agent=AgentConfig(
            n_envs=16,
            discount=0.9,
            model=ModelConfig(
                latent_dim=256,
                encoder=EncoderConfig(
                    kind="image",
                    convolutions=((32, 4, 4, 0), (64, 3, 2, 1), (32, 3, 1, 1)),
                    contrast="max",
                    precision="bfloat16",
                ),
                dynamics=DynamicsConfig(target="same", scale_free=True, weight=3.0, hidden=256),
                reward=RewardConfig(input="observation", likelihood="bernoulli"),
                # The reward alone anchors the representation; value and termination only read it.
                value=ValueConfig(weight=1.0, trains_encoder=False, likelihood="bernoulli"),
                termination=TerminationConfig(weight=1.0, trains_encoder=False),
            ),
            planner=PlannerConfig(kind="exhaustive", horizon=5, temperature=0.03),
            replay=ReplayConfig(capacity=10_000, prioritised_fraction=0.1),
            exploration=ExplorationConfig(warmup=2_000, epsilon_end=0.5, epsilon_steps=8_000),
            training=TrainingConfig(
                updates_per_step=0.1,
                starts=1_000,
                batch_size=32,
                transitions=2,
                learning_rate=2e-3,
                schedule="cosine",
            ),
        ),
    ),
    "minigrid": Preset(env_id="MiniGrid-DoorKey-5x5-v0", total_timesteps=20_000, agent=_MINIGRID),
    # The same agent on the same view, drawn: nothing but the encoder differs, which begins with the tiles of 8 pixels.
    "minigrid-pixels": Preset(
        env_id="MiniGrid-DoorKey-5x5-v0",
        total_timesteps=20_000,
        env={"pixels": True},
        agent=dataclasses.replace(
            _MINIGRID,
            model=dataclasses.replace(
                _MINIGRID.model,
                encoder=EncoderConfig(kind="image", convolutions=((32, 8, 8, 0), (32, 3, 1, 1)), layer_norm=True),
            ),
            replay=dataclasses.replace(_MINIGRID.replay, capacity=100_000),
        ),
    ),
    "control": Preset(
        env_id="Pendulum-v1",
        total_timesteps=10_000,
        agent=AgentConfig(
            discount=0.99,
            # Once CartPole's pole stands, both actions are worth nearly the same, and which of them the online weights
            # prefer changes from update to update.
            acting_weights="ema",
            model=ModelConfig(
                latent_dim=128,
                encoder=EncoderConfig(hidden=(256,), layer_norm=True, scale_bounded=True),
                dynamics=DynamicsConfig(target="ema", hidden=256),
                reward=RewardConfig(likelihood="two_hot"),
                # One success must outweigh what all the steps before it cost: where actions cost, a policy that has not
                # learned of the goal yet learns to do nothing.
                value=ValueConfig(weight=1.0, likelihood="two_hot", critics=2, at_least_outcome=True),
                policy=PolicyConfig(weight=1.0),
                termination=TerminationConfig(weight=1.0),
                ema_rate=0.02,
            ),
            planner=PlannerConfig(
                horizon=3, samples=64, proposals=16, iterations=3, elites=12, max_leaves=128, temperature=0.5
            ),
            # Pushes that last swing a car out of a valley; single random ones cancel out.
            exploration=ExplorationConfig(
                warmup=1_000, epsilon_start=0.1, epsilon_end=0.02, epsilon_steps=4_000, noise=0.2, repeat=24
            ),
            # Long windows: what a few steps of Acrobot gain is small beside the error of the values that end the targets.
            training=TrainingConfig(updates_per_step=1.0, starts=500, batch_size=32, transitions=6, learning_rate=5e-4),
        ),
    ),
}


def preset(name: str) -> Preset:
    """The preset of this name; ValueError with the nearest names where there is none."""
    if name not in PRESETS:
        if name.endswith("Policy"):
            raise ValueError(f"expected a preset ({', '.join(PRESETS)}) or an AgentConfig, got the policy {name!r}")
        near = difflib.get_close_matches(name, PRESETS) or sorted(PRESETS)
        raise ValueError(f"unknown preset {name!r}; did you mean {' or '.join(near)}?")
    return PRESETS[name]
