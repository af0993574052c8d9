"""Remembering an episode, telling how often it was where actions lead, and planning that does not come back."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy

from jepa_rl.agent import AgentConfig, ExplorationConfig, JEPAAgent, TrainingConfig
from jepa_rl.agent.episode_memory import ROOM, EpisodeMemory, pack_memories, unpack_memories
from jepa_rl.agent.familiarity import REFRESH, Familiarity, imagined_visits
from jepa_rl.planners import PlannerConfig

LENGTH = 12


class Corridor:
    """A model of a corridor in which places are their own latents; 0 goes back, 1 goes on, 2 does nothing."""

    def __init__(self, wrong: float = 0.0) -> None:
        self._wrong = wrong
        self.scale = 1.0  # of latents, as it were learned

    def encode(self, observation: torch.Tensor) -> torch.Tensor:
        return observation.float() * self.scale

    def predict(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return latent + torch.tensor([-1.0, 1.0, 0.0])[action, None] + self._wrong

    def parameters(self):
        return iter([torch.zeros(1)])


def place(*numbers: int) -> np.ndarray:
    return np.array(numbers)[:, None]


def walk(memory: EpisodeMemory, *steps: tuple[int, int]) -> EpisodeMemory:
    for action, number in steps:
        memory.arrive(action, np.array([number]), np.array([number], np.float32))
    return memory


def memory_at(number: int, n_actions: int = 3) -> EpisodeMemory:
    return EpisodeMemory(n_actions, np.array([number]), np.array([number], np.float32))


def test_a_memory_knows_where_actions_led_and_how_often_it_was_there():
    memory = walk(memory_at(1, 2), (0, 1), (1, 2), (0, 1))
    assert [int(each[0]) for each in memory.observations] == [1, 2]
    assert memory.visits == [3, 1]
    assert memory.outcomes == [[0, 1], [0, -1]]
    assert memory.present == 0


def test_the_last_outcome_of_an_action_counts():
    assert walk(memory_at(1, 1), (0, 2), (0, 1), (0, 3)).outcomes == [[2], [0], [-1]]


def test_a_long_episode_begins_to_remember_anew():
    memory = walk(memory_at(0, 1), *[(0, number) for number in range(1, ROOM)])
    walk(memory, (0, 7))
    assert len(memory) == ROOM
    assert memory.visits[7] == 2
    walk(memory, (0, ROOM))
    assert memory.visits == [1]
    assert memory.observations[0].tolist() == [ROOM]
    assert memory.outcomes == [[-1]]


def test_a_copy_goes_on_alone():
    memory = walk(memory_at(1, 2), (0, 2))
    before = pack_memories([memory])
    walk(memory.copy(), (0, 1), (1, 1), (1, 3))
    for name, value in pack_memories([memory]).items():
        assert np.array_equal(value, before[name]), name


def test_memories_come_back_as_they_were():
    memories = [walk(memory_at(1, 2), (1, 2), (0, 3)), walk(memory_at(7, 2), (0, 7))]
    for memory, again in zip(memories, unpack_memories(pack_memories(memories), 2), strict=True):
        # Also what it does next is the same.
        packed = [pack_memories([walk(each, (1, 2), (1, 9))]) for each in (memory, again)]
        for name, value in packed[0].items():
            assert np.array_equal(value, packed[1][name]), name


def test_memories_that_do_not_fit_are_refused():
    state = pack_memories([memory_at(1, 2)])
    with pytest.raises(ValueError, match=r"must have 1 rows each, got \[1, 1, 2, 1\]"):
        unpack_memories(state | {"visits": np.array([1, 1])}, 2)
    with pytest.raises(ValueError, match="must be of 3 actions, got 2"):
        unpack_memories(state, 3)


def test_the_visits_of_the_nearest_latent_count_as_far_as_predictions_can_tell():
    seen, visits = (
        torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[9.0, 9.0], [0.0, 0.0]]]),
        torch.tensor([[5.0, 2.0], [4.0, 1.0]]),
    )
    imagined = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [0.3, 0.1], [9.0, 9.0]]]).expand(2, -1, -1)
    found = imagined_visits(imagined, seen, visits, error=0.05)
    assert found[0].tolist() == pytest.approx([5.0, 2.0, 5 * np.exp(-1), 0.0], abs=1e-6)
    assert found[1].tolist() == pytest.approx([1.0, np.exp(-20), np.exp(-1), 4.0], abs=1e-6)


def test_outcomes_are_as_they_were_or_as_they_are_imagined():
    familiarity = Familiarity(3, Corridor)
    memories = familiarity.begin(place(5))
    assert familiarity.outcome_visits(memories).tolist() == [[0, 0, 0]]  # nothing was predicted yet
    for action, reached in ((1, 6), (0, 5), (0, 5)):  # there is a wall behind 5, of which the model knows nothing
        familiarity.learn(memories, np.array([action]), place(reached), np.zeros(1, bool))
    assert memories[0].visits == [3, 1]
    found = familiarity.outcome_visits(memories)[0].tolist()
    # Back: known to stay. On: known. Nothing: never tried, imagined to stay.
    assert found == pytest.approx([3, 1, 3])
    # So it is beside a longer memory.
    other = walk(memory_at(0), *[(1, number) for number in range(1, 9)])
    assert familiarity.outcome_visits([*memories, other])[0].tolist() == pytest.approx([3, 1, 3])


def test_the_error_of_predictions_is_learned_from_episodes_that_go_on():
    familiarity = Familiarity(3, lambda: Corridor(wrong=0.1))
    memories = familiarity.begin(place(5, 5))
    familiarity.learn(memories, np.array([1, 1]), place(6, 0), np.array([False, True]))
    assert familiarity.error == pytest.approx(0.01, rel=1e-4)
    assert [memory.visits for memory in memories] == [[1, 1], [1]]
    familiarity.learn(memories, np.array([0, 1]), place(6, 2), np.array([False, False]))  # both are 0.9 off
    assert familiarity.error == pytest.approx(0.81 - 0.99**2 * 0.8, rel=1e-4)


def test_latents_are_encoded_anew_as_the_model_learns():
    model = Corridor()
    familiarity = Familiarity(3, lambda: model)
    memories = familiarity.begin(place(0))
    model.scale = 2.0
    for number in range(1, REFRESH + 1):
        assert memories[0].latents[0].tolist() == [0]
        familiarity.learn(memories, np.array([1]), place(number), np.zeros(1, bool))
        assert memories[0].age == number % REFRESH
    assert [float(latent[0]) for latent in memories[0].latents] == [2.0 * number for number in range(REFRESH + 1)]


class Clueless(gym.Env):
    """A corridor whose rewarded end a model without training knows nothing of."""

    observation_space = spaces.Discrete(LENGTH + 1)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self.place, {}

    def step(self, action):
        self.place = int(np.clip(self.place + (-1, 1, 0)[action], 0, LENGTH))
        return self.place, float(self.place == LENGTH), self.place == LENGTH, False, {}


def untrained(revisit_cost: float) -> JEPAAgent:
    config = AgentConfig(
        planner=PlannerConfig(kind="exhaustive", horizon=1, revisit_cost=revisit_cost),
        training=TrainingConfig(starts=10_000),
    )
    return JEPAAgent(config, lambda: gym.wrappers.TimeLimit(Clueless(), 100), seed=0, device="cpu")


def test_a_planner_that_remembers_does_not_stay_for_ever_where_it_values_staying():
    with_memory, without = untrained(100.0), untrained(0.0)
    returns = [evaluate_policy(agent, agent.env, 2, deterministic=True)[0] for agent in (with_memory, without)]
    assert returns == [1.0, 0.0]


def test_predict_leaves_the_state_that_it_is_given_alone():
    agent = untrained(100.0)
    _, state = agent.predict(np.array([0, 3]))
    before = pack_memories(state[1].tolist())
    first, after = agent.predict(np.array([1, 4]), state=state, episode_start=np.array([False, True]), deterministic=True)
    again, _ = agent.predict(np.array([1, 4]), state=state, episode_start=np.array([False, True]), deterministic=True)
    assert first.tolist() == again.tolist()
    assert [len(memory) for memory in after[1]] == [2, 1]
    for name, value in pack_memories(state[1].tolist()).items():
        assert np.array_equal(value, before[name]), name


def require_true(memory):
    """Every outcome that the memory holds is where that action leads in the corridor."""
    places = [int(each) for each in memory.observations]
    for place, row in zip(places, memory.outcomes, strict=True):
        for action, reached in enumerate(row):
            assert reached < 0 or places[reached] == np.clip(place + (-1, 1, 0)[action], 0, LENGTH)


def walker() -> JEPAAgent:
    """Plans two steps ahead, and half of its actions are not those of the plan."""
    config = AgentConfig(
        planner=PlannerConfig(kind="exhaustive", horizon=2, revisit_cost=0.1),
        training=TrainingConfig(starts=10_000),
        exploration=ExplorationConfig(warmup=0, epsilon_start=0.5, epsilon_end=0.5),
    )
    return JEPAAgent(config, lambda: gym.wrappers.TimeLimit(Clueless(), 100), seed=0, device="cpu")


def test_memories_hold_where_the_actions_that_were_taken_led():
    agent = walker()
    agent.learn(60, callback=lambda *_: require_true(agent.collector.memories[0]) or True)


def test_what_predict_remembers_is_where_its_actions_led():
    agent, env = walker(), Clueless()
    observation, state, starts = env.reset()[0], None, np.ones(1, bool)
    for _ in range(LENGTH - 1):
        action, state = agent.predict(np.array([observation]), state=state, episode_start=starts)
        observation, *_ = env.step(int(action[0]))
        starts = np.zeros(1, bool)
    require_true(state[1][0])


def test_a_visit_costs_what_the_setting_says(monkeypatch):
    agent, seen = untrained(0.25), {}
    monkeypatch.setattr(agent.familiarity, "outcome_visits", lambda memories: torch.tensor([[4.0, 0.0, 2.0]]))
    planner = agent.planner

    class Recorder:
        def plan(self, *arguments, **options):
            seen.update(options)
            return planner.plan(*arguments, **options)

    agent.planner = Recorder()
    agent.predict(np.array([3]))
    assert seen["first_cost"].tolist() == [[1.0, 0.0, 0.5]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "state must be of the 3 observations, got one of 2"),
        ({"episode_start": [True]}, "episode_start must be of the 2"),
    ],
)
def test_a_state_of_other_episodes_is_refused(arguments, message):
    agent = untrained(100.0)
    _, state = agent.predict(np.array([0, 3]))
    observation = np.array([1, 4]) if arguments else np.array([1, 4, 5])
    with pytest.raises(ValueError, match=message):
        agent.predict(observation, state=state, **arguments)


def test_plans_begin_where_the_present_weights_see_the_observation():
    """Not where weights of some updates ago saw it, when it was remembered."""
    agent = untrained(1e-6)
    _, state = agent.predict(np.array([3]))
    with torch.no_grad():
        for parameter in agent.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    remembering = agent.plan(np.array([3]), generator=torch.Generator(), memories=state[1])
    without = agent.plan(np.array([3]), generator=torch.Generator())
    assert remembering.value.tolist() == pytest.approx(without.value.tolist(), abs=1e-4)


def test_actions_that_cannot_be_listed_are_refused():
    with pytest.raises(ValueError, match=r"revisit_cost must be 0 for actions that are not Discrete, got 0\.1"):
        JEPAAgent(dataclasses.replace(AgentConfig(), planner=PlannerConfig(revisit_cost=0.1)), "Pendulum-v1", seed=0)


def test_a_memory_that_comes_after_training_says_what_it_lacks():
    config = dataclasses.replace(walker().config, planner=PlannerConfig(kind="exhaustive", horizon=2))
    agent = JEPAAgent(config, lambda: gym.wrappers.TimeLimit(Clueless(), 100), seed=0, device="cpu").learn(10)
    with pytest.warns(UserWarning, match="revisit_cost counts only places where the episode acted before"):
        agent.set_planner(walker().config.planner)


def test_a_planner_that_is_set_begins_and_ends_the_memories_that_it_needs(tmp_path):
    agent = JEPAAgent(
        dataclasses.replace(walker().config, planner=PlannerConfig(kind="exhaustive", horizon=2)),
        lambda: gym.wrappers.TimeLimit(Clueless(), 100),
        seed=0,
        device="cpu",
    ).learn(10)
    assert not agent.collector.memories
    here = int(agent.collector.observation[0])
    with pytest.warns(UserWarning, match="trained without a memory"):
        agent.set_planner(walker().config.planner)
    assert [int(each) for each in agent.collector.memories[0].observations] == [here]
    agent.learn(20, callback=lambda *_: require_true(agent.collector.memories[0]) or True, reset_num_timesteps=False)
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a", lambda: gym.wrappers.TimeLimit(Clueless(), 100), device="cpu")
    for each in (agent, loaded):
        each.learn(20, reset_num_timesteps=False)
    kept, again = (pack_memories(each.collector.memories) for each in (agent, loaded))
    assert all(np.array_equal(kept[name], again[name]) for name in kept)
    agent.set_planner(PlannerConfig(kind="exhaustive", horizon=2))
    agent.learn(10, reset_num_timesteps=False)
    assert not agent.collector.memories
