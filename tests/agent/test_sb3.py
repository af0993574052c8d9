"""The encoder inside Stable-Baselines3's algorithms, and its co-training."""

import dataclasses
import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from jepa_rl.agent import (
    CheckpointError,
    JEPAAgent,
    JEPAAuxiliaryCallback,
    JEPAFeaturesExtractor,
    ReplayConfig,
    TrainingConfig,
)
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.agent.sb3 import ObservationReader, TrainedEncoder
from jepa_rl.agent.sb3_windows import ReplayBufferWindows
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.world_model import ModelConfig, ValueConfig

IMAGE = spaces.Box(0, 255, (20, 24, 3), np.uint8)
OBSERVATIONS = {
    "vector": (spaces.Box(-2, 2, (5,), np.float32), "auto"),
    "wide": (spaces.Box(-np.inf, np.inf, (3,), np.float32), "auto"),
    "image": (IMAGE, "auto"),
    "planes first": (spaces.Box(0, 255, (4, 20, 24), np.uint8), "auto"),
    "grid": (spaces.Box(0, 255, (7, 7, 3), np.uint8), "grid"),
    "flattened image": (spaces.Box(0, 255, (5, 6, 3), np.uint8), "vector"),
    "discrete": (spaces.Discrete(4), "auto"),
    "multidiscrete": (spaces.MultiDiscrete([3, 2, 4]), "auto"),
    "multibinary": (spaces.MultiBinary(5), "auto"),
    "dict": (spaces.Dict({"view": IMAGE, "at": spaces.Box(-1, 1, (2,)), "mode": spaces.Discrete(3)}), "auto"),
}


class NoiseEnv(gym.Env):
    """Random observations of any space."""

    def __init__(self, space, action_space=None):
        self.observation_space = space
        self.action_space = action_space or spaces.Discrete(2)

    def _observation(self):
        if isinstance(self.observation_space, spaces.Box) and self.observation_space.shape == (7, 7, 3):
            return self.np_random.integers(0, 16, (7, 7, 3)).astype(np.uint8)  # symbols of the vocabulary
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action):
        return self._observation(), 0.0, bool(self.np_random.random() < 0.2), False, {}


@pytest.fixture
def trained(small_config, tmp_path):
    """Saves an agent with the encoder that fits a space; the agent and its file."""

    def make(env, kind="auto", **encoder):
        changed = dataclasses.replace(small_config.model.encoder, kind=kind, **encoder)
        config = dataclasses.replace(small_config, model=dataclasses.replace(small_config.model, encoder=changed))
        agent = JEPAAgent(config, env, seed=3, device="cpu")
        agent.save(tmp_path / "agent.zip")
        return agent, tmp_path / "agent.zip"

    return make


def policy_for(space) -> str:
    return "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"


def ppo(env, *, policy="MlpPolicy", normalize_images=True, **extractor):
    extractor["normalize_images"] = normalize_images
    kwargs = {"features_extractor_class": JEPAFeaturesExtractor, "features_extractor_kwargs": extractor, "net_arch": [8]}
    kwargs["normalize_images"] = normalize_images
    return PPO(policy, env, n_steps=16, batch_size=16, n_epochs=1, seed=0, policy_kwargs=kwargs, device="cpu")


def dqn(env, *, policy="MlpPolicy", buffer_size=200, **extractor):
    kwargs = {"features_extractor_class": JEPAFeaturesExtractor, "features_extractor_kwargs": extractor, "net_arch": [8]}
    options = {"buffer_size": buffer_size, "learning_starts": 10, "batch_size": 8, "target_update_interval": 20}
    return DQN(policy, env, seed=0, policy_kwargs=kwargs, device="cpu", **options)


def features(algorithm, observation) -> np.ndarray:
    policy = algorithm.policy
    with torch.no_grad():
        return policy.extract_features(policy.obs_to_tensor(observation)[0], policy.features_extractor).numpy()


def weights(module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("normalize_images", [True, False])
@pytest.mark.parametrize("name", OBSERVATIONS)
def test_the_features_are_the_agents_latents_of_the_raw_observations(trained, name, normalize_images):
    space, kind = OBSERVATIONS[name]
    agent, path = trained(lambda: NoiseEnv(space), kind)
    algorithm = ppo(NoiseEnv(space), policy=policy_for(space), normalize_images=normalize_images, run=path)
    observation = DummyVecEnv([lambda: NoiseEnv(space)] * 6).reset()
    latent = features(algorithm, observation)
    np.testing.assert_array_equal(latent, agent.encode(observation))
    assert len(np.unique(latent, axis=0)) > 1


def test_the_precision_of_the_encoder_is_kept(trained):
    agent, path = trained(lambda: NoiseEnv(IMAGE), precision="bfloat16", contrast="standard")
    observation = DummyVecEnv([lambda: NoiseEnv(IMAGE)] * 4).reset()
    np.testing.assert_array_equal(features(ppo(NoiseEnv(IMAGE), run=str(path)), observation), agent.encode(observation))


def test_a_run_folder_serves_as_its_last_checkpoint(trained, tmp_path):
    _, path = trained("CartPole-v1")
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    path.rename(tmp_path / "run" / "checkpoint" / "agent.zip")
    assert TrainedEncoder.read(tmp_path / "run").config.latent_dim == 16


@pytest.mark.parametrize("make", [ppo, dqn])
def test_a_frozen_encoder_stays_as_it_was_and_a_trainable_one_does_not(trained, make):
    agent, path = trained("CartPole-v1")
    for trainable in (False, True):
        algorithm = make("CartPole-v1", run=path, trainable=trainable).learn(64)
        algorithm.policy.set_training_mode(True)
        extractor = next(part for part in algorithm.policy.modules() if isinstance(part, JEPAFeaturesExtractor))
        assert extractor.training == trainable
        assert same(weights(extractor.encoder), weights(agent.model.encoder)) != trainable


def test_an_algorithm_loads_when_the_run_is_gone_and_goes_on_learning(trained, tmp_path):
    _, path = trained(lambda: NoiseEnv(IMAGE))
    algorithm = ppo(NoiseEnv(IMAGE), run=path).learn(32)
    algorithm.save(tmp_path / "ppo.zip")
    path.unlink()
    # What a new process would know: nothing of this one's spaces.
    observation = DummyVecEnv([lambda: NoiseEnv(IMAGE)] * 4).reset()
    loaded = PPO.load(tmp_path / "ppo.zip", env=NoiseEnv(spaces.Box(0, 255, (20, 24, 3), np.uint8)), device="cpu")
    np.testing.assert_array_equal(features(loaded, observation), features(algorithm, observation))
    before = weights(loaded.policy.features_extractor.encoder)
    loaded.learn(32)
    assert not same(before, weights(loaded.policy.features_extractor.encoder))


def test_co_training_begins_with_the_dynamics_and_heads_of_a_run(trained):
    agent, path = trained("CartPole-v1")
    callback = JEPAAuxiliaryCallback(run=path, training=dataclasses.replace(TRAINING, starts=10_000))
    ppo("CartPole-v1", run=path).learn(16, callback=callback)
    for name in ("model", "ema"):
        ours, theirs = getattr(callback.learner, name).state_dict(), getattr(agent.learner, name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs if not key.startswith("encoder."))
    with pytest.raises(ValueError, match=r"run must be of the actions Discrete\(3\), got Discrete\(2\)"):
        ppo(NoiseEnv(OBSERVATIONS["wide"][0], spaces.Discrete(3)), config=agent.config.model).learn(
            16, callback=JEPAAuxiliaryCallback(run=path)
        )
    with pytest.raises(ValueError, match="got both"):
        JEPAAuxiliaryCallback(ModelConfig(), run=path)


def test_an_algorithm_loads_with_its_own_encoder_whatever_has_become_of_the_run(trained, tmp_path):
    _, path = trained(lambda: NoiseEnv(IMAGE))
    algorithm = ppo(NoiseEnv(IMAGE), run=path)
    algorithm.save(tmp_path / "ppo.zip")
    trained(lambda: NoiseEnv(IMAGE), contrast="standard")  # another run at the same place
    observation = DummyVecEnv([lambda: NoiseEnv(IMAGE)] * 4).reset()
    loaded = PPO.load(tmp_path / "ppo.zip", device="cpu")
    np.testing.assert_array_equal(features(loaded, observation), features(algorithm, observation))
    assert ppo(NoiseEnv(IMAGE), run=path).policy.features_extractor.config.encoder.contrast == "standard"


def test_whole_numbers_that_were_normalised_are_refused(trained):
    space = spaces.Box(0, 255, (8,), np.uint8)
    _, path = trained(lambda: NoiseEnv(space))
    algorithm = ppo(VecNormalize(DummyVecEnv([lambda: NoiseEnv(space)])), run=path)
    with pytest.raises(ValueError, match=r"must be as the environment gave them.*norm_obs=False"):
        algorithm.learn(16)
    ppo(VecNormalize(DummyVecEnv([lambda: NoiseEnv(space)]), norm_obs=False), run=path).learn(16)


def test_sac_trains_and_loads_with_it(trained, tmp_path):
    space = spaces.Box(np.array([-1.0, 2.0], np.float32), np.array([0.5, 10.0], np.float32))
    _, path = trained(lambda: NoiseEnv(OBSERVATIONS["vector"][0], space))
    kwargs = {
        "features_extractor_class": JEPAFeaturesExtractor,
        "features_extractor_kwargs": {"run": path},
        "net_arch": [8],
    }
    env = NoiseEnv(OBSERVATIONS["vector"][0], space)
    algorithm = SAC("MlpPolicy", env, learning_starts=10, batch_size=8, seed=0, policy_kwargs=kwargs, device="cpu").learn(
        30
    )
    algorithm.save(tmp_path / "sac.zip")
    path.unlink()
    loaded = SAC.load(tmp_path / "sac.zip", device="cpu")
    observation = env.reset()[0]
    action = algorithm.predict(observation, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(observation, deterministic=True)[0], action)


def test_a_fresh_encoder_is_decided_by_the_algorithms_seed_and_is_not_reinitialised():
    config = ModelConfig(latent_dim=5)
    first, second = (ppo("CartPole-v1", config=config).policy.features_extractor for _ in range(2))
    assert first.features_dim == 5
    assert same(weights(first), weights(second))
    assert all((bias != 0).any() for name, bias in first.encoder.net.named_parameters() if name in ("0.bias", "3.bias"))


def test_what_cannot_be_is_refused(trained, tmp_path):
    _, path = trained("CartPole-v1")
    vector = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    with pytest.raises(CheckpointError, match=r"absent\.zip does not exist"):
        JEPAFeaturesExtractor(vector, run=tmp_path / "absent.zip")
    with pytest.raises(ValueError, match="config must be None where run is given"):
        JEPAFeaturesExtractor(vector, config=ModelConfig(), run=path)
    with pytest.raises(ValueError, match="the encoder was trained on observations of Box"):
        JEPAFeaturesExtractor(spaces.Discrete(3), run=path)


@pytest.mark.parametrize("told", [True, False])
def test_images_of_another_scale_than_told_are_refused(told):
    image = torch.randint(0, 256, (2, 3, 20, 24), generator=torch.Generator().manual_seed(0)) / (1 if told else 255)
    extractor = JEPAFeaturesExtractor(spaces.Box(0, 255, (3, 20, 24), np.uint8), normalize_images=told)
    with pytest.raises(ValueError, match="normalize_images"):
        extractor(image.float())


TRAINING = TrainingConfig(starts=20, updates_per_step=0.5, batch_size=8, transitions=3, learning_rate=3e-3)


def clocks(clock_env) -> DummyVecEnv:
    return DummyVecEnv([lambda: clock_env(0), lambda: clock_env(1, length=5)])


def require_aligned(batch) -> None:
    """Known answers of the clock: observations name their episode and step, rewards the step reached."""
    length = torch.where(batch.observation[:, 0, 0] == 0, 3, 5)
    episode, clock = batch.observation[:, :, 1], batch.observation[:, :, 2]
    transitions = batch.alive.shape[1]
    assert (episode == episode[:, :1]).all()
    steps = torch.arange(transitions + 1)
    taken = (clock[:, :1] + steps)[:, :-1]
    assert torch.equal(clock, clock[:, :1] + torch.minimum(steps, batch.alive.sum(1, keepdim=True)))
    assert torch.equal(batch.reward, torch.where(batch.alive, 10 * episode[:, 1:] + clock[:, 1:], 0))
    assert torch.equal(batch.terminated, batch.alive & (taken + 1 == length[:, None]) & (episode[:, 1:] % 2 == 1))
    assert torch.equal(batch.label[batch.labelled], (10 * episode + clock)[batch.labelled])
    assert not batch.labelled[clock == 0].any()
    assert ((batch.action >= 0) & (batch.action < 3)).all()


class RememberingEnv(NoiseEnv):
    """Keeps the views that it showed."""

    seen: set

    def _observation(self):
        observation = super()._observation()
        self.seen.add(observation["view"].tobytes())
        return observation


@pytest.mark.parametrize("make", [ppo, dqn])
def test_dict_observations_are_packed_as_the_agent_packs_them(make):
    space, _ = OBSERVATIONS["dict"]
    env = RememberingEnv(space)
    env.seen = set()
    callback = JEPAAuxiliaryCallback(training=TRAINING)
    make(env, policy="MultiInputPolicy").learn(32, callback=callback)
    assert callback.updates == 6
    adapter = ObservationAdapter(space, "auto")
    observation = callback.sample().observation
    parts = adapter.unpack(observation.flatten(0, 1).numpy())
    assert {view.tobytes() for view in parts["view"]} <= env.seen
    assert set(parts["mode"].tolist()) == {0, 1, 2}
    assert (np.abs(parts["at"]) <= 1).all() and len(np.unique(parts["at"])) > 10


@pytest.mark.parametrize("make", [ppo, dqn])
def test_discrete_observations_lose_the_axis_that_the_buffers_add(make):
    callback = JEPAAuxiliaryCallback(training=TRAINING)
    make(NoiseEnv(spaces.Discrete(4))).learn(32, callback=callback)
    assert callback.sample().observation.shape == (8, 4)


@pytest.mark.parametrize("make", [ppo, dqn])
def test_windows_never_cross_episodes_and_time_limits_are_not_terminations(clock_env, make):
    callback = JEPAAuxiliaryCallback(training=dataclasses.replace(TRAINING, batch_size=512, updates_per_step=0.01))
    algorithm = make(clocks(clock_env)).learn(130, callback=callback)
    batch = callback.sample()
    require_aligned(batch)
    length = torch.where(batch.observation[:, 0, 0] == 0, 3, 5)
    left = length - batch.observation[:, 0, 2]
    newest = torch.zeros(len(left), dtype=torch.bool)
    for name in (0, 1):
        own = batch.observation[:, 0, 0] == name
        newest |= own & (batch.observation[:, 0, 1] == batch.observation[own, 0, 1].max())
    assert torch.equal(batch.alive.sum(1)[~newest], left.clamp(max=3).long()[~newest])
    assert batch.labelled[batch.observation[:, :, 2] > 0].float().mean() > 0.95
    assert batch.terminated.any() and (batch.alive.any(1) & ~batch.terminated.any(1)).any()
    assert {1, 2} <= set(batch.action.flatten().tolist())
    assert algorithm.policy is callback.model.policy


def test_windows_are_aligned_when_the_replay_buffer_wraps_around_and_after_a_reset_in_mid_episode(clock_env):
    callback = JEPAAuxiliaryCallback(training=dataclasses.replace(TRAINING, batch_size=512, updates_per_step=0.01))
    algorithm = dqn(clocks(clock_env), buffer_size=38)
    for steps in (8, 16, 58):  # 4, 8 and 30 steps of each: the ring of 19 holds the seams at first, then wraps around
        algorithm.learn(steps, callback=callback)
        require_aligned(callback.sample())
    assert algorithm.replay_buffer.full and algorithm.replay_buffer.pos


@pytest.mark.parametrize("added", [3, 7])
def test_a_window_ends_at_the_newest_transition_though_the_oldest_looks_like_its_successor(added):
    space, actions = spaces.Discrete(2), spaces.Discrete(10)
    buffer = ReplayBuffer(5, space, actions, device="cpu")
    for number in range(added):
        one = np.ones(1, int)
        buffer.add(one, one, np.array([number]), np.zeros(1), np.zeros(1, bool), [{}])
    reader = ObservationReader(space, space, kind="auto", normalize_images=True)
    batch = ReplayBufferWindows(buffer, reader, ActionAdapter(actions)).sample(200, 3, np.random.default_rng(0))
    first = batch.action[:, 0]
    assert set(first.tolist()) == set(range(max(added - 5, 0), added))
    assert torch.equal(batch.alive.sum(1), (added - first).clamp(max=3))
    assert torch.equal(batch.action, torch.where(batch.alive, first[:, None] + torch.arange(3), 0))
    assert torch.equal(batch.labelled[:, 0], first > max(added - 5, 0))


class EncoderHistory(BaseCallback):
    """The encoder's weights at every start and end of a rollout."""

    def __init__(self):
        super().__init__()
        self.starts, self.ends = [], []

    def _on_rollout_start(self):
        self.starts.append(weights(self.model.policy.features_extractor.encoder))

    def _on_rollout_end(self):
        self.ends.append(weights(self.model.policy.features_extractor.encoder))

    def _on_step(self):
        return True


def test_the_auxiliary_losses_alone_train_the_shared_encoder_between_rollouts(clock_env):
    callback, history = JEPAAuxiliaryCallback(training=TRAINING), EncoderHistory()
    algorithm = ppo(clocks(clock_env))
    algorithm.lr_schedule = lambda _: 0.0
    algorithm.learn(96, callback=[callback, history])
    assert callback.learner.model.encoder is algorithm.policy.features_extractor.encoder
    assert [same(start, end) for start, end in zip(history.starts, history.ends, strict=True)] == [True] * 3
    assert [same(a, b) for a, b in itertools.pairwise(history.starts)] == [False, False]
    assert callback.updates == (96 - 20) * 0.5
    assert not same(history.ends[-1], weights(algorithm.policy.features_extractor.encoder))


def test_the_slow_copy_and_the_clipped_gradient_are_those_of_the_shared_encoder(clock_env):
    training = dataclasses.replace(TRAINING, max_gradient_norm=1e-3)
    config = ModelConfig(latent_dim=16, ema_rate=1.0)
    callback, algorithm = JEPAAuxiliaryCallback(training=training), ppo(clocks(clock_env), config=config)
    algorithm.learn(32, callback=callback)
    learner = callback.learner
    figures = learner.update(callback.sample(), rate_share=1.0)
    assert learner.ema is not None
    assert same(weights(learner.ema), weights(learner.model))  # at this rate an update makes them equal
    gradient = [p.grad for p in algorithm.policy.features_extractor.encoder.parameters()]
    norm = torch.stack([each.norm() for each in gradient]).norm().item() * figures["total_gradient_norm"] / 1e-3
    assert figures["encoder_gradient_norm"] == pytest.approx(norm, rel=1e-3)
    clipped = [p.grad.norm() for p in learner.model.parameters() if p.grad is not None]
    assert torch.stack(clipped).norm().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("make", [ppo, dqn])
def test_the_losses_fall_while_the_algorithm_learns(make):
    class Losses(BaseCallback):
        seen: list

        def _on_step(self):
            self.seen.append(self.logger.name_to_value.get("auxiliary/total_loss"))
            return True

    watch = Losses()
    watch.seen = []
    config = ModelConfig(latent_dim=16)
    callback = JEPAAuxiliaryCallback(config, training=dataclasses.replace(TRAINING, batch_size=32), seed=1)
    make("CartPole-v1", config=config).learn(400, callback=[callback, watch])
    losses = [loss for loss in watch.seen if loss]
    assert np.mean(losses[-50:]) < 0.5 * np.mean(losses[:20])


@pytest.mark.parametrize(("make", "told"), [(ppo, True), (dqn, False)])
def test_values_count_what_is_new_where_windows_tell_it(make, told):
    config = ModelConfig(value=ValueConfig(weight=1.0, novelty=0.5))
    callback = JEPAAuxiliaryCallback(training=TRAINING)
    make("CartPole-v1", config=config).learn(64, callback=callback)
    assert callback.updates > 0
    assert (callback.sample().first_visit is not None) == told


def test_the_learning_rate_follows_the_algorithms_progress(clock_env):
    callback = JEPAAuxiliaryCallback(training=dataclasses.replace(TRAINING, schedule="cosine"))
    ppo(clocks(clock_env)).learn(64, callback=callback)
    assert callback.learner.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_a_callback_serves_two_calls_of_learn_with_one_learner(clock_env):
    callback, algorithm = JEPAAuxiliaryCallback(training=TRAINING), ppo(clocks(clock_env))
    algorithm.learn(32, callback=callback)
    learner = callback.learner
    algorithm.learn(32, callback=callback)
    assert callback.learner is learner
    assert callback.updates == (64 - 20) * 0.5
    require_aligned(callback.sample())


def test_the_memory_of_rollouts_discounts_outcomes_as_the_algorithm_does():
    callback, algorithm = JEPAAuxiliaryCallback(), ppo("CartPole-v1")
    algorithm.gamma = 0.5
    algorithm.learn(200, callback=callback)
    outcome = callback.memory.sample(200, 1, np.random.default_rng(0)).outcome
    outcome = outcome[torch.isfinite(outcome)]
    assert outcome.min() == 1 and 1.9 < outcome.max() <= 2  # 1 + 1/2 + 1/4 ...


@pytest.mark.parametrize("make", [ppo, dqn])
def test_rewards_may_be_remembered_by_their_signs(clock_env, make):
    callback = JEPAAuxiliaryCallback(training=TRAINING, replay=ReplayConfig(capacity=500, rewards="sign"))
    make(clocks(clock_env)).learn(64, callback=callback)
    batch = callback.sample()
    assert set(batch.reward[batch.alive].tolist()) == {1.0}  # they are 10 * episode + step
    assert set(batch.label[batch.labelled].tolist()) == {1.0}


@pytest.mark.parametrize("make", [ppo, dqn])
def test_rewards_stay_in_environment_units_and_observations_are_those_the_policy_sees(clock_env, make):
    env = VecNormalize(clocks(clock_env))
    callback = JEPAAuxiliaryCallback(
        training=dataclasses.replace(TRAINING, batch_size=256), replay=ReplayConfig(capacity=500)
    )
    algorithm = make(env).learn(64, callback=callback)
    batch = callback.sample()
    assert set(batch.reward[batch.alive].unique().tolist()) <= {10.0 * e + c for e in range(20) for c in range(1, 6)}
    if isinstance(algorithm, DQN):
        stored = algorithm.replay_buffer.observations[: algorithm.replay_buffer.size()].reshape(-1, 3)
        told = {tuple(row) for row in env.normalize_obs(stored).astype(np.float32).tolist()}
        assert {tuple(row) for row in batch.observation[:, 0].tolist()} <= told
    else:  # as they were when they came; the statistics have moved on since
        assert batch.observation.abs().max() <= 10
        assert not (batch.observation == batch.observation.round()).all()  # the clock's own are whole numbers


def test_box_actions_and_images_reach_the_batch_as_the_world_model_reads_them():
    wide = spaces.Box(np.array([-1.0, 2.0], np.float32), np.array([0.5, 10.0], np.float32))
    callback = JEPAAuxiliaryCallback(training=TRAINING)
    ppo(NoiseEnv(IMAGE, wide)).learn(32, callback=callback)
    batch = callback.sample()
    assert batch.observation.shape[2:] == (20, 24, 3)
    assert batch.observation.dtype == torch.uint8
    assert batch.action.min() == -1 and batch.action.max() == 1  # PPO's unbounded actions are clipped to the bounds
    assert callback.updates == 6


def test_the_callback_refuses_what_it_cannot_train(trained, clock_env):
    _, path = trained("CartPole-v1")
    plain = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, device="cpu")
    with pytest.raises(TypeError, match="features_extractor_class must be JEPAFeaturesExtractor, got FlattenExtractor"):
        plain.learn(16, callback=JEPAAuxiliaryCallback())
    with pytest.raises(ValueError, match="must be trainable"):
        ppo("CartPole-v1", run=path, trainable=False).learn(16, callback=JEPAAuxiliaryCallback())
    with pytest.raises(ValueError, match=r"model_config\.latent_dim must be that of the features extractor, 16, got 7"):
        ppo("CartPole-v1", run=path).learn(16, callback=JEPAAuxiliaryCallback(ModelConfig(latent_dim=7)))
    kwargs = {"features_extractor_class": JEPAFeaturesExtractor, "share_features_extractor": False}
    apart = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, policy_kwargs=kwargs, device="cpu")
    with pytest.raises(ValueError, match="share_features_extractor=True"):
        apart.learn(16, callback=JEPAAuxiliaryCallback())
    lean = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
    kwargs = {"features_extractor_class": JEPAFeaturesExtractor}
    algorithm = DQN("MlpPolicy", "CartPole-v1", buffer_size=100, policy_kwargs=kwargs, device="cpu", **lean)
    with pytest.raises(ValueError, match="optimize_memory_usage must be off"):
        algorithm.learn(16, callback=JEPAAuxiliaryCallback())


def test_what_is_no_path_and_no_configuration_is_refused_with_what_serves(trained):
    agent, _ = trained(NoiseEnv(OBSERVATIONS["vector"][0]))
    with pytest.raises(TypeError, match="run must be the path of a saved agent or of a run's folder, got JEPAAgent"):
        JEPAFeaturesExtractor(agent.observation_space, run=agent)
    with pytest.raises(TypeError, match="run must be the path of a saved agent or of a run's folder, got JEPAAgent"):
        JEPAAuxiliaryCallback(run=agent)
    with pytest.raises(TypeError, match=r"must be a ModelConfig \(a saved agent is run=PATH\), got 'runs/x'"):
        JEPAAuxiliaryCallback("runs/x")
