"""The agent as a Stable-Baselines3 algorithm."""

import dataclasses
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.envs import IdentityEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from jepa_rl.agent import AgentConfig, CollapseMonitor, JEPAAgent, ReplayConfig, TrainingConfig, preset
from jepa_rl.agent.config import ExplorationConfig, from_dict
from jepa_rl.envs import make_env
from jepa_rl.planners import PlannerConfig
from jepa_rl.scripts.logs import ProgressCSV
from jepa_rl.world_model import (
    AuxiliaryConfig,
    DynamicsConfig,
    EncoderConfig,
    ModelConfig,
    RewardConfig,
    TerminationConfig,
    ValueConfig,
)


def dynamics_alone(config: AgentConfig, weight: float) -> AgentConfig:
    """Without any other loss."""
    model = dataclasses.replace(
        config.model,
        reward=RewardConfig(weight=0),
        value=ValueConfig(weight=0),
        termination=TerminationConfig(weight=0),
        dynamics=DynamicsConfig(weight=weight),
    )
    return dataclasses.replace(config, model=model)


def weights(agent) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in agent.model.parameters()]


def same(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_window_in_replay_is_aligned_with_the_episode_it_came_from(small_config, clock_env):
    """Observations name their episode and step, rewards the step reached: any shift between them shows."""
    agent = JEPAAgent(small_config, DummyVecEnv([lambda: clock_env(0), lambda: clock_env(1, length=5)]), seed=0)
    agent.learn(120)
    batch = agent.replay.sample(256, 4, np.random.default_rng(0))
    length = torch.where(batch.observation[:, 0, 0] == 0, 3, 5)
    episode, clock = batch.observation[:, :, 1], batch.observation[:, :, 2]
    assert (episode == episode[:, :1]).all()
    taken = clock[:, :1] + torch.arange(4)
    assert torch.equal(batch.alive, taken < length[:, None])
    assert torch.equal(clock, torch.minimum(clock[:, :1] + torch.arange(5), length[:, None]))
    assert torch.equal(batch.reward[batch.alive], (10 * episode[:, 1:] + clock[:, 1:])[batch.alive])
    assert torch.equal(batch.terminated, batch.alive & (taken + 1 == length[:, None]) & (episode[:, 1:] % 2 == 1))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(small_config):
    runs = [JEPAAgent(small_config, "CartPole-v1", seed=seed).learn(200) for seed in (4, 4, 5)]
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[2]))


def test_evaluating_and_predicting_in_the_middle_leaves_the_run_as_it_was(small_config):
    plain = JEPAAgent(small_config, "CartPole-v1", seed=1).learn(240)
    watched = JEPAAgent(small_config, "CartPole-v1", seed=1)
    evaluation = EvalCallback(
        Monitor(gym.make("CartPole-v1")), eval_freq=30, n_eval_episodes=2, deterministic=False, verbose=0
    )
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  # the global stream is what must not matter
    watched.learn(240, callback=[evaluation, CollapseMonitor()], log_interval=50)
    assert evaluation.n_calls == 120
    assert same(weights(plain), weights(watched))


def test_two_calls_of_learn_equal_one(small_config):
    once = JEPAAgent(small_config, "CartPole-v1", seed=1).learn(200)
    twice = JEPAAgent(small_config, "CartPole-v1", seed=1).learn(120).learn(80, reset_num_timesteps=False)
    assert once.num_timesteps == twice.num_timesteps == 200
    assert same(weights(once), weights(twice))


def test_the_updates_keep_the_stated_pace(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(120)
    assert agent._n_updates == (120 - 20) * 0.5


def test_updates_that_are_asked_for_come_on_top_of_those_that_learning_owes(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(40)
    agent.train(7)
    agent.learn(40, reset_num_timesteps=False)
    assert agent._n_updates == (80 - 20) * 0.5 + 7
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    for each in (agent, loaded):
        each.learn(20, reset_num_timesteps=False)
        assert each._n_updates == (100 - 20) * 0.5 + 7
    assert same(weights(agent), weights(loaded))


def test_a_second_call_of_learn_that_counts_afresh_goes_on_training(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(120).learn(100)
    assert agent.num_timesteps == 100
    assert agent._n_updates == (220 - 20) * 0.5


def test_updates_move_every_trained_part_and_the_ema_follows(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    before, slow = weights(agent), [p.clone() for p in agent.learner.ema.parameters()]
    agent.learn(120)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(agent), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(slow, agent.learner.ema.parameters(), strict=True))


def test_predict_has_stable_baselines3s_shapes(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    single, state = agent.predict(np.zeros(4, np.float32))
    assert np.ndim(single) == 0
    assert agent.action_space.contains(single)
    assert state[0].shape == (1, 2)
    batch, state = agent.predict(np.zeros((5, 4), np.float32))
    assert batch.shape == (5,)
    again, _ = agent.predict(np.zeros((5, 4), np.float32), state=state, episode_start=np.array([True, False] * 2 + [True]))
    assert again.shape == (5,)


@pytest.mark.parametrize("kind", ["cem", "mppi", "random_shooting"])
def test_box_actions_stay_within_asymmetric_bounds(with_planner, kind):
    class Env(IdentityEnv):
        def __init__(self):
            super().__init__(space=spaces.Box(np.array([-1.0, 2.0]), np.array([0.5, 10.0]), (2,), np.float64))

    agent = JEPAAgent(with_planner(kind), Env, seed=0)
    agent.learn(60)
    actions, _ = agent.predict(np.stack([agent.observation_space.sample() for _ in range(20)]))
    assert actions.dtype == np.float64
    assert all(agent.action_space.contains(action) for action in actions)


def test_with_ema_acting_weights_plans_are_made_with_the_slow_copy_alone(small_config):
    """Told apart by a slow copy that holds on to its own."""
    still = dataclasses.replace(small_config, model=dataclasses.replace(small_config.model, ema_rate=1e-9))
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)

    def decided(acting_weights):
        agent = JEPAAgent(dataclasses.replace(still, acting_weights=acting_weights), "CartPole-v1", seed=0)
        first = agent.plan(observations, generator=torch.Generator().manual_seed(0)).value
        agent.learn(60)
        return first, agent.plan(observations, generator=torch.Generator().manual_seed(0)).value

    for acting_weights, equal in (("ema", True), ("online", False)):
        assert torch.allclose(*decided(acting_weights), atol=1e-4) == equal


def test_ema_acting_weights_without_a_slow_copy_are_refused(small_config):
    value = dataclasses.replace(small_config.model.value, weight=0.0)
    dynamics = dataclasses.replace(small_config.model.dynamics, target="stop")
    without = dataclasses.replace(small_config.model, value=value, dynamics=dynamics)
    with pytest.raises(ValueError, match=r"acting_weights ema needs a slow copy of the model: a value head"):
        dataclasses.replace(small_config, model=without, acting_weights="ema")
    with pytest.raises(ValueError, match=r"acting_weights must be one of online, ema, got slow"):
        dataclasses.replace(small_config, acting_weights="slow")


def test_the_warm_start_is_dropped_where_an_episode_starts(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    seen, planner = {}, agent.planner

    class Recorder:
        def plan(self, *arguments, **options):
            seen.update(options)
            return planner.plan(*arguments, **options)

    agent.planner = Recorder()
    _, state = agent.predict(np.zeros((3, 4), np.float32))
    assert seen["warm_start"] is None
    agent.predict(np.zeros((3, 4), np.float32), state=state, episode_start=np.array([False, True, False]))
    assert seen["warm"].tolist() == [True, False, True]
    assert seen["warm_start"].tolist() == state[0].tolist()


def test_evaluate_policy_and_checkpoint_callback_serve_as_they_are(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    assert isinstance(agent, BaseAlgorithm)
    agent.learn(80, callback=CheckpointCallback(save_freq=20, save_path=str(tmp_path), name_prefix="a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_40_steps.zip", "a_80_steps.zip"]
    returns, lengths = evaluate_policy(agent, agent.get_env(), n_eval_episodes=3, return_episode_rewards=True)
    assert len(returns) == 3
    assert returns == lengths  # each step pays 1
    parameters = agent.get_parameters()
    other = JEPAAgent(small_config, "CartPole-v1", seed=7)
    other.set_parameters(parameters)
    assert same(weights(agent), weights(other))


def test_a_new_agent_needs_an_environment():
    with pytest.raises(ValueError, match=r"a new agent needs an environment.* only JEPAAgent\.load does without"):
        JEPAAgent("default", None)


@pytest.mark.parametrize("device", ["tpu9", "cuda:77"])
def test_a_device_that_there_is_not_is_refused(small_config, device):
    with pytest.raises(ValueError, match=f"device must be auto, cpu, or a CUDA device that torch finds, got '{device}'"):
        JEPAAgent(small_config, "CartPole-v1", device=device)


@pytest.mark.parametrize("config", [None, {}, PlannerConfig()])
def test_what_is_neither_a_preset_nor_a_configuration_is_refused(config):
    with pytest.raises(TypeError, match="config must be the name of a preset or an AgentConfig, got"):
        JEPAAgent(config, "CartPole-v1")


@pytest.mark.parametrize("seed", [1.5, "1"])
def test_a_seed_that_is_no_whole_number_is_refused(small_config, seed):
    with pytest.raises(TypeError, match=f"seed must be a whole number or None, got {seed!r}"):
        JEPAAgent(small_config, "CartPole-v1", seed=seed)


def test_a_function_that_makes_no_environment_is_named(small_config):
    with pytest.raises(TypeError, match="a function given as env must make a Gymnasium environment, got None"):
        JEPAAgent(small_config, lambda: None)


def test_an_agent_without_a_loss_is_refused(small_config):
    with pytest.raises(ValueError, match="model must have a loss with a positive weight to train on, got none"):
        JEPAAgent(dynamics_alone(small_config, weight=0.0), "CartPole-v1")


def test_a_whole_preset_is_refused_with_the_part_of_it_that_serves():
    with pytest.raises(TypeError, match=r"or an AgentConfig \(preset\(NAME\)\.agent is one\), got Preset"):
        JEPAAgent(preset("default"), "CartPole-v1")


@pytest.mark.parametrize("sections", [{"planner": {"kind": "cem"}}, {"model": AgentConfig()}])
def test_a_section_of_another_type_is_refused_where_it_is_given(sections):
    with pytest.raises(ValueError, match=r"(planner|model) must be of type (PlannerConfig|ModelConfig), got"):
        AgentConfig(**sections)


def test_a_runs_folder_is_loaded_as_its_last_checkpoint(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    agent.save(tmp_path / "run" / "checkpoint" / "agent.zip")
    loaded = JEPAAgent.load(tmp_path / "run")
    assert same(weights(loaded), weights(agent))
    JEPAAgent(small_config, "CartPole-v1", seed=1).learn(30).save(tmp_path / "run")  # run.zip beside the folder
    assert JEPAAgent.load(tmp_path / "run").steps_taken == 30
    loaded.set_parameters(tmp_path / "run" / "checkpoint" / "agent")
    with pytest.raises(TypeError, match="run must be the path of a saved agent or of a run's folder, got JEPAAgent"):
        JEPAAgent.load(agent)


@pytest.mark.parametrize(
    "space", [spaces.Box(-1, 1, (3,)), spaces.Dict({"a": spaces.Box(-1, 1, (3,))}), spaces.Discrete(4)]
)
def test_a_single_observation_is_no_batch(small_config, space):
    class Env(gym.Env):
        observation_space, action_space = space, spaces.Discrete(2)

    agent = JEPAAgent(small_config, Env, seed=0)
    shape = "\\[12\\]" if isinstance(space, spaces.Dict) else "\\[3\\]" if isinstance(space, spaces.Box) else "\\[\\]"
    message = rf"expected a batch \[N, ...\] of observations, got one of shape {shape}"
    with pytest.raises(ValueError, match=message):
        agent.encode(space.sample())
    with pytest.raises(ValueError, match=message):
        agent.plan(space.sample(), generator=torch.Generator())
    assert agent.predict(space.sample())[0].shape == ()


def test_loading_takes_no_settings_that_are_those_of_the_file(small_config, tmp_path):
    JEPAAgent(small_config, "CartPole-v1", seed=0).save(tmp_path / "a")
    with pytest.raises(TypeError, match="load takes env, device, tensorboard_log and verbose, got seed"):
        JEPAAgent.load(tmp_path / "a", seed=3)


def test_a_policy_in_the_place_of_a_preset_is_named():
    with pytest.raises(ValueError, match=r"expected a preset .* or an AgentConfig, got the policy 'MlpPolicy'"):
        JEPAAgent("MlpPolicy", "CartPole-v1")


def test_an_environment_that_is_not_registered_is_refused_with_a_way_to_those_with_wrappers(small_config):
    with pytest.raises(gym.error.UnregisteredEnv) as caught:
        JEPAAgent(small_config, "MiniGrid-DoorKey-5x5-v7")
    assert caught.value.__notes__ == [
        "make it with jepa_rl.envs.make_env: env=functools.partial(jepa_rl.envs.make_env, 'MiniGrid-DoorKey-5x5-v7')"
    ]
    with pytest.raises(gym.error.UnregisteredEnv) as caught:
        JEPAAgent(small_config, "Nowhere-v7")
    assert "functools.partial(jepa_rl.envs.make_env, ID)" in caught.value.__notes__[0]


def test_callbacks_see_the_actions_that_the_environments_took(small_config):
    class Actions(BaseCallback):
        def _on_step(self):
            taken = [open_actions[-1] for open_actions in self.model.collector.episodes.actions]
            assert np.array_equal(self.locals["actions"], taken)
            return True

    assert JEPAAgent(small_config, "Pendulum-v1", seed=0).learn(8, callback=Actions()).num_timesteps == 8


def test_a_log_interval_below_one_step_is_refused(small_config):
    with pytest.raises(ValueError, match="log_interval must be at least 1 environment step, got 0"):
        JEPAAgent(small_config, "CartPole-v1", seed=0).learn(10, log_interval=0)


def test_without_a_log_interval_the_callback_is_left_to_write_the_log(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    rollouts = []

    class Rollouts(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            rollouts.append(self.model.num_timesteps)

    agent.learn(60, callback=Rollouts(), log_interval=None)
    assert rollouts == []
    agent.learn(60, callback=Rollouts(), log_interval=40, reset_num_timesteps=False)
    assert rollouts == [80, 120]


def test_a_callback_can_stop_training(small_config):
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 50

    assert JEPAAgent(small_config, "CartPole-v1", seed=0).learn(500, callback=Stop()).num_timesteps == 50


def test_random_actions_are_repeated_across_episodes(small_config, clock_env):
    exploration = ExplorationConfig(kind="random", repeat=5)
    agent = JEPAAgent(dataclasses.replace(small_config, n_envs=1, exploration=exploration), clock_env(), seed=0)
    taken = []

    class Note(BaseCallback):
        def _on_step(self) -> bool:
            taken.append(int(agent.collector.explorer.held_action[0]))
            return True

    agent.learn(60, callback=Note())
    blocks = np.array(taken).reshape(-1, 5)
    assert (blocks == blocks[:, :1]).all()
    assert len(set(blocks[:, 0].tolist())) == 3


def test_the_share_of_random_actions_anneals():
    schedule = ExplorationConfig(warmup=100, epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=400)
    assert [schedule.epsilon(t) for t in (0, 99, 100, 300, 500, 10**6)] == pytest.approx([1, 1, 0.9, 0.5, 0.1, 0.1])
    assert ExplorationConfig(kind="random").epsilon(10**6) == 1


def test_collapse_is_noticed_and_can_stop_the_run(small_config, clock_env):
    agent = JEPAAgent(dynamics_alone(small_config, weight=1.0), clock_env(), seed=0)
    for parameter in agent.model.encoder.parameters():
        torch.nn.init.zeros_(parameter)
    monitor = CollapseMonitor(stop=True, patience=2)
    with pytest.warns(UserWarning, match="the representation has collapsed"):
        agent.learn(1_000, callback=monitor, log_interval=50)
    assert agent.num_timesteps < 300


def test_an_agent_whose_latents_are_all_the_same_is_saved_with_its_log(small_config, tmp_path):
    """Then the dynamics loss over their variance, which is 0, is no number."""

    class Blank(gym.ObservationWrapper):
        def observation(self, observation):
            return np.zeros_like(observation)

    agent = JEPAAgent(small_config, lambda: Blank(gym.make("CartPole-v1")), seed=0)
    log = ProgressCSV(tmp_path / "progress.csv", [])
    agent.set_logger(Logger(None, [log]))
    agent.learn(120, callback=CollapseMonitor(), log_interval=60)
    assert log.rows[-1]["collapse/variance"] == 0
    assert "collapse/normalized_dynamics_loss" not in log.rows[-1]
    agent.attachments["progress"] = log.rows
    agent.save(tmp_path / "a")


def test_a_healthy_run_gives_no_warning(small_config):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        JEPAAgent(small_config, "CartPole-v1", seed=0).learn(200, callback=CollapseMonitor(), log_interval=50)


def test_an_environment_that_fails_leaves_the_agent_before_the_step(small_config, clock_env):
    agent = JEPAAgent(small_config, DummyVecEnv([lambda: clock_env(0), lambda: clock_env(1, fail_at=40)]), seed=0)
    with pytest.raises(RuntimeError, match="lost its connection"):
        agent.learn(500)
    assert agent.num_timesteps == 80
    assert len(agent.replay) == 80


def test_a_reward_that_is_not_finite_stops_the_run_and_is_named(small_config, clock_env):
    agent = JEPAAgent(small_config, DummyVecEnv([lambda: clock_env(0), lambda: clock_env(1, nan_at=31)]), seed=0)
    streams = agent.streams.exploration.bit_generator.state
    with pytest.raises(FloatingPointError, match="reward of environment 1 is not finite"):
        agent.learn(500)
    assert len(agent.replay) == agent.num_timesteps == 60
    assert agent.streams.exploration.bit_generator.state != streams


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (spaces.Text(5), spaces.Discrete(2), "observation space Text.* is not supported: .*; supported are Box"),
        (spaces.Box(0, 255, (7, 7, 3), np.uint8), spaces.Discrete(2), "choose model.encoder.kind 'grid'"),
        (spaces.Box(-1, 1, (2,)), spaces.Box(-np.inf, np.inf, (2,)), "unbounded; wrap the environment"),
        (spaces.Box(-1, 1, (2,)), spaces.Tuple([spaces.Discrete(2)]), "action space Tuple.* is not supported"),
    ],
)
def test_spaces_that_cannot_work_are_refused_with_what_can(small_config, observation, action, message):
    class Env(gym.Env):
        observation_space, action_space = observation, action

        def reset(self, *, seed=None, options=None):
            return self.observation_space.sample(), {}

        def step(self, action):
            return self.observation_space.sample(), 0.0, False, True, {}

    with pytest.raises(ValueError, match=message):
        JEPAAgent(small_config, Env, seed=0)


@pytest.mark.parametrize("name", ["minigrid", "minigrid-pixels"])
def test_one_agent_learns_from_symbols_and_from_pixels(name):
    chosen = preset(name)
    training = dataclasses.replace(chosen.agent.training, starts=16, batch_size=4)
    config = dataclasses.replace(chosen.agent, training=training)
    agent = JEPAAgent(config, lambda: make_env("MiniGrid-Empty-5x5-v0", dict(chosen.env)), seed=0, device="cpu")
    agent.learn(24)
    assert agent.observation_adapter.spec.kind == {"minigrid": "grid", "minigrid-pixels": "image"}[name]
    assert agent._n_updates == 8


def test_an_unknown_preset_names_the_near_ones():
    with pytest.raises(ValueError, match="unknown preset 'countin'; did you mean counting"):
        JEPAAgent("countin", "CartPole-v1")


def test_a_config_survives_json_and_refuses_unknown_options():
    config = AgentConfig(replay=ReplayConfig(capacity=77))
    plain = dataclasses.asdict(config)
    plain["model"]["encoder"]["convolutions"] = [list(layer) for layer in plain["model"]["encoder"]["convolutions"]]
    assert from_dict(AgentConfig, plain) == config
    plain["model"]["encoder"]["depth"] = 3
    with pytest.raises(ValueError, match=r"unknown option model\.encoder\.depth"):
        from_dict(AgentConfig, plain)
    with pytest.raises(ValueError, match=r"replay\.capacity must be int, got 'many'"):
        from_dict(AgentConfig, {"replay": {"capacity": "many"}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingConfig(schedule="linear"), r"training\.schedule must be one of constant, cosine, got linear"),
        (
            lambda: ExplorationConfig(kind="nvelty"),
            r"exploration\.kind must be one of planner, random, novelty, got nvelty",
        ),
        (lambda: ReplayConfig(rewards="signs"), r"replay\.rewards must be one of plain, sign, got signs"),
        (lambda: AgentConfig(acting_weights="slow"), r"acting_weights must be one of online, ema, got slow"),
        (lambda: ModelConfig(weighting="pc-grad"), r"model\.weighting must be one of fixed, uncertainty, pcgrad, got"),
        (
            lambda: RewardConfig(likelihood="bce"),
            r"model\.reward\.likelihood must be one of gaussian, bernoulli, .*got bce",
        ),
        (lambda: ValueConfig(likelihood="bce"), r"model\.value\.likelihood must be one of gaussian, bernoulli, .*got bce"),
        (lambda: DynamicsConfig(target="sg"), r"model\.dynamics\.target must be one of same, stop, ema, got sg"),
        (lambda: EncoderConfig(kind="cnn"), r"model\.encoder\.kind must be one of auto, vector, image, grid, got cnn"),
        (lambda: AuxiliaryConfig(target="noise", likelihood="bce"), r"'noise': likelihood must be one of auto, .*got bce"),
    ],
)
def test_a_choice_that_there_is_not_is_refused_where_it_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_plan_goes_on_only_in_its_episode_and_where_it_was_followed(small_config, clock_env):
    exploration = ExplorationConfig(warmup=0, epsilon_start=0.5, epsilon_end=0.5)
    agent = JEPAAgent(dataclasses.replace(small_config, exploration=exploration), clock_env, seed=0)
    explorer, explored, seen = agent.collector.explorer, [], set()
    choose = explorer.choose
    explorer.choose = lambda *arguments: explored.append(choose(*arguments)) or explored[-1]

    def check(local, _):
        assert np.array_equal(agent.collector.warm, ~explored[-1][0] & ~local["dones"])
        seen.update(zip(explored[-1][0].tolist(), local["dones"].tolist(), strict=True))
        return True

    agent.learn(60, callback=check)
    assert len(seen) == 4


def test_training_draws_among_good_plans_and_predict_does_as_it_is_told(small_config):
    exploration = ExplorationConfig(warmup=0, epsilon_start=0, epsilon_end=0)
    agent, seen = JEPAAgent(dataclasses.replace(small_config, exploration=exploration), "CartPole-v1", seed=0), []
    planner = agent.planner

    class Recorder:
        def plan(self, *arguments, **options):
            seen.append(options["deterministic"])
            return planner.plan(*arguments, **options)

    agent.planner = Recorder()
    agent.learn(2)
    for told in (True, False):
        agent.predict(np.zeros((1, 4), np.float32), deterministic=told)
    assert seen == [False, True, False]


def test_the_rate_falls_as_a_cosine():
    share = TrainingConfig(schedule="cosine").rate_share
    assert [share(left) for left in (1.0, 0.75, 0.5, 0.0)] == pytest.approx([1, 0.5 * (1 + 2**-0.5), 0.5, 0])
