"""Vector environments of every kind, and other ones in the middle of a run."""

import dataclasses
import functools
import multiprocessing
import os
import signal

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    is_vecenv_wrapped,
)

from jepa_rl.agent import JEPAAgent, SeededEpisodes, vectorize
from jepa_rl.envs import make_env
from jepa_rl.world_model import EncoderConfig

make_cartpole = functools.partial(gym.make, "CartPole-v1")


def same_run(first: JEPAAgent, second: JEPAAgent) -> bool:
    one, two = first.replay.state(), second.replay.state()
    equal = torch.equal(*(torch.nn.utils.parameters_to_vector(agent.model.parameters()) for agent in (first, second)))
    return equal and all(np.array_equal(one[name], two[name]) for name in one)


def test_processes_give_the_run_of_this_process_and_end_with_the_environments(small_config):
    here = JEPAAgent(small_config, DummyVecEnv([make_cartpole] * 2), seed=0).learn(60)
    workers = SubprocVecEnv([make_cartpole] * 2, start_method="fork")
    there = JEPAAgent(small_config, workers, seed=0).learn(60)
    assert same_run(here, there)
    returns, lengths = evaluate_policy(there, VecMonitor(workers), n_eval_episodes=2, return_episode_rewards=True)
    assert returns == lengths  # each step pays 1
    workers.close()
    assert not {process.pid for process in workers.processes} & {p.pid for p in multiprocessing.active_children()}


def test_an_agent_survives_the_death_of_a_process_and_leaves_none_behind(small_config, tmp_path):
    workers = SubprocVecEnv([make_cartpole] * 3, start_method="fork")
    agent = JEPAAgent(small_config, workers, seed=0).learn(39)
    os.kill(workers.processes[2].pid, signal.SIGKILL)
    workers.processes[2].join()
    with pytest.raises(RuntimeError, match=r"^the process of environment 2 ended with exit code -9; what"):
        agent.learn(40, reset_num_timesteps=False)
    assert not any(process.is_alive() for process in workers.processes)
    workers.close()
    agent.save(tmp_path / "agent")
    loaded = JEPAAgent.load(tmp_path / "agent", "CartPole-v1")
    assert loaded.num_timesteps == 39
    assert loaded.learn(20, reset_num_timesteps=False).num_timesteps == 59


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_is_dead_already_is_named_and_nobody_waits_for_it(small_config, number):
    workers = SubprocVecEnv([make_cartpole] * 2, start_method="fork")
    os.kill(workers.processes[number].pid, signal.SIGKILL)
    workers.processes[number].join()
    with pytest.raises(RuntimeError, match=f"^the process of environment {number} ended with exit code -9; what"):
        JEPAAgent(small_config, workers, seed=0)
    assert not any(process.is_alive() for process in workers.processes)


@pytest.mark.parametrize("method", ["reset", "step"])
def test_an_exception_in_a_process_ends_the_others_too(small_config, method, capfd):
    class Fails(gym.Wrapper):
        pass

    def fail(self, *args, **kwargs):
        raise ArithmeticError("the simulator diverged")

    setattr(Fails, method, fail)
    workers = SubprocVecEnv([make_cartpole, lambda: Fails(make_cartpole())], start_method="fork")
    agent = JEPAAgent(small_config, workers, seed=0)
    with pytest.raises(RuntimeError, match=r"the process of environment 1 ended with exit code 1; .*printed above"):
        agent.learn(40)
    assert "the simulator diverged" in capfd.readouterr().err
    assert agent.num_timesteps == len(agent.replay) == 0
    assert not any(process.is_alive() for process in workers.processes)
    workers.close()


def test_a_process_that_dies_while_its_episode_is_repeated_is_named(small_config, tmp_path):
    class Fails(gym.Wrapper):
        def step(self, action):
            raise ArithmeticError("the simulator diverged")

    def processes(second):
        seeded = [lambda: SeededEpisodes(Monitor(make_cartpole())), lambda: SeededEpisodes(Monitor(second()))]
        return SubprocVecEnv(seeded, start_method="fork")

    workers = processes(make_cartpole)
    JEPAAgent(small_config, workers, seed=0).learn(30).save(tmp_path / "a")
    workers.close()
    with pytest.raises(RuntimeError, match=r"^the process of environment 1 ended with exit code 1; what"):
        JEPAAgent.load(tmp_path / "a", processes(lambda: Fails(make_cartpole())))


def test_vecmonitor_gives_the_episodes_of_environments_without_one(small_config):
    venv = VecMonitor(DummyVecEnv([make_cartpole] * 2))
    agent = JEPAAgent(small_config, venv, seed=0).learn(80)
    lengths = [episode["l"] for episode in agent.ep_info_buffer]
    assert 0 < sum(lengths) <= 80
    assert [episode["r"] for episode in agent.ep_info_buffer] == lengths


def test_after_another_seed_wrapped_environments_go_on_in_the_episodes_that_they_began(small_config):
    agent = JEPAAgent(small_config, VecMonitor(vectorize(functools.partial(gym.make, "Pendulum-v1"), 2)), seed=0).learn(10)
    agent.set_random_seed(3)
    for _ in range(2):
        agent.learn(10, reset_num_timesteps=False)
        assert agent.collector.episodes.number.tolist() == [0, 0]
    assert agent.env.env_method("position") == [(0, 10)] * 2


def test_what_a_monitor_was_told_to_keep_of_infos_is_kept_and_whatever_it_is_an_agent_can_be_saved(
    small_config, clock_env, tmp_path
):
    class Told(gym.Wrapper):
        def step(self, action):
            *result, info = self.env.step(action)
            details = {"count": np.int64(4), "colour": (1, 2), "view": np.zeros(3), "missing": np.nan}
            return *result, info | details | {"is_success": 0.25}

    keywords = ("count", "colour", "view", "missing")
    agent = JEPAAgent(small_config, Monitor(Told(clock_env()), info_keywords=keywords), seed=np.int64(3)).learn(30)
    assert agent.ep_info_buffer[0]["colour"] == (1, 2)
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a")
    assert set(loaded.ep_info_buffer[0]) == {"r", "l", "t", "count"}
    assert loaded.ep_success_buffer == agent.ep_success_buffer != []
    assert loaded.seed == 3


def test_numbers_of_numpy_in_a_configuration_are_saved(small_config, tmp_path):
    config = dataclasses.replace(small_config, discount=np.float32(0.75))
    JEPAAgent(config, "CartPole-v1", seed=0).save(tmp_path / "a")
    assert JEPAAgent.load(tmp_path / "a").config.discount == 0.75


def test_stacked_frames_reach_the_replay_with_the_episodes_last_one(small_config, clock_env):
    agent = JEPAAgent(small_config, VecFrameStack(DummyVecEnv([clock_env, lambda: clock_env(1)]), 2), seed=0).learn(40)
    batch = agent.replay.sample(200, 3, np.random.default_rng(0))
    episode, before, now = batch.observation[..., 4], batch.observation[..., 2], batch.observation[..., 5]
    assert batch.observation.shape[-1] == 6
    assert (episode == episode[:, :1]).all()
    assert torch.equal(now[before > 0], before[before > 0] + 1)
    assert now.max() == 3


def test_images_of_either_order_of_axes_have_the_same_latents(small_config):
    agents = {}
    for transposed in (False, True):
        venv = make_vec_env(lambda: FakeImageEnv(screen_height=24, screen_width=24, n_channels=3), 2)
        venv = VecTransposeImage(venv) if transposed else venv
        agents[transposed] = agent = JEPAAgent(small_config, venv, seed=0).learn(24)
        assert agent.get_env() is venv
        action, _ = agent.predict(venv.reset())
        assert action.shape == (2,)
    assert agents[True].observation_space.shape == (3, 24, 24)
    assert not is_vecenv_wrapped(agents[False].get_env(), VecTransposeImage)
    image = agents[False].observation_space.sample()[None]
    agents[True].set_parameters(agents[False].get_parameters())
    assert np.allclose(agents[False].encode(image), agents[True].encode(np.moveaxis(image, -1, 1)), atol=1e-6)


def test_normalised_observations_and_rewards_are_learned_from_as_they_come(small_config, clock_env, tmp_path):
    venv = VecNormalize(DummyVecEnv([clock_env, lambda: clock_env(1)]), clip_reward=2.0, clip_obs=3.0)
    agent = JEPAAgent(small_config, venv, seed=0).learn(60)
    batch = agent.replay.sample(200, 3, np.random.default_rng(0))
    assert batch.reward.max() <= 2  # the environment pays up to 100
    assert batch.observation.abs().max() <= 3
    assert agent.get_vec_normalize_env() is venv
    agent.save(tmp_path / "agent")
    venv.save(str(tmp_path / "statistics.pkl"))
    inner = DummyVecEnv([clock_env, lambda: clock_env(1)])
    loaded = JEPAAgent.load(tmp_path / "agent", VecNormalize.load(str(tmp_path / "statistics.pkl"), inner))
    assert loaded.get_vec_normalize_env().obs_rms.count == venv.obs_rms.count
    loaded.learn(20, reset_num_timesteps=False)
    assert len(loaded.replay) == 80


def test_labels_come_in_the_unit_of_normalised_rewards(small_config):
    """The label of an observation is the reward that arriving at it pays, whichever of the two taught it."""
    dense = functools.partial(make_env, "jepa_rl/Counting-v0", {"reward": "dense"})
    venv = VecNormalize(vectorize(dense, 2), norm_obs=False)
    model = dataclasses.replace(small_config.model, encoder=EncoderConfig(kind="image"))
    JEPAAgent(dataclasses.replace(small_config, model=model), venv, seed=0).learn(100)
    venv.training = False  # what a reward is divided by stays from here on
    agent = JEPAAgent(dataclasses.replace(small_config, model=model), venv, seed=0).learn(200)
    batch = agent.replay.sample(2_000, 1, np.random.default_rng(0))
    arrived = batch.labelled[:, 1] & batch.alive[:, 0]
    assert torch.allclose(batch.label[:, 1][arrived], batch.reward[:, 0][arrived])
    assert batch.reward.max() > 1.01  # which the environment never pays


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecMonitor, VecNormalize])
def test_evaluating_in_the_training_environments_is_noticed(small_config, wrap):
    """Where episodes can be rebuilt the run goes on as if nothing had been; otherwise it begins new ones."""
    plain = JEPAAgent(small_config, wrap(vectorize(make_cartpole, 2)), seed=1).learn(50)
    watched = JEPAAgent(small_config, wrap(vectorize(make_cartpole, 2)), seed=1)
    evaluate_policy(watched, watched.get_env(), n_eval_episodes=2, warn=False)
    watched.learn(50)
    rebuilt = wrap is not VecMonitor and wrap is not VecNormalize
    assert not rebuilt or same_run(plain, watched)
    evaluate_policy(watched, watched.get_env(), n_eval_episodes=2, warn=False)
    at = watched.get_env().env_method("position")
    plain.learn(50, reset_num_timesteps=False)
    watched.learn(2, reset_num_timesteps=False)
    if rebuilt:
        assert same_run(plain, watched.learn(48, reset_num_timesteps=False))
    else:
        assert watched.get_env().env_method("position") == [(episode + 1, 1) for episode, _ in at]
        assert [len(taken) for taken in watched.collector.episodes.actions] == [1, 1]


def test_an_environment_that_failed_once_goes_on_where_the_agent_is(small_config):
    class Fails(gym.Wrapper):
        steps = 0

        def step(self, action):
            self.steps += 1
            if self.steps == 31:
                raise RuntimeError("the simulator lost its connection")
            return self.env.step(action)

    made = iter([make_cartpole, lambda: Fails(make_cartpole())])
    agent = JEPAAgent(small_config, lambda: next(made)(), seed=0)
    with pytest.raises(RuntimeError, match="lost its connection"):
        agent.learn(100)
    assert agent.num_timesteps == 60
    agent.learn(40, reset_num_timesteps=False)
    assert same_run(agent, JEPAAgent(small_config, "CartPole-v1", seed=0).learn(100))


def test_other_environments_take_over_in_the_middle_of_a_run(small_config, clock_env):
    agent = JEPAAgent(small_config, DummyVecEnv([clock_env, clock_env]), seed=0).learn(40)
    other = DummyVecEnv([lambda: clock_env(7), lambda: clock_env(8)])
    agent.set_env(other)
    assert agent.get_env() is other
    assert agent.num_timesteps == 40
    agent.learn(20, reset_num_timesteps=False)
    batch = agent.replay.sample(500, 1, np.random.default_rng(0))
    assert set(batch.observation[:, 0, 0].tolist()) == {0, 7, 8}
    assert agent.num_timesteps == len(agent.replay) == 60


def test_other_environments_and_another_seed_may_come_from_a_callback(small_config, clock_env, tmp_path):
    agent = JEPAAgent(small_config, lambda: clock_env(0), seed=0)

    def exchange(seen, _):
        if seen["self"].num_timesteps == 20:
            agent.set_env(vectorize(lambda: clock_env(7), 2))
        return True

    agent.learn(60, callback=exchange)
    batch = agent.replay.sample(500, 1, np.random.default_rng(0))
    assert torch.equal(batch.observation[:, 0, :2], batch.observation[:, 1, :2])  # each transition within one episode
    assert set(batch.observation[:, 0, 0].tolist()) == {0, 7}

    seeded = JEPAAgent(small_config, "CartPole-v1", seed=0)
    seeded.learn(40, callback=lambda seen, _: seen["self"].num_timesteps != 20 or seeded.set_random_seed(7) is None)
    positions = seeded.get_env().env_method("position")
    assert [number for number, _ in positions] == seeded.collector.episodes.number.tolist()
    assert [steps for _, steps in positions] == [len(taken) for taken in seeded.collector.episodes.actions]
    seeded.save(tmp_path / "agent")
    again = JEPAAgent.load(tmp_path / "agent", "CartPole-v1")  # a warning would be an error
    assert same_run(seeded.learn(20, reset_num_timesteps=False), again.learn(20, reset_num_timesteps=False))


def test_a_wrapper_can_be_put_around_the_environments_without_a_reset(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(40)
    whole = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(60)
    agent.set_env(VecMonitor(agent.get_env()), force_reset=False)
    assert same_run(whole, agent.learn(20, reset_num_timesteps=False))


def test_environments_given_later_serve_an_agent_that_was_loaded_without(small_config, tmp_path):
    JEPAAgent(small_config, "CartPole-v1", seed=0).learn(60).save(tmp_path / "new" / "folder" / "agent")
    agent = JEPAAgent.load(tmp_path / "new" / "folder" / "agent")
    with pytest.raises(ValueError, match="no environments to learn in; give some to the constructor, load or set_env"):
        agent.learn(10)
    with pytest.warns(UserWarning, match="empty replay; load"):
        agent.set_env(make_vec_env("CartPole-v1", 3))
    agent.learn(30, reset_num_timesteps=False)
    assert (agent.num_timesteps, agent.n_envs, len(agent.replay)) == (90, 3, 30)


def test_environments_that_do_not_fit_are_refused_and_the_old_ones_stay(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    before = agent.get_env()
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        agent.set_env("Acrobot-v1")
    with pytest.raises(ValueError, match="env must be 2 parallel environments, as the agent's replay is, got 3"):
        agent.set_env(make_vec_env("CartPole-v1", 3))
    assert agent.get_env() is agent.collector.venv is before
    agent.set_env("CartPole-v1")  # made as often as needed
    assert agent.get_env().num_envs == 2


def test_another_number_of_environments_leaves_the_replay_and_says_so(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    agent.learn(60, callback=lambda *_: agent.save(tmp_path / "agent") or agent.num_timesteps < 40)
    with pytest.warns(UserWarning, match="left out: it is that of 2 parallel environments, got 3"):
        loaded = JEPAAgent.load(tmp_path / "agent", make_vec_env("CartPole-v1", 3))
    updates = loaded._n_updates
    loaded.learn(30, reset_num_timesteps=False)
    assert len(loaded.replay) == 30
    assert loaded._n_updates == updates + 30 * 0.5 + 1  # and the one that was due when the file was written


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecFrameStack])
def test_a_run_in_plain_environments_goes_on_in_others_with_new_episodes(small_config, tmp_path, wrap):
    options = {} if wrap is not VecFrameStack else {"n_stack": 2}
    first = JEPAAgent(small_config, wrap(make_vec_env("CartPole-v1", 2), **options), seed=0)
    first.learn(50).save(tmp_path / "agent")
    loaded = JEPAAgent.load(tmp_path / "agent", wrap(vectorize(make_cartpole, 2), **options))
    again = JEPAAgent.load(tmp_path / "agent", wrap(make_vec_env("CartPole-v1", 2), **options))
    for agent in (loaded, again):
        agent.learn(20, reset_num_timesteps=False)
        assert len(agent.replay) == 70
    began, began_again = (agent.replay.state()["observation"] for agent in (first, again))
    rows = 2 * (50 // 2 + len(first.ep_info_buffer))
    assert not any((row == began[:2]).all(1).any() for row in began_again[rows - 4 : rows + 8])
    loaded.save(tmp_path / "agent")
    assert len(JEPAAgent.load(tmp_path / "agent", wrap(vectorize(make_cartpole, 2), **options)).replay) == 70


def test_environments_with_different_spaces_are_refused(small_config, clock_env):
    class Other(clock_env):
        action_space = spaces.Discrete(4)

    with pytest.raises(ValueError, match=r"same action_space, got Discrete\(3\) of 0 and Discrete\(4\) of 1"):
        JEPAAgent(small_config, DummyVecEnv([clock_env, Other]), seed=0)
    made = iter([clock_env, Other])
    with pytest.raises(ValueError, match="same action_space"):
        JEPAAgent(small_config, lambda: next(made)(), seed=0)


def test_positions_count_episodes_and_steps():
    env = SeededEpisodes(make_cartpole())
    assert env.position() == (-1, 0)
    env.reset(seed=0)
    env.step(0)
    env.step(1)
    assert env.position() == (0, 2)
    env.reset()
    assert env.position() == (1, 0)


def test_normalised_dicts_with_images_are_equal_spaces(small_config):
    observation = spaces.Dict(camera=spaces.Box(0, 255, (16, 16, 3), np.uint8), at=spaces.Box(-1, 1, (2,)))

    class Seen(gym.Env):
        action_space = spaces.Discrete(2)

        def __init__(self):
            self.observation_space = spaces.Dict(dict(observation.items()))

        def reset(self, seed=None):  # without options
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

        def step(self, action):
            return self.observation_space.sample(), 0.0, bool(self.np_random.random() < 0.3), False, {}

    plain = JEPAAgent(small_config, DummyVecEnv([Seen, Seen]), seed=0).learn(20)
    assert len(plain.replay) == 20
    JEPAAgent(small_config, VecNormalize(DummyVecEnv([Seen, Seen])), seed=0).learn(20)


def test_a_vec_env_without_final_observations_is_named(small_config):
    class Forgetful(DummyVecEnv):
        def step_wait(self):
            *rest, infos = super().step_wait()
            return *rest, [{name: value for name, value in info.items() if name[:8] != "terminal"} for info in infos]

        def get_attr(self, attr_name, indices=None):
            if attr_name != "render_mode":
                raise NotImplementedError
            return super().get_attr(attr_name, indices)

    agent = JEPAAgent(small_config, Forgetful([lambda: gym.make("CartPole-v1")]), seed=0)
    with pytest.raises(ValueError, match="the last observation of an episode into its info as 'terminal_observation'"):
        agent.learn(200)
