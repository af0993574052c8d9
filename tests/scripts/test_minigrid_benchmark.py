"""The MiniGrid benchmark: what counts as success, what is held out, when a rate holds, and what is written down."""

import csv
import dataclasses
import functools
import itertools
import json
import re
import time

import gymnasium as gym
import numpy as np
import pytest
import torch
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.core.world_object import Goal

from jepa_rl.agent import JEPAAgent, SeededEpisodes, preset
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.benchmark_results import held_from
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.control_benchmark import drawings as control_drawings
from jepa_rl.scripts.curve import gradient_updates, our_agent
from jepa_rl.scripts.evaluate import HELDOUT_SEED
from jepa_rl.scripts.grid import checkpoint_file, run_grid
from jepa_rl.scripts.minigrid_benchmark import command, measure
from jepa_rl.scripts.minigrid_benchmark import drawings as minigrid_drawings
from jepa_rl.scripts.minigrid_benchmark.baselines import (
    DQN_SETTINGS,
    PPO_SETTINGS,
    EpsilonGreedy,
    OneHotView,
    make_dqn,
    make_ppo,
)
from jepa_rl.scripts.minigrid_benchmark.drawings import panels, steps_axis
from jepa_rl.scripts.minigrid_benchmark.evaluation import HeldOutEpisodes
from jepa_rl.scripts.minigrid_benchmark.measure import COLUMNS
from jepa_rl.scripts.minigrid_benchmark.page import held_text, overall_table, render
from jepa_rl.scripts.minigrid_benchmark.prose import MET_BEFORE
from jepa_rl.scripts.minigrid_benchmark.summary import (
    Results,
    interquartile_mean,
    probability_of_improvement,
    wilson,
)
from jepa_rl.scripts.minigrid_benchmark.tasks import ALGORITHMS, ONE_START, TASKS, UNSEEN_TASKS, Task, cells, task
from jepa_rl.scripts.options import split_agent_options
from jepa_rl.scripts.reporting.drawing import ALGORITHM_COLOURS, VERMILION
from jepa_rl.scripts.train import overridden

LEFT, RIGHT, FORWARD = range(3)
AHEAD = (3, 5)  # the cell before the agent, in its view
TINY_AGENT = [
    *("--agent.model.latent-dim", "8", "--agent.planner.horizon", "1", "--agent.planner.kind", "exhaustive"),
    *(
        "--agent.model.encoder.kind",
        "grid",
        "--agent.training.starts",
        "16",
        "--agent.training.batch-size",
        "2",
        "--agent.n-envs",
        "4",
    ),
]
SHORT_PPO = PPO_SETTINGS | {"n_envs": 2, "n_steps": 16, "batch_size": 8}


class Scripted:
    """A policy from a function of the observations [N, 7, 7, 4] to actions [N]; counts how often it is asked."""

    def __init__(self, choose):
        self.choose = choose
        self.asked = 0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.asked += 1
        return self.choose(observation), None


def always(action):
    return Scripted(lambda observation: np.full(len(observation), action))


def along_the_wall():
    """Forward, and to the right where a wall is ahead: solves Empty from its corner in 11 steps."""
    wall = OBJECT_TO_IDX["wall"]
    return Scripted(lambda observation: np.where(observation[(slice(None), *AHEAD, 0)] == wall, RIGHT, FORWARD))


def held_out(env_id, episodes=12, seed=0, **kwargs):
    return HeldOutEpisodes(functools.partial(make_env, env_id, kwargs), episodes, HELDOUT_SEED + seed)


@pytest.mark.parametrize(
    ("success", "level", "first"),
    [
        ([0.0, 0.9, 0.9, 0.9], 0.9, 1),
        ([0.9, 0.9, 0.8, 0.9, 0.9, 0.9, 0.0], 0.9, 3),
        ([0.9, 0.9], 0.5, None),
        ([1.0, 1.0, 0.4, 1.0, 1.0], 0.5, None),
        ([0.5, 0.5, 0.5], 0.5, 0),
        ([0.5, 0.5, 0.49], 0.5, None),
    ],
)
def test_a_rate_holds_from_the_first_of_three_evaluations_in_a_row(success, level, first):
    assert held_from(success, level) == first


def test_a_solved_episode_has_minigrids_reward_and_does_not_loop():
    outcome = held_out("MiniGrid-Empty-8x8-v0").run(along_the_wall(), deterministic=True, repeatable=True)
    assert (outcome.success, outcome.looped) == (1, 0)
    assert outcome.mean_return == pytest.approx(1 - 0.9 * 11 / 256)


def test_lava_is_no_success():
    env = gym.make("MiniGrid-LavaCrossingS9N1-v0")
    died = []
    for seed in range(20):
        env.reset(seed=seed)
        terminated = [env.step(FORWARD)[2] for _ in range(7)]
        died.append(any(terminated))
    assert sum(died) > 3
    outcome = held_out("MiniGrid-LavaCrossingS9N1-v0", episodes=20).run(always(FORWARD), deterministic=True)
    assert (outcome.success, outcome.mean_return) == (0, 0)
    assert 0 < outcome.looped < 1  # those before a wall, and not those in lava


def test_an_obstacle_costs_and_is_no_success():
    outcome = held_out("MiniGrid-Dynamic-Obstacles-5x5-v0").run(always(FORWARD), deterministic=True, repeatable=True)
    assert (outcome.success, outcome.mean_return, outcome.looped) == (0, -1, 0)


@pytest.mark.parametrize(
    ("deterministic", "repeatable", "questions"), [(True, False, 2 * 30), (True, True, 2 * 4), (False, True, 2 * 30)]
)
def test_turning_left_for_ever_loops_and_cutting_it_short_changes_nothing(deterministic, repeatable, questions):
    policy = always(LEFT)
    outcome = held_out("MiniGrid-Empty-5x5-v0", max_steps=30).run(
        policy, deterministic=deterministic, repeatable=repeatable
    )
    assert (outcome.success, outcome.mean_return, outcome.looped) == (0, 0, 1)
    assert policy.asked == questions


@pytest.mark.parametrize("repeatable", [False, True])
@pytest.mark.parametrize(("limit", "looped"), [(5, 0), (6, 1)])
def test_who_finds_a_new_state_in_the_second_half_does_not_loop(repeatable, limit, looped):
    # Turning shows the last of four states after three steps.
    held = held_out("MiniGrid-Empty-5x5-v0", max_steps=limit)
    assert held.run(always(LEFT), deterministic=True, repeatable=repeatable).looped == looped


def test_episodes_of_an_environment_that_draws_at_random_are_never_cut():
    policy = always(LEFT)
    held_out("MiniGrid-Dynamic-Obstacles-5x5-v0", episodes=3).run(policy, deterministic=True, repeatable=True)
    assert policy.asked == 100


def test_a_policy_with_a_memory_is_not_cut_while_the_memory_moves_on():
    class Patient(Scripted):
        """Turns left 20 times, then solves the task; what it knows is the number of its steps."""

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            count = np.zeros(len(observation), int) if state is None else np.where(episode_start, 0, state[0])
            route = [LEFT] * 20 + [FORWARD] * 5 + [RIGHT] + [FORWARD] * 5
            return np.array([route[step] for step in count]), (count + 1,)

    # 13 episodes need the 10 environments twice, the second time only three of them.
    outcome = held_out("MiniGrid-Empty-8x8-v0", episodes=13).run(Patient(None), deterministic=True, repeatable=True)
    assert (outcome.success, outcome.looped) == (1, 0)


def test_a_loop_after_a_reward_is_not_cut():
    class Paid(gym.Wrapper):
        def step(self, action):
            observation, _, terminated, truncated, info = self.env.step(action)
            return observation, 0.5, terminated, truncated, info

    held = HeldOutEpisodes(lambda: Paid(make_env("MiniGrid-Empty-5x5-v0", {"max_steps": 30})), 2, HELDOUT_SEED)
    assert held.run(always(LEFT), deterministic=True, repeatable=True).mean_return == 15


def test_the_held_out_episodes_are_the_same_each_time_and_never_those_of_training():
    seeds = []

    class Noted(gym.Wrapper):
        def reset(self, *, seed=None, options=None):
            seeds.append(seed)
            return self.env.reset(seed=seed, options=options)

    def factory():
        return Noted(make_env("MiniGrid-Empty-5x5-v0", {"max_steps": 4}))

    held = HeldOutEpisodes(factory, 12, HELDOUT_SEED)
    held.run(always(LEFT), deterministic=True)
    first, seeds[:] = list(seeds), []
    held.run(always(RIGHT), deterministic=False)
    assert seeds == first
    assert len(set(first)) == 12
    seeds.clear()
    make_ppo(factory, SHORT_PPO, 0, 64).learn(64)
    assert len(seeds) >= 16
    assert not set(seeds) & set(first)


def test_evaluating_does_not_change_the_run(tmp_path):
    def trained(callback):
        model = make_ppo(functools.partial(make_env, "MiniGrid-Empty-5x5-v0"), SHORT_PPO, 3, 96)
        return model.learn(96, callback=callback(model)).policy.state_dict()

    def curve(model):
        who = measure.Contender(model=model, policy=model, repeatable=True)
        cell = {"env_id": "MiniGrid-Empty-5x5-v0", "algo": "ppo", "seed": 3, "eval_every": 32, "env_steps": 128}
        return measure.Curve(cell, who, held_out("MiniGrid-Empty-5x5-v0", 2, max_steps=10), (tmp_path / "a").open("w"))

    alone, watched = trained(lambda model: None), trained(curve)
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


def test_the_one_hot_view_says_what_the_symbols_say():
    env = make_env("MiniGrid-DoorKey-5x5-v0")
    view = OneHotView(env.observation_space)
    observation, _ = env.reset(seed=1)
    observations = np.stack([observation, env.step(LEFT)[0]])
    flat = view(torch.as_tensor(observations).float())
    assert flat.shape == (2, view.features_dim) == (2, 984)
    for row, symbols in zip(flat, observations, strict=True):
        cell = row[:980].view(7, 7, 20)
        for plane, part in enumerate(cell.split((11, 6, 3), dim=-1)):
            assert (part.sum(-1) == 1).all()
            assert np.array_equal(part.argmax(-1), symbols[..., plane])
        assert row[980:].tolist() == [float(direction == symbols[0, 0, 3]) for direction in range(4)]


def test_the_baselines_have_the_settings_that_are_recorded():
    factory = functools.partial(make_env, "MiniGrid-Empty-5x5-v0")
    dqn = make_dqn(factory, DQN_SETTINGS, 0, 48_000)
    assert (dqn.n_steps, dqn.batch_size, dqn.buffer_size, dqn.train_freq.frequency) == (5, 64, 100_000, 4)
    assert dqn.replay_buffer.n_steps == 5
    assert [layer.out_features for layer in dqn.q_net.q_net if hasattr(layer, "out_features")] == [256, 256, 7]
    epsilon = [dqn.exploration_schedule(1 - step / 48_000) for step in (0, 6_000, 12_000, 48_000)]
    assert epsilon == pytest.approx([1, 0.525, 0.05, 0.05])
    ppo = make_ppo(factory, PPO_SETTINGS, 0, 48_000)
    assert (ppo.n_envs, ppo.n_steps, ppo.batch_size, ppo.n_epochs, ppo.ent_coef) == (8, 128, 256, 4, 0.01)
    assert ppo.policy.features_extractor.features_dim == 128


def test_updates_are_gradient_steps_for_every_algorithm():
    factory = functools.partial(make_env, "MiniGrid-Empty-5x5-v0")
    ppo = make_ppo(factory, SHORT_PPO, 0, 64).learn(64)
    assert gradient_updates(ppo) == 2 * 4 * 4  # rollouts, epochs, minibatches
    dqn = make_dqn(factory, DQN_SETTINGS | {"learning_starts": 20}, 0, 60).learn(60)
    assert gradient_updates(dqn) == 10


def test_a_sampled_dqn_explores_with_its_final_epsilon_in_each_environment_apart():
    model = make_dqn(functools.partial(make_env, "MiniGrid-Empty-5x5-v0"), DQN_SETTINGS, 0, 100)
    model.exploration_rate = 1.0  # as at the start of training
    observation = np.repeat(model.env.reset(), 2_000, axis=0)
    greedy = EpsilonGreedy(model, 0.05, np.random.default_rng(0))
    best = greedy.predict(observation, deterministic=True)[0]
    assert len(set(best)) == 1
    other = (greedy.predict(observation)[0] != best).mean()
    assert other == pytest.approx(0.05 * 6 / 7, abs=0.015)


def tiny_cells(algorithms, seeds=1, env_steps=96, eval_every=32):
    agent = command.overridden(preset("default").agent, split_agent_options(TINY_AGENT)[1])
    chosen = Task("MiniGrid-Empty-5x5-v0", env_steps, eval_every)
    return cells([chosen], algorithms, seeds, preset="default", agent=agent, episodes=2)


@pytest.mark.parametrize("algorithm", ["jepa", "ppo", "dqn"])
def test_a_cell_writes_its_curve_and_returns_its_end(tmp_path, algorithm):
    (cell,) = tiny_cells([algorithm])
    found = measure.train_and_measure(json.loads(json.dumps(cell)), tmp_path)
    with (tmp_path / f"Empty-5x5-{algorithm}-seed0.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames) == COLUMNS
    assert [int(row["env_steps"]) for row in rows] == [32, 64, 96]
    assert {(row["task"], row["algo"], row["seed"]) for row in rows} == {("MiniGrid-Empty-5x5-v0", algorithm, "0")}
    for name in ("success_greedy", "success_sampled", "looped_share"):
        assert all(0 <= float(row[name]) <= 1 for row in rows)
    for name in ("wall_seconds", "evaluation_seconds"):
        times = [float(row[name]) for row in rows]
        assert 0 < times[0] < times[1] < times[2]
    assert 50 < found["peak_memory_mb"] < 5_000
    assert {**found} == {
        "points": 3,
        **{name: type(found[name])(float(rows[-1][name])) for name in found if name != "points"},
    }


def test_only_planners_that_draw_nothing_are_repeatable(tmp_path):
    (cell,) = tiny_cells(["jepa"])
    factory = functools.partial(make_env, cell["env_id"])
    assert measure.contender(cell, factory, tmp_path).repeatable
    cell["settings"]["agent"]["planner"]["kind"] = "cem"
    assert not measure.contender(cell, factory, tmp_path).repeatable


@pytest.fixture
def short(monkeypatch):
    """The command's --quick with a task of 96 steps."""
    monkeypatch.setattr(command, "QUICK", Task("MiniGrid-Empty-5x5-v0", 96, 32))
    monkeypatch.setattr(command, "QUICK_EPISODES", 2)
    # Several threads would wait for each other on a busy machine
    monkeypatch.setattr("jepa_rl.scripts.grid.cpu_count", lambda: 1)
    return ["benchmark", "minigrid", "--quick", "--jobs", "1", "--preset", "default", *TINY_AGENT]


def test_the_command_runs_what_is_missing_and_writes_the_page(short, tmp_path, monkeypatch, capsys):
    assert run([*short, "--out", str(tmp_path)]) == 0
    assert "Empty-5x5                JEPA" in capsys.readouterr().out
    page = (tmp_path / "minigrid.md").read_text()
    assert "preset `default`" in page
    assert {path.name for path in (tmp_path / "figures" / "minigrid").iterdir()} == {"sampled.png", "greedy.png"}
    result = json.loads((tmp_path / "Empty-5x5-jepa-seed0.json").read_text())
    assert result["cell"]["settings"]["agent"]["model"]["latent_dim"] == 8
    trained = []
    whole = measure.train_and_measure
    monkeypatch.setattr(command, "train_and_measure", lambda cell, out: trained.append(cell["algo"]) or whole(cell, out))
    (tmp_path / "Empty-5x5-dqn-seed0.json").unlink()
    assert run([*short, "--out", str(tmp_path)]) == 0
    assert trained == ["dqn"]
    curve = tmp_path / "Empty-5x5-dqn-seed0.csv"
    header, _first, *rest = curve.read_text().splitlines(keepends=True)
    assert len(rest) == 2
    curve.write_text("".join([header, *rest]))  # as if two processes had written it
    assert run([*short, "--out", str(tmp_path), "--render"]) == 2
    assert "Empty-5x5-dqn-seed0.csv has 2 rows, Empty-5x5-dqn-seed0.json says 3" in capsys.readouterr().err


def test_pictures_are_for_our_agent_alone_and_have_a_page_of_their_own(short, tmp_path):
    pictures = ["--preset", "minigrid-pixels", "--agent.model.encoder.kind", "image"]
    assert run([*short, *pictures, "--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.glob("*.json")] == ["Empty-5x5-jepa-seed0.json"]
    settings = json.loads((tmp_path / "Empty-5x5-jepa-seed0.json").read_text())["cell"]["settings"]
    assert settings["env"] == {"pixels": True}
    page = (tmp_path / "minigrid_pixels.md").read_text()
    assert "RGB [56, 56, 3]" in page
    assert "**PPO**" not in page
    assert {path.name for path in (tmp_path / "figures" / "minigrid_pixels").iterdir()} == {"sampled.png", "greedy.png"}


def test_a_run_that_dies_leaves_its_partial_curve_and_begins_anew(short, tmp_path, monkeypatch, capsys):
    asked = []

    def dies(held, *_, **__):
        asked.append(held)
        if len(asked) == 3:
            raise FloatingPointError("the second evaluation")
        return evaluate(held, *_, **__)

    evaluate = HeldOutEpisodes.run
    monkeypatch.setattr(HeldOutEpisodes, "run", dies)
    assert run([*short, "--out", str(tmp_path), "--algos", "ppo", "dqn"]) == 1
    assert "1 of 2 cells failed" in capsys.readouterr().err
    curve = tmp_path / "Empty-5x5-ppo-seed0.csv"
    assert len(curve.read_text().splitlines()) == 2
    assert Results.load(tmp_path).unfinished == 1
    monkeypatch.setattr(HeldOutEpisodes, "run", evaluate)
    assert run([*short, "--out", str(tmp_path), "--algos", "ppo", "dqn"]) == 0
    assert len(curve.read_text().splitlines()) == 4
    assert Results.load(tmp_path).unfinished == 0


def test_a_run_of_our_agent_that_is_killed_goes_on_from_its_last_evaluation(tmp_path, monkeypatch):
    class Killed(BaseException):
        """Not an error that anything would handle."""

    def killed(held, *_, **__):
        asked.append(held)
        if len(asked) == 5:
            raise Killed
        return evaluate(held, *_, **__)

    (cell,) = tiny_cells(["jepa"])
    whole, stopped, asked, evaluate = tmp_path / "whole", tmp_path / "stopped", [], HeldOutEpisodes.run
    for folder in (whole, stopped):
        folder.mkdir()
    measure.train_and_measure(cell, whole)
    with monkeypatch.context() as patch:
        patch.setattr(HeldOutEpisodes, "run", killed)
        with pytest.raises(Killed):
            measure.train_and_measure(cell, stopped)
    steps, collect = [], JEPAAgent._collect
    with monkeypatch.context() as patch:
        patch.setattr(JEPAAgent, "_collect", lambda agent, *_: (steps.append(agent.n_envs), collect(agent, *_)))
        measure.train_and_measure(cell, stopped)
    assert sum(steps) == 32  # the last third
    name = f"{cell['name']}-seed0.csv"
    curves = [list(csv.DictReader((folder / name).open())) for folder in (whole, stopped)]
    for column in set(curves[0][0]) - {"wall_seconds", "evaluation_seconds", "peak_memory_mb"}:
        assert [row[column] for row in curves[0]] == [row[column] for row in curves[1]], column
    assert float(curves[1][2]["wall_seconds"]) > float(curves[1][1]["wall_seconds"])
    assert {path.name for path in stopped.iterdir()} == {name, checkpoint_file(stopped, cell).name}  # no result yet
    steps.clear()
    with monkeypatch.context() as patch:
        patch.setattr(JEPAAgent, "_collect", lambda agent, *_: (steps.append(agent.n_envs), collect(agent, *_)))
        run_grid([cell], functools.partial(measure.train_and_measure, out=stopped), stopped, 1)
    assert not steps
    assert {path.name for path in stopped.iterdir()} == {name, f"{cell['name']}-seed0.json"}


def test_seconds_of_training_leave_out_those_of_saving(tmp_path, monkeypatch):
    now = [0.0]

    def save(agent, path):
        now[0] += 100.0

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(JEPAAgent, "save", save)
    (cell,) = tiny_cells(["jepa"])
    assert measure.train_and_measure(cell, tmp_path)["wall_seconds"] == 0
    assert now[0] == 300  # once after each evaluation


def test_what_another_setting_left_behind_is_not_gone_on_with(tmp_path):
    (cell,) = tiny_cells(["jepa"])
    factory = functools.partial(make_env, cell["env_id"])
    agent = our_agent(cell, factory, tmp_path).learn(8)
    agent.attachments |= json.loads(json.dumps({"cell": cell, "points": []}))
    agent.save(checkpoint_file(tmp_path, cell))
    assert our_agent(cell, factory, tmp_path).num_timesteps == 8
    assert our_agent(cell | {"episodes": 7}, factory, tmp_path).num_timesteps == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["minigird"], "unknown study 'minigird'; did you mean minigrid?"),
        (["minigrid", "--preset", "minigird"], "unknown preset 'minigird'"),
        (["minigrid", "--tasks", "DoorKey-5x6", "--preset", "default"], "MiniGrid-DoorKey-5x5-v0"),
        (["minigrid", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["minigrid", "--quick", "--out", "docs/results/minigrid"], "--quick needs an --out other than"),
        (["minigrid", "--render"], "docs/results/minigrid has no results"),
        (["minigrid", "--preset", "default", "--agent.discount", "2"], "discount must be in (0, 1], got 2"),
        (["minigrid", "--preset", "minigrid-pixels", "--algos", "jepa", "ppo"], "--algos must be jepa alone"),
        (["minigrid", "--preset", "minigrid-pixels", "--unseen"], "--unseen has no page for the pictures of the preset"),
        (["minigrid", "--unseen", "--quick"], "give one of the two"),
        (["minigrid", "--unseen", "--render"], "docs/results/minigrid_unseen has no results"),
        (["minigrid", "--device", "tpu"], "device must be auto, cpu, or a CUDA device that torch finds, got 'tpu'"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = run(["benchmark", *arguments])
    except SystemExit as stopped:  # the parser of options has its own way out
        status = stopped.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_tasks_go_by_their_short_names_and_others_get_the_default_budget():
    assert task("DoorKey-5x5") is task("MiniGrid-DoorKey-5x5-v0") is TASKS[1]
    assert task("MemoryS7") is UNSEEN_TASKS[-1]
    assert task("LavaCrossingS9N2") == Task("MiniGrid-LavaCrossingS9N2-v0", 200_000, 10_000)
    budgets = [each.budget(name) for each in (*TASKS, *UNSEEN_TASKS) for name in ALGORITHMS]
    assert all(8 <= each.env_steps // each.eval_every <= 25 for each in budgets)
    for each in (*TASKS, *UNSEEN_TASKS):
        ours, theirs = each.budget("jepa").env_steps, each.budget("ppo").env_steps
        assert theirs == each.env_steps
        assert ours == theirs if each.name == "FourRooms" else ours < theirs
    with pytest.raises(ValueError, match="a positive multiple of the evaluation interval, got 100 and 30"):
        Task("MiniGrid-Empty-5x5-v0", 100, 30)
    with pytest.raises(ValueError, match="a positive multiple of the evaluation interval, got 50 and 20"):
        Task("MiniGrid-Empty-5x5-v0", 100, 10, ours=(50, 20)).budget("jepa")


def test_options_of_the_agent_are_told_apart():
    rest, options = split_agent_options(["--tasks", "a", "b", "--agent.planner.horizon", "2", "--seeds", "3"])
    assert rest == ["--tasks", "a", "b", "--seeds", "3"]
    assert options == ["--planner.horizon", "2"]


def test_the_interquartile_mean_leaves_the_outer_quarters_out():
    assert interquartile_mean([[0.0, 0.4], [0.6, 1.0]]).value == pytest.approx(0.5)
    assert interquartile_mean([[0.0, 0.2, 0.4, 0.9]]).value == pytest.approx(0.3)
    assert interquartile_mean([[0.0, 1.0], [1.0, 1.0]]).low is None  # too few seeds
    steady = interquartile_mean([[0.5, 0.5, 0.5], [0.7, 0.7, 0.7, 0.7]])
    assert steady.low is steady.high is None  # where all samples agree they say nothing of other seeds
    wide = interquartile_mean([[0.0, 0.5, 1.0], [0.2, 0.6, 1.0]])
    assert wide.low < wide.value < wide.high


def test_the_probability_of_improvement_counts_pairs_on_the_same_task():
    assert probability_of_improvement([[0.9, 0.8]], [[0.1, 0.2, 0.3]]).value == 1
    assert probability_of_improvement([[0.5, 0.5, 0.5]], [[0.5, 0.5, 0.5]]).value == 0.5
    # 3 of 4 pairs on the first task, none of 4 on the second
    assert probability_of_improvement([[0.2, 0.4], [0.1, 0.1]], [[0.1, 0.3], [0.9, 0.9]]).value == pytest.approx(0.375)
    whole = probability_of_improvement([[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]])
    assert (whole.value, whole.low) == (1, None)


def test_wilsons_interval_is_the_known_one():
    assert wilson(0.5, 50) == pytest.approx((0.3664, 0.6336), abs=1e-4)
    assert wilson(1.0, 50) == pytest.approx((0.9286, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([None, None], "never (60,000)"),
        ([18_000.0], "18,000"),
        ([10_000.0, 20_000.0], "15,000 (10,000, 20,000)"),
        ([10_000.0, None, 20_000.0], "15,000 (2 of 3)"),
    ],
)
def test_what_was_never_held_is_said(values, text):
    assert held_text(values, 60_000) == text


def write_run(folder, chosen, algorithm, seed, success, options=(), pace=2):
    """A finished cell with a curve of sampled success, ``pace`` seconds of training before each evaluation."""
    name, budget = f"{chosen.name}-{algorithm}", chosen.budget(algorithm)
    settings = {"preset": "minigrid", "agent": dataclasses.asdict(overridden(preset("minigrid").agent, options))}
    cell = {
        **{"name": name, "seed": seed, "env_id": chosen.env_id, "algo": algorithm, "env_steps": budget.env_steps},
        **{"eval_every": budget.eval_every, "episodes": 50, "settings": settings},
    }
    (folder / f"{name}-seed{seed}.json").write_text(json.dumps({"cell": cell, "version": 1, "points": len(success)}))
    with (folder / f"{name}-seed{seed}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for point, rate in enumerate(success, 1):
            figures = {column: rate for column in COLUMNS if column.startswith(("success", "return"))}
            figures |= {"env_steps": point * budget.eval_every, "wall_seconds": pace * point, "evaluation_seconds": point}
            figures |= {"updates": 10 * point, "peak_memory_mb": 300, "looped_share": 1 - rate}
            writer.writerow({"task": chosen.env_id, "algo": algorithm, "seed": seed, **figures})


def test_the_page_says_what_the_curves_say(tmp_path):
    easy, hard = Task("MiniGrid-DoorKey-5x5-v0", 10_000, 2_000), Task("MiniGrid-FourRooms-v0", 50_000, 10_000)
    for seed, late in enumerate((0.2, 0.96, 0.2)):
        write_run(tmp_path, easy, "ppo", seed, [0.1, late, 1.0, 0.98, 0.96])
        write_run(tmp_path, easy, "dqn", seed, [0.0, 0.0, 0.0, 0.2, 0.2])
        write_run(tmp_path, hard, "ppo", seed, [0.0, 0.0, 0.1, 0.2, 0.3])
        write_run(tmp_path, hard, "dqn", seed, [0.0, 0.0, 0.0, 0.0, 0.06])
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "0.95 held by 5-step DQN" not in page
    assert "- **DoorKey-5x5**: 0.95 held by PPO from 5,333 steps on (3 of 3 seeds), 5-step DQN never." in page
    assert "- **FourRooms**: nobody holds 0.95 within 50,000 steps; best at the end: PPO with 0.20." in page
    assert "| DoorKey-5x5 | PPO | 3 | 5,333 (6,000, 4,000, 6,000) |" in page
    assert "| DoorKey-5x5 | PPO | 3 | 5 (6, 4, 6) |" in page
    assert "| FourRooms | 5-step DQN | 3 | never (50,000) |" in page
    assert "**There are no results of our agent yet**" in page
    assert "PPO: IQM, 2 tasks | 5-step DQN: IQM, 2 tasks | P(PPO > 5-step DQN), 2 tasks |" in page
    assert re.search(r"\| success at the end .* \| 1\.00 \|", page)  # PPO is better in every pair
    assert "Not the benchmark itself: 12 runs" in page
    for name in ("sampled", "greedy"):
        assert (tmp_path / "figures" / "page" / f"{name}.png").stat().st_size > 10_000


def test_an_algorithm_with_a_budget_of_its_own_is_compared_over_the_steps_that_all_have(tmp_path):
    chosen = Task("MiniGrid-FourRooms-v0", 50_000, 10_000, ours=(20_000, 5_000))
    for seed in range(3):
        write_run(tmp_path, chosen, "ppo", seed, [0.0, 0.2, 0.6, 0.9, 0.9])
        write_run(tmp_path, chosen, "jepa", seed, [0.1, 0.3, 0.5, 0.7])
    results = Results.load(tmp_path)
    assert results.tasks == [chosen]
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "nobody holds 0.95 within 20,000 (JEPA), 50,000 (PPO) steps; best at the end: PPO with 0.80." in page
    assert "FourRooms every 10,000 (JEPA: 5,000)" in page
    assert "| FourRooms | JEPA | 3 | never (20,000) |" in page
    # Ours: mean of four evaluations; PPO: of the two within 20,000 steps.
    assert "| success over the steps that all have | - | - | 1.00 |" in overall_table(results)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ["DoorKey-5x5"],
            "DoorKey-5x5 has few layouts, so that a held-out seed is mostly a layout that was met before: nothing",
        ),
        (["DoorKey-5x5", "FourRooms"], "only FourRooms tests generalisation to new layouts."),
        ([each.name for each in TASKS], "only FourRooms, DoorKey-8x8 and in part DoorKey-6x6 test generalisation to new"),
    ],
)
def test_the_page_says_which_of_its_tasks_ask_for_new_layouts(names, told, tmp_path):
    for name, seed in itertools.product(names, range(2)):
        write_run(tmp_path, Task(task(name).env_id, 3_000, 1_000), "ppo", seed, [0.1, 0.2, 0.3])
    page = " ".join(render(tmp_path, tmp_path / "page.md").read_text().split())
    assert told in page
    assert ("## Over tasks" in page) == (len(names) > 1)


def test_the_page_names_the_rows_whose_seeds_had_machines_of_unlike_speed(tmp_path):
    for name, slowest in (("DoorKey-5x5", 5), ("Empty-8x8", 3)):
        for algorithm, pace in (("ppo", 2), ("dqn", slowest)):
            write_run(tmp_path, Task(task(name).env_id, 3_000, 1_000), algorithm, 0, [0.1, 0.2, 0.3])
            write_run(tmp_path, Task(task(name).env_id, 3_000, 1_000), algorithm, 1, [0.1, 0.2, 0.3], pace=pace)
    (tmp_path / "machines.md").write_text("All of them were made\non a slow machine.\n")
    page = " ".join(render(tmp_path, tmp_path / "page.md").read_text().split())
    assert "up to so many times one of another: 5-step DQN 2.5." in page
    assert "the mean. All of them were made on a slow machine. ## Over tasks" in page
    assert "Between the seeds of DoorKey-5x5 with 5-step DQN it is more than 2: there the fastest compares" in page


@pytest.mark.parametrize(("name", "shared"), [("SimpleCrossingS9N1", 10), ("FourRooms", 0)])
def test_crossings_repeat_themselves_and_four_rooms_do_not(name, shared):
    def layouts(seed, episodes):
        env = SeededEpisodes(make_env(task(name).env_id))
        for episode in range(episodes):
            env.reset(seed=seed if episode == 0 else None)
            bare = env.unwrapped
            yield bare.grid.encode().tobytes(), tuple(bare.agent_pos), bare.agent_dir

    assert sum(layout in set(layouts(0, 400)) for layout in layouts(HELDOUT_SEED, 10)) == shared


def test_the_page_says_which_settings_of_the_preset_were_changed(tmp_path):
    def page(options):
        write_run(tmp_path, Task("MiniGrid-DoorKey-5x5-v0", 3_000, 1_000), "jepa", 0, [0.1, 0.2, 0.3], options)
        return " ".join(render(tmp_path, tmp_path / "page.md").read_text().split())

    assert "**JEPA**: the preset `minigrid`, one setting for all tasks;" in page(())
    told = (
        "the preset `minigrid`, but for the options `--agent.model.value.novelty 0 --agent.planner.horizon 1`, one setting"
    )
    assert told in page(("--planner.horizon", "1", "--model.value.novelty", "0"))


def test_a_page_of_pictures_names_its_task_and_speaks_of_one_seed_only_where_there_is_one(tmp_path):
    def pictures(folder, seeds):
        folder.mkdir()
        for seed in range(seeds):
            write_run(folder, Task("MiniGrid-DoorKey-5x5-v0", 3_000, 1_000), "jepa", seed, [0.1, 0.2, 0.3])
            path = folder / f"DoorKey-5x5-jepa-seed{seed}.json"
            result = json.loads(path.read_text())
            result["cell"]["settings"]["env"] = {"pixels": True}
            path.write_text(json.dumps(result))
        return render(folder, folder / "page.md").read_text()

    assert pictures(tmp_path / "three", 3).startswith("# MiniGrid from pixels: sample efficiency on DoorKey-5x5\n")
    assert "Wilson" not in (tmp_path / "three" / "page.md").read_text()
    assert pictures(tmp_path / "one", 1).count("Wilson") == 2


def test_a_page_of_unseen_tasks_says_so_and_which_are_missing(tmp_path):
    for each in UNSEEN_TASKS[2:]:
        write_run(tmp_path, Task(each.env_id, 3_000, 1_000), "jepa", 0, [0.1, 0.2, 0.3])
    page = " ".join(render(tmp_path, tmp_path / "page.md").read_text().split())
    assert page.startswith(
        "# MiniGrid: tasks on which no setting was chosen `jepa-rl benchmark minigrid --unseen --algos jepa`"
    )
    assert "only where an evaluation was (every 1,000)." in page and "baselines" not in page
    assert "8 runs on 8 of 10 tasks. Not run: Empty-Random-6x6 and DistShift1." in page
    assert "our preset was chosen on other tasks ([minigrid.md](minigrid.md)), by no run on these." in page
    assert "--quick" not in page and "Over tasks" not in page
    assert "- **Unlock**: JEPA does not hold 0.95 within 3,000 steps; at the end 0.20." in page
    write_run(tmp_path, Task(TASKS[0].env_id, 3_000, 1_000), "jepa", 0, [0.1, 0.2, 0.3])
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert page.startswith("# MiniGrid: sample efficiency\n") and "chosen by runs on the benchmark's tasks" in page


def test_a_page_of_unseen_tasks_says_which_an_earlier_preset_had_met(tmp_path):
    now, earlier = tmp_path / "unseen", tmp_path / "unseen_before"
    for folder in (now, earlier):
        folder.mkdir()
    tasks = [Task(each.env_id, 3_000, 1_000) for each in UNSEEN_TASKS]
    for each in tasks[:3]:
        write_run(now, each, "jepa", 0, [0.1, 0.2, 0.3])
    for each in tasks[1:3]:
        write_run(earlier, each, "jepa", 0, [0.4, 0.5, 0.6], ("--model.value.novelty", "0"))
    page = " ".join(render(now, now / "page.md").read_text().split())
    assert "DistShift1 and LavaGapS7 had been run with the preset before (`--agent.model.value.novelty 0`, " in page
    assert "had 0.50 on DistShift1 and 0.50 on LavaGapS7." in page
    assert "New to today's preset was Empty-Random-6x6." in page


def test_an_algorithm_has_one_colour_on_every_page():
    assert set(minigrid_drawings.NAMES) | set(control_drawings.NAMES) == set(ALGORITHM_COLOURS)
    assert ALGORITHM_COLOURS["ppo"] == VERMILION


def test_every_panel_says_what_its_axis_is():
    def draw(axes, name):
        axes.plot([1, 10], [0, 1], label="a")
        steps_axis(axes, [np.array([1, 100]), np.array([1, 100 if name == "linear" else 10])])

    figure = panels(["linear", "log"], ["a"], "success", draw)
    assert [axes.get_xlabel() for axes in figure.axes] == ["environment steps", "environment steps (log)"]


def test_a_curve_with_other_columns_is_refused(tmp_path):
    write_run(tmp_path, TASKS[0], "ppo", 0, [0.1])
    (tmp_path / "Empty-8x8-ppo-seed0.csv").write_text("env_steps,success\n1,2\n")
    with pytest.raises(ValueError, match=r"Empty-8x8-ppo-seed0.csv must have rows with the columns task, algo"):
        Results.load(tmp_path)


def test_the_goal_is_told_from_the_limit_at_the_last_step():
    class Placed(gym.Wrapper):
        def reset(self, *, seed=None, options=None):
            observation, info = self.env.reset(seed=seed, options=options)
            self.env.unwrapped.grid.set(2, 1, Goal())
            return observation, info

    held = HeldOutEpisodes(lambda: Placed(make_env("MiniGrid-Empty-5x5-v0", {"max_steps": 1})), 2, HELDOUT_SEED)
    assert held.run(always(FORWARD), deterministic=True).success == 1
    assert held.run(always(LEFT), deterministic=True).success == 0


def _start(env: SeededEpisodes, base_seed: int, episode: int) -> tuple[bytes, tuple[int, ...], int]:
    env.rebuild_episode(base_seed, episode, ())
    bare = env.unwrapped
    return bare.grid.encode().tobytes(), tuple(map(int, bare.agent_pos)), int(bare.agent_dir)


@pytest.mark.parametrize("env_id", MET_BEFORE)
def test_the_page_counts_held_out_layouts_that_training_met_as_they_are(env_id):
    env = SeededEpisodes(make_env(env_id))
    held_out = [_start(env, HELDOUT_SEED, episode) for episode in range(50)]
    met = {_start(env, seed, episode) for seed in range(4) for episode in range(500)}
    assert sum(start in met for start in held_out) == MET_BEFORE[env_id]
    assert (len(set(held_out)) == 1) == (env_id in ONE_START)
