"""The figures of the training log: known answers, and the same lines from a resumed run."""

import dataclasses

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from jepa_rl.agent import JEPAAgent
from jepa_rl.agent.collect import Collector, Decision
from jepa_rl.agent.config import ExplorationConfig
from jepa_rl.agent.task_targets import TargetReader
from jepa_rl.agent.training_log import Means, TrainingLog
from jepa_rl.planners import Plan

TIMES = ("time/seconds", "time/steps_per_second", "time/updates_per_second")


class Lines(KVWriter):
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def write(self, key_values, key_excluded, step=0):
        self.lines.append(dict(key_values))

    def close(self):
        pass


def logged(agent, steps, log_interval=40, callback=None):
    output = Lines()
    agent.set_logger(Logger(None, [output]))
    agent.learn(steps, callback=callback, log_interval=log_interval, reset_num_timesteps=False)
    return output.lines


@pytest.fixture
def learner_and_batch(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(60)
    return agent.learner, agent.replay.sample(8, 3, np.random.default_rng(0)).to(agent.device)


def with_limit(learner, limit):
    learner._config = dataclasses.replace(
        learner._config, training=dataclasses.replace(learner._config.training, max_gradient_norm=limit)
    )


def norm(parameters):
    return torch.cat([p.grad.flatten() for p in parameters]).norm().item()


def test_gradient_norms_are_those_of_the_parts_and_nothing_is_clipped_below_the_limit(learner_and_batch):
    learner, batch = learner_and_batch
    with_limit(learner, 1e6)
    figures = learner.update(batch, 1.0)
    parts = {"encoder": learner.model.encoder, "dynamics": learner.model.dynamics, **dict(learner.model.heads.items())}
    assert set(parts) == {"encoder", "dynamics", "reward", "value", "termination"}
    for name, part in parts.items():
        assert figures[f"{name}_gradient_norm"] == pytest.approx(norm(part.parameters()), rel=1e-4), name
    assert figures["total_gradient_norm"] == pytest.approx(norm(learner.model.parameters()), rel=1e-4)
    assert figures["clipped_share"] == 0
    assert {name for name in figures if name.endswith("_loss")} == {f"{name}_loss" for name in (*parts, "total")} - {
        "encoder_loss"
    }


def test_norms_are_taken_before_clipping(learner_and_batch):
    learner, batch = learner_and_batch
    with_limit(learner, 1e-3)
    figures = learner.update(batch, 1.0)
    assert figures["clipped_share"] == 1
    assert norm(learner.model.parameters()) == pytest.approx(1e-3, rel=1e-2)
    total = sum(value**2 for name, value in figures.items() if name.endswith("_norm") and name != "total_gradient_norm")
    assert figures["total_gradient_norm"] == pytest.approx(total**0.5, rel=1e-4)
    assert figures["total_gradient_norm"] > 0.01


def test_every_figure_has_its_own_number_of_values():
    means = Means()
    means.add({"a": 1.0, "b": 4.0})
    means.add({"a": 3.0})
    means.add({"a": 5.0}, count=2)
    assert means.current() == {"a": 14 / 4, "b": 4.0}


def test_plans_count_by_environment_and_kept_ones_among_the_warm():
    log = TrainingLog()
    for values, kept in (([1.0, 2.0, 6.0], [True]), ([7.0], [False, True, True])):
        plan = Plan(actions=torch.zeros(len(values), 2), value=torch.tensor(values), spread=torch.full((len(values),), 0.5))
        log.add_decision(Decision(plan=plan, kept=np.array(kept, bool)))
    assert log.plans.current() == pytest.approx({"return": 4.0, "return_spread": 0.5, "kept_share": 0.75})


@pytest.fixture
def collector(small_config, clock_env):
    """Of four environments whose plans [4, horizon] are dealt from a list; all act by plan."""

    def make(plans, horizon):
        exploration = ExplorationConfig(warmup=0, epsilon_start=0.0, epsilon_end=0.0)
        agent = JEPAAgent(
            dataclasses.replace(small_config, exploration=exploration),
            DummyVecEnv([lambda name=name: clock_env(name, length=9) for name in range(4)]),
            seed=0,
        )
        dealt = iter(plans)

        def decide(observation, previous, warm, memories):
            actions = torch.tensor(next(dealt))
            return Plan(actions=actions, value=torch.zeros(4), spread=torch.zeros(4))

        made = Collector(
            venv=agent.env,
            replay=agent.replay,
            observations=agent.observation_adapter,
            actions=agent.action_adapter,
            explorer=agent.collector.explorer,
            streams=agent.streams,
            target_reader=TargetReader(agent.config.model, agent.observation_adapter, agent.streams),
            decide=decide,
            horizon=horizon,
        )
        made.begin(agent.env.reset())
        return made

    return make


def test_a_plan_is_kept_where_the_action_is_what_the_previous_plan_had_for_this_step(collector):
    collector = collector([[[0, 1], [0, 1], [2, 2], [1, 0]], [[1, 0], [0, 0], [2, 0], [0, 1]]], horizon=2)
    assert collector.step(0).decision.kept.tolist() == []
    collector.warm[1] = False
    assert collector.step(4).decision.kept.tolist() == [True, True, True]
    assert collector.plan.tolist() == [[1, 0], [0, 0], [2, 0], [0, 1]]


def test_plans_of_one_step_have_nothing_to_keep(collector):
    collector = collector([[[0], [0], [0], [0]]] * 2, horizon=1)
    assert [collector.step(step).decision.kept.tolist() for step in (0, 4)] == [[], []]


def test_a_line_holds_what_a_practitioner_looks_for(small_config, clock_env):
    lines = logged(JEPAAgent(small_config, clock_env, seed=0), 200)
    assert [line["time/total_timesteps"] for line in lines] == [40, 80, 120, 160, 200]
    last = lines[-1]
    assert last["train/updates"] == (198 - 20) * 0.5  # those due before the last step of two environments
    assert last["time/episodes"] == 2 * (100 // 3)
    assert last["replay/transitions"] == 200
    assert last["replay/rewarded_share"] == 1
    assert last["plan/return_spread"] > 0
    assert 0 < last["plan/kept_share"] <= 1
    assert last["train/encoder_gradient_norm"] > 0
    assert last["rollout/explored_share"] == pytest.approx(0.2)
    steps, seconds = zip(*((line["time/total_timesteps"], line["time/seconds"]) for line in lines[-2:]), strict=True)
    assert last["time/steps_per_second"] == pytest.approx((steps[1] - steps[0]) / (seconds[1] - seconds[0]))
    assert last["time/updates_per_second"] == pytest.approx(last["time/steps_per_second"] / 2)


def test_the_share_of_rewarded_transitions_is_that_of_the_replay(small_config):
    agent = JEPAAgent(small_config, "MountainCarContinuous-v0", seed=0)  # pays minus the squared force
    agent.learn(60)
    agent.replay.add(
        action=np.zeros((2, 1), np.float32),
        reward=np.zeros(2),
        terminated=np.zeros(2, bool),
        truncated=np.zeros(2, bool),
        next_observation=np.zeros((2, 2), np.float32),
        reset_observation=np.zeros((2, 2), np.float32),
    )
    assert (len(agent.replay), agent.replay.rewarded) == (62, 60)


def test_a_resumed_run_writes_the_same_lines(with_planner, tmp_path):
    """The checkpoint lies between two lines, so that what was summed before it counts."""

    class SaveAt(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 110:
                self.model.save(tmp_path / "a")
            return True

    whole = logged(JEPAAgent(with_planner("cem"), "CartPole-v1", seed=3), 160, callback=SaveAt())
    resumed = logged(JEPAAgent.load(tmp_path / "a", "CartPole-v1"), 50)
    assert len(resumed) == 2
    for line, again in zip(whole[2:], resumed, strict=True):
        assert {n: v for n, v in line.items() if n not in TIMES} == {n: v for n, v in again.items() if n not in TIMES}


def test_the_end_of_a_run_is_logged_once_and_only_where_it_is_the_end(small_config, tmp_path):
    def steps(lines):
        return [line["time/total_timesteps"] for line in lines]

    class SaveAndStop(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 100:
                self.model.save(tmp_path / "a")
            return self.num_timesteps < 100

    agent = JEPAAgent(small_config, "CartPole-v1", seed=3)
    whole = logged(agent, 100)
    assert steps(whole) == [40, 80, 100]
    assert whole[-1]["train/updates"] == (100 - 20) * 0.5
    assert steps(logged(agent, 20)) == [120]
    assert steps(logged(JEPAAgent(small_config, "CartPole-v1", seed=3), 100, log_interval=None)) == []
    stopped = logged(JEPAAgent(small_config, "CartPole-v1", seed=3), 160, callback=SaveAndStop())
    assert steps(stopped) == [40, 80]
    # Stopped in its last step, before the last line: the next process writes that.
    (line,) = logged(JEPAAgent.load(tmp_path / "a", "CartPole-v1"), 0)
    assert {n: v for n, v in line.items() if n not in TIMES} == {n: v for n, v in whole[-1].items() if n not in TIMES}
