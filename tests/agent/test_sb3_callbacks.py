"""Every callback of Stable-Baselines3, and wandb's, works with JEPAAgent."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    LogEveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from jepa_rl.agent import JEPAAgent, vectorize


class Steps(BaseCallback):
    """Notes the environment steps at which it is called."""

    def __init__(self):
        super().__init__()
        self.called_at = []

    def _on_step(self) -> bool:
        self.called_at.append(self.num_timesteps)
        return True


class Rows(KVWriter):
    """A logger's output that keeps everything."""

    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        self.rows.append((step, dict(key_values)))

    def close(self):
        pass


@pytest.fixture
def agent(small_config, clock_env):
    """Two environments whose episodes have three steps and pay 10 times their number and 1, 2, 3."""
    return JEPAAgent(small_config, clock_env, seed=0)


def evaluation(clock_env, **options):
    return EvalCallback(Monitor(clock_env()), n_eval_episodes=1, verbose=0, **options)


def test_evaluations_are_logged_and_the_best_agent_is_saved_with_its_followers_called(agent, clock_env, tmp_path):
    after, best = Steps(), Steps()
    callback = evaluation(
        clock_env,
        eval_freq=10,
        callback_after_eval=after,
        callback_on_new_best=best,
        best_model_save_path=str(tmp_path / "best"),
        log_path=str(tmp_path),
    )
    agent.learn(60, callback=callback)
    assert after.called_at == best.called_at == [20, 40, 60]  # the environment pays more in every episode
    logged = np.load(tmp_path / "evaluations.npz")
    assert logged["timesteps"].tolist() == [20, 40, 60]
    assert logged["results"].tolist() == [[6.0], [66.0], [126.0]]  # the VecEnv begins the odd episodes by itself
    assert JEPAAgent.load(tmp_path / "best" / "best_model").num_timesteps == 60


def test_training_stops_at_a_reward_or_without_improvement(agent, clock_env):
    agent.learn(200, callback=evaluation(clock_env, eval_freq=5, callback_on_new_best=StopTrainingOnRewardThreshold(66)))
    assert agent.num_timesteps == 20
    flat = EvalCallback(
        Monitor(gym.wrappers.TransformReward(clock_env(), lambda reward: 1.0)),
        n_eval_episodes=1,
        eval_freq=5,
        verbose=0,
        callback_after_eval=StopTrainingOnNoModelImprovement(max_no_improvement_evals=2, min_evals=1),
    )
    agent.learn(200, callback=flat)
    assert agent.num_timesteps == 40  # the second counts as the first best one; the third and fourth are no better


def test_training_stops_at_a_number_of_episodes(agent):
    agent.learn(500, callback=StopTrainingOnMaxEpisodes(7))
    assert agent.num_timesteps == 2 * 7 * 3  # of three steps, seven in each environment


def test_checkpoints_hold_the_replay_which_needs_no_file_of_its_own(agent, clock_env, tmp_path):
    agent.learn(40, callback=CheckpointCallback(10, str(tmp_path), save_replay_buffer=True, save_vecnormalize=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rl_model_20_steps.zip", "rl_model_40_steps.zip"]
    loaded = JEPAAgent.load(tmp_path / "rl_model_20_steps", DummyVecEnv([clock_env, clock_env]))
    assert len(loaded.replay) == 20


def test_events_lists_and_plain_functions_are_called_when_they_should(agent):
    every, in_list, seen = Steps(), Steps(), []

    def function(local_variables, _global_variables):
        seen.append(local_variables["rewards"].tolist())
        return agent.num_timesteps < 30

    agent.learn(10, callback=CallbackList([EveryNTimesteps(4, every), in_list]))
    assert every.called_at == [4, 8]
    assert in_list.called_at == [2, 4, 6, 8, 10]
    agent.learn(50, callback=function)
    assert agent.num_timesteps == 30
    assert len(seen) == 15
    assert {reward % 10 for pair in seen for reward in pair} == {1.0, 2.0, 3.0}


def test_a_log_can_be_written_besides_the_usual_ones(agent):
    output = Rows()
    agent.set_logger(Logger(None, [output]))
    agent.learn(60, callback=LogEveryNTimesteps(20), log_interval=50)
    assert [step for step, _ in output.rows] == [20, 40, 50, 60]
    losses = {name for name in output.rows[-1][1] if name.endswith("loss")}
    assert {"train/reward_loss", "train/dynamics_loss"} <= losses
    assert output.rows[-1][1]["time/total_timesteps"] == 60


def test_a_progress_bar_reaches_the_end(agent, capsys):
    agent.learn(20, progress_bar=True)
    agent.learn(20, progress_bar=True, reset_num_timesteps=False)
    assert capsys.readouterr().out.count("20/20") == 2


def test_evaluation_takes_over_the_statistics_of_vecnormalize(small_config, tmp_path):
    def make(n_envs, **options):
        return VecNormalize(vectorize(lambda: gym.make("CartPole-v1"), n_envs), **options)

    agent = JEPAAgent(small_config, make(2), seed=0)
    held_out = make(1, training=False, norm_reward=False)
    checkpoints = CheckpointCallback(20, str(tmp_path), save_vecnormalize=True)
    agent.learn(40, callback=[EvalCallback(held_out, n_eval_episodes=1, eval_freq=20, verbose=0), checkpoints])
    assert np.array_equal(held_out.obs_rms.mean, agent.get_vec_normalize_env().obs_rms.mean)
    saved = VecNormalize.load(str(tmp_path / "rl_model_vecnormalize_40_steps.pkl"), held_out.venv)
    assert np.array_equal(saved.obs_rms.var, held_out.obs_rms.var)


def test_wandbs_callback_logs_gradients_and_saves_the_agent(agent, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from wandb.integration.sb3 import WandbCallback

    monkeypatch.setenv("WANDB_MODE", "offline")
    run = wandb.init(project="test", dir=str(tmp_path))
    try:
        callback = WandbCallback(gradient_save_freq=1, model_save_path=str(tmp_path / "model"), model_save_freq=10)
        logged = []
        monkeypatch.setattr(run, "_log", lambda data, **options: logged.append(dict(data)))
        agent.learn(40, callback=callback)
        assert run.config["algo"] == "JEPAAgent"
    finally:
        wandb.unwatch(agent.policy)
        run.finish()
    assert any(name.startswith("gradients/encoder") for row in logged for name in row)
    assert JEPAAgent.load(tmp_path / "model" / "model.zip").num_timesteps == 40
