"""``jepa-rl doctor`` on environments whose faults are known, because they are made with one each."""

import json
import re

import gymnasium as gym
import numpy as np
import pytest

from jepa_rl.agent import AgentConfig
from jepa_rl.envs import make_env
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.doctor import examine, suggestion
from jepa_rl.scripts.env_checks import Patient, preset
from jepa_rl.scripts.env_rollout import Rollout, features, record
from jepa_rl.scripts.train import overridden

STRAY = np.random.Generator(np.random.PCG64(7))  # what a faulty environment draws from


class Plain(gym.Env):
    """A new random observation at every step, whose first entry is the reward; the subclasses break one thing each."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    observation_space = gym.spaces.Box(0.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)
    length = 10

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = 0
        self.place = self.draw()
        return self.place, {}

    def step(self, action):
        self.number += 1
        self.place = self.draw()
        return self.place, self.pay(action), self.number == self.length, False, {"is_success": self.number == self.length}

    def draw(self):
        return self.np_random.random(3).astype(np.float32)

    def pay(self, action):
        return float(self.place[0])

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


class StrayRandomness(Plain):
    def draw(self):
        return STRAY.random(3).astype(np.float32)


class Remembers(Plain):
    """A reset does not undo what went before."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        observation, info = super().reset(seed=seed)
        return observation, info

    def pay(self, action):
        return float(self.resets)


class DrawsWhenDrawn(Plain):
    def render(self):
        self.np_random.random()
        return super().render()


class BreaksWhenDrawn(Plain):
    def render(self):
        raise RuntimeError("no brush")


class DrawsNothing(Plain):
    def render(self):
        return None


class Leaves(Plain):
    def step(self, action):
        if self.number == 5:
            raise SystemExit("the licence has expired")
        return super().step(action)


class ChangesItsSpace(Plain):
    def reset(self, *, seed=None, options=None):
        if getattr(self, "number", 0):
            self.observation_space = gym.spaces.Box(0.0, 2.0, (3,), np.float32)
        return super().reset(seed=seed)


class OfFourParts(Plain):
    def step(self, action):
        observation, reward, *_ = super().step(action)
        return observation, reward, False, {}


class NotANumber(Plain):
    def draw(self):
        return np.array([0.5, np.nan if self.number == 4 else 0.5, 0.5], np.float32)


class InfiniteReward(Plain):
    def pay(self, action):
        return float("inf") if self.number == 3 else float(self.place[0])


class OutOfBounds(Plain):
    def draw(self):
        return super().draw() + np.float32(self.number == 2)


class OfAnotherShape(Plain):
    def draw(self):
        return super().draw()[: 2 if self.number == 2 else 3]


class FarOutOfBounds(Plain):
    def draw(self):
        return super().draw() + np.float32(1e9 * (self.number == 2))


class EndsByWord(Plain):
    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, "no", truncated, info


class PaysByTime(Plain):
    def pay(self, action):
        return self.number / 10


class PaysByTimeRarely(Plain):
    """As in MiniGrid: nearly always 0, and at the goal what is left of the time."""

    def pay(self, action):
        return 1 - self.number / 20 if self.place[0] > 0.8 else 0.0


class PaysByAction(Plain):
    def pay(self, action):
        return float(action)


class PaysNothing(Plain):
    def pay(self, action):
        return 0.0


class PaysForBeing(Plain):
    def pay(self, action):
        return 1.0


class PaysNoise(Plain):
    def pay(self, action):
        return float(self.np_random.normal())


class EndsAtOnce(Plain):
    length = 1


class NeverEnds(Plain):
    length = -1


class BreaksInStep(Plain):
    def step(self, action):
        if self.number == 6:
            raise RuntimeError("the bridge\nis out")
        return super().step(action)


class BreaksInReset(Plain):
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no start")


class BreaksInClose(Plain):
    def close(self):
        raise RuntimeError("the door is stuck")


class BreaksWhenMade(Plain):
    def __init__(self, render_mode=None):
        raise RuntimeError("no licence")


class UnboundedActions(Plain):
    action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Symbols(Plain):
    observation_space = gym.spaces.Box(0, 9, (5, 5, 2), np.uint8)

    def draw(self):
        return self.np_random.integers(0, 10, (5, 5, 2)).astype(np.uint8)

    def pay(self, action):
        return float(self.place[0, 0, 0])


class Pictures(Plain):
    observation_space = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)


class SwitchesOfTwo(Plain):
    action_space = gym.spaces.MultiBinary(2)


class NumbersByName(Plain):
    observation_space = gym.spaces.Dict(
        place=gym.spaces.Box(0, 1, (3,), np.float32), room=gym.spaces.Tuple([gym.spaces.Discrete(4)])
    )
    action_space = gym.spaces.MultiDiscrete([3, 2])

    def draw(self):
        return self.observation_space.sample()


class PictureBesideNumbers(NumbersByName):
    observation_space = gym.spaces.Dict(
        place=gym.spaces.Box(0, 1, (3,), np.float32), camera=gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    )


class TellsSuccess(Plain):
    def step(self, action):
        *rest, _ = super().step(action)
        return *rest, {"success": True}


class TellsSuccessOnly(Plain):
    def step(self, action):
        *rest, _ = super().step(action)
        return *rest, {"is_success": True} if self.np_random.random() < 0.5 else {}


FAULTS = [cls for cls in list(globals().values()) if isinstance(cls, type) and issubclass(cls, Plain)]


@pytest.fixture(autouse=True)
def registered():
    for cls in FAULTS:
        gym.register(f"{cls.__name__}-v0", entry_point=cls)
    yield
    for cls in FAULTS:
        del gym.registry[f"{cls.__name__}-v0"]


def findings(env, steps=300, seed=3, **kwargs):
    name = env if isinstance(env, str) else f"{env.__name__}-v0"
    return {finding.name: finding for finding in examine(name, kwargs, steps=steps, seed=seed)}


def test_a_healthy_environment_has_nothing_but_ok():
    found = findings(Plain)
    assert {finding.status for finding in found.values()} == {"ok"}, found
    assert not any(finding.advice for finding in found.values())
    assert (
        found["ends"].found == "30 episodes of 10 to 10 steps, 10.0 on average; 100% terminated, 0% cut off by a time limit"
    )
    assert found["suggestion"].found == "jepa-rl train control --env-id Plain-v0"


@pytest.mark.parametrize(
    ("env", "name", "status", "text"),
    [
        (StrayRandomness, "determinism", "fail", "a new copy differs from step 1 on (observation before the step, obs"),
        (Remembers, "determinism", "fail", "a copy that was used before differs from step 1 on (reward)"),
        (DrawsWhenDrawn, "render", "fail", "differs from step 2 on (observation"),
        (BreaksWhenDrawn, "render", "fail", "at step 1: RuntimeError: no brush"),
        (DrawsNothing, "render", "warn", "render() must give a picture uint8[H, W, C], got NoneType"),
        (Leaves, "render", "warn", "not checked: the steps fail by themselves"),
        (Leaves, "steps", "fail", "at step 6: SystemExit: the licence has expired"),
        (ChangesItsSpace, "steps", "fail", "observation_space must stay Box"),
        (ChangesItsSpace, "determinism", "fail", "used before differs from step 1 on (on its first reset: ValueError: "),
        (
            OfFourParts,
            "steps",
            "fail",
            "in OfFourParts.step, which must return (observation, reward, term",
        ),
        (NotANumber, "numbers", "fail", "the observation of step 4 is not finite"),
        (InfiniteReward, "numbers", "fail", "the reward (inf) of step 3 is not finite"),
        (OutOfBounds, "numbers", "warn", "60 of 300 steps have observations outside of their space, the first is 2"),
        (FarOutOfBounds, "numbers", "fail", "training refuses an observation of step 2: ValueError: "),
        (OfAnotherShape, "steps", "fail", "OfAnotherShape.step must return an observation of shape (3,), got (2,)"),
        (EndsByWord, "steps", "fail", "EndsByWord.step must return True or False as terminated, got 'no'"),
        (PaysByTime, "reward", "warn", "it depends on time"),
        (PaysByTimeRarely, "reward", "warn", "it depends on time"),
        (PaysByAction, "reward", "ok", "fits --model.reward.input transition"),
        (Plain, "reward", "ok", "fits --model.reward.input observation"),
        (PaysNothing, "reward", "warn", "0 at each of 300 random steps"),
        (PaysForBeing, "reward", "ok", "1 at every step"),
        (PaysNoise, "reward", "warn", "not well predicted"),
        (EndsAtOnce, "ends", "warn", "100% end on their first step"),
        (NeverEnds, "ends", "warn", "no episode ended within 300 steps"),
        (BreaksInStep, "steps", "fail", "at step 7: RuntimeError: the bridge is out"),
        (BreaksInReset, "steps", "fail", "on its first reset: RuntimeError: no start"),
        (BreaksInReset, "api", "fail", "no start"),
        (BreaksInReset, "speed", "warn", "not checked: no step could be taken"),
        (BreaksInClose, "api", "fail", "RuntimeError: the door is stuck"),
        (UnboundedActions, "spaces", "fail", "is unbounded; wrap the environment in gymnasium.wrappers.TransformAction"),
        (Symbols, "spaces", "warn", "too small for an image"),
        (TellsSuccess, "success", "warn", "which evaluation does not read"),
        (TellsSuccessOnly, "success", "warn", "info['is_success'] is there at the end of "),
    ],
)
def test_a_fault_is_found_and_what_to_do_is_said(env, name, status, text):
    found = findings(env)[name]
    assert found.status == status
    assert text in found.found
    assert bool(found.advice) == (status != "ok")


def test_a_constructor_that_leaves_is_an_error_of_one_line(capsys):
    class LeavesWhenMade(Plain):
        def __init__(self, render_mode=None):
            raise SystemExit("no licence")

    gym.register("LeavesWhenMade-v0", entry_point=LeavesWhenMade)
    try:
        assert run(["doctor", "LeavesWhenMade-v0"]) == 2
    finally:
        del gym.registry["LeavesWhenMade-v0"]
    assert "'LeavesWhenMade-v0' cannot be made: SystemExit: no licence" in capsys.readouterr().err


def test_an_error_in_one_run_and_not_in_another_is_named(registered):
    class BreaksOnce(Plain):
        """In the first copy alone."""

        copies = 0

        def __init__(self, render_mode=None):
            super().__init__(render_mode)
            BreaksOnce.copies += 1
            self.copy, self.number = BreaksOnce.copies, 0

        def step(self, action):
            self.number += 1
            if self.copy == 1 and self.number == 7:
                raise RuntimeError("the bridge is out")
            return super().step(action)

    gym.register("BreaksOnce-v0", entry_point=BreaksOnce)
    try:
        found = findings("BreaksOnce-v0")["determinism"]
    finally:
        del gym.registry["BreaksOnce-v0"]
    assert found.status == "fail"
    assert re.search(r"differs from step (\d) on \(at step \1: RuntimeError: the bridge is out", found.found)


def test_other_checks_go_on_after_an_error():
    found = findings(BreaksInStep)
    assert found["spaces"].status == found["determinism"].status == found["numbers"].status == "ok"
    assert found["suggestion"].advice.startswith("first mend what fails: ")


def test_a_function_of_time_is_told_from_one_of_the_observation_by_its_scores():
    scores = findings(PaysByTime)["reward"].found
    assert scores.startswith("R^2 -")
    assert "1.00 from observation and time" in scores
    assert "TransformReward" in findings(PaysByTime)["reward"].advice


def test_cartpole_is_fit_to_train_on(capsys):
    assert run(["doctor", "CartPole-v1", "--steps", "400"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("warn")] == ["api"]  # unbounded velocities
    assert lines[-1].split(maxsplit=2) == ["ok", "suggestion", "jepa-rl train control --env-id CartPole-v1"]


@pytest.mark.parametrize(
    ("env_id", "command", "why"),
    [
        ("CartPole-v1", "control --env-id CartPole-v1", "control: observations are numbers, no image"),
        ("Pendulum-v1", "control", "control: observations are numbers, no image"),
        ("MountainCarContinuous-v0", "control --env-id MountainCarContinuous-v0", "control: "),
        ("MiniGrid-Empty-5x5-v0", "minigrid --env-id MiniGrid-Empty-5x5-v0", "minigrid: MiniGrid's view in symbols"),
        ("Pictures-v0", "default --env-id Pictures-v0", "default: the others are for numbers that are no image"),
        ("SwitchesOfTwo-v0", "control --env-id SwitchesOfTwo-v0", "control: "),
        ("NumbersByName-v0", "control --env-id NumbersByName-v0", "control: "),
        ("PictureBesideNumbers-v0", "default --env-id PictureBesideNumbers-v0", "default: "),
    ],
)
def test_the_preset_follows_from_the_spaces_and_is_explained(env_id, command, why):
    env = make_env(env_id)
    patient = Patient(
        env_id=env_id,
        env_kwargs={},
        observations=env.observation_space,
        actions=env.action_space,
        steps=1,
        seed=0,
        rollout=Rollout(steps=(), seconds=0.0),
    )
    assert suggestion(patient, []).found == f"jepa-rl train {command}"
    assert preset(patient).found.startswith(why)


def test_where_no_preset_is_made_for_the_spaces_the_options_follow_from_the_checks():
    found = findings(Symbols)["suggestion"].found
    assert found == "jepa-rl train default --env-id Symbols-v0 --model.encoder.kind grid --model.reward.input observation"


def test_counting_and_minigrid_get_their_presets_with_the_options_of_the_environment():
    counting = findings("jepa_rl/Counting-v0", steps=400, target=2)
    assert counting["suggestion"].found == "jepa-rl train counting --env.target 2"
    assert counting["success"].status == "ok"
    symbols = findings("MiniGrid-Empty-5x5-v0", steps=100)
    assert (symbols["spaces"].status, symbols["spaces"].options) == ("ok", ())
    assert symbols["spaces"].found.endswith("; the preset minigrid reads a grid of symbols")
    assert symbols["suggestion"].found == "jepa-rl train minigrid --env-id MiniGrid-Empty-5x5-v0"
    drawn = findings("MiniGrid-Empty-5x5-v0", steps=100, pixels=True)
    assert drawn["suggestion"].found.startswith("jepa-rl train minigrid-pixels --env-id MiniGrid-Empty-5x5-v0")


@pytest.mark.parametrize(("env", "kind", "reads"), [(Symbols, "grid", "observation"), (PaysByAction, "auto", "transition")])
def test_the_suggested_options_are_those_of_train(env, kind, reads):
    options = [option for finding in findings(env).values() for option in finding.options]
    model = overridden(AgentConfig(), options).model
    assert model.encoder.kind == kind
    assert model.reward.input == reads


def test_json_holds_every_finding_and_a_failure_sets_the_exit_code(capsys):
    assert run(["doctor", "NotANumber-v0", "--steps", "100", "--json"]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    by_name = {finding["name"]: finding for finding in document["findings"]}
    assert document["env_id"] == "NotANumber-v0"
    assert by_name["numbers"]["status"] == "fail"
    assert set(by_name["numbers"]) == {"name", "status", "found", "advice", "options"}
    assert "checks failed" in printed.err
    assert "numbers" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CartPol-v1"], "near ones: CartPole-v1"),
        (["Plain-v0", "--env.size", "3"], "does not take size"),
        (["Plain-v0", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["Plain-v0", "--seed", "-1"], "--seed must be at least 0, got -1"),
        (["BreaksWhenMade-v0"], "'BreaksWhenMade-v0' cannot be made: RuntimeError: no licence"),
    ],
)
def test_what_cannot_be_examined_is_explained(arguments, message, capsys):
    assert run(["doctor", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_seed_decides_the_rollout():
    runs = [[step.outcome for step in record(Plain(), 20, seed).steps] for seed in (4, 4, 5)]
    assert runs[0] == runs[1] != runs[2]


def test_features_of_any_observation_are_few_and_finite():
    image = np.zeros((64, 64, 3), np.uint8)
    image[1, 1] = 255  # between the strides
    assert features(image).shape == (8 * 8 * 3 + 3,)
    assert not np.array_equal(features(image), features(np.zeros_like(image)))
    assert features({"b": 2, "a": (np.ones(2), np.inf)}).tolist() == [1, 1, 1e30, 2]
    assert len({features(text).item() for text in ("go", "stop", "")}) == 3
    assert len(features(np.zeros(5_000))) <= 1_024
    assert features(3).tolist() == features(np.int64(3)).tolist() == [3]
