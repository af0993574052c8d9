"""The control benchmark: who runs where, with which settings, what is written down, and what the page makes of it."""

import csv
import functools
import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from jepa_rl.agent import preset, vectorize
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.control_benchmark import command, measure, tasks
from jepa_rl.scripts.control_benchmark.baselines import SETTINGS, make_baseline
from jepa_rl.scripts.control_benchmark.drawings import smoothed
from jepa_rl.scripts.control_benchmark.measure import ReturnCurve
from jepa_rl.scripts.control_benchmark.page import render
from jepa_rl.scripts.control_benchmark.summary import Results
from jepa_rl.scripts.control_benchmark.tasks import TASKS, Task, cells, task
from jepa_rl.scripts.options import split_agent_options
from jepa_rl.scripts.train import overridden

TINY_AGENT = [
    *("--agent.model.latent-dim", "8", "--agent.planner.horizon", "1", "--agent.planner.samples", "4"),
    *("--agent.planner.elites", "2", "--agent.planner.proposals", "2", "--agent.planner.iterations", "1"),
    *("--agent.training.starts", "40", "--agent.training.batch-size", "2", "--agent.exploration.warmup", "40"),
    *("--agent.model.policy.hidden", "8", "--agent.model.value.hidden", "8", "--agent.training.updates-per-step", "0.2"),
]
SHORT = Task("CartPole-v1", 60, 20, 475.0, False)
COLUMNS = ReturnCurve.columns()


def tiny_cells(algorithms, chosen=SHORT, seeds=1):
    agent = overridden(preset("control").agent, split_agent_options(TINY_AGENT)[1])
    return cells([chosen], algorithms, seeds, preset="control", agent=agent, episodes=2)


def test_sac_runs_on_boxes_dqn_on_finite_actions_and_the_others_on_all():
    grid = cells(TASKS, ["jepa", "sac", "ppo", "dqn"], 2, preset="control", agent=preset("control").agent, episodes=10)
    ran = {(cell["env_id"], cell["algo"]) for cell in grid}
    for each in TASKS:
        names = {algorithm for env_id, algorithm in ran if env_id == each.env_id}
        assert names == {"jepa", "ppo", "sac" if each.continuous else "dqn"}
    assert len(grid) == 2 * 3 * len(TASKS)
    assert [cell["seed"] for cell in grid] == [0] * 27 + [1] * 27
    for each in TASKS[:4]:
        space = make_env(each.env_id).action_space
        assert isinstance(space, spaces.Box) == each.continuous


def test_tasks_go_by_their_names_and_others_get_the_default_budget():
    assert task("Pendulum") is task("Pendulum-v1") is TASKS[0]
    assert task("MountainCar-v0") == Task("MountainCar-v0", 50_000, 2_500, -110.0, False)
    with pytest.raises(ValueError, match=r"a positive multiple of the evaluation interval, got 100 and 30"):
        Task("Pendulum-v1", 100, 30, None, True)


def test_without_names_the_tasks_are_those_whose_packages_are_there(monkeypatch, capsys):
    here = Task("Here-v1", 100, 50, None, True, "numpy")
    monkeypatch.setattr(command, "TASKS", (here, Task("Away-v1", 100, 50, None, True, "a_package_that_is_not")))
    assert command.chosen_tasks(()) == [here]
    said = "left out without a_package_that_is_not (pip install 'jepa-rl[a_package_that_is_not]'): Away\n"
    assert capsys.readouterr().out == said
    assert command.chosen_tasks(("Pendulum",)) == [TASKS[0]]


@pytest.mark.parametrize(
    ("env_id", "name"), [("Pendulum-v1", "Pendulum"), ("jepa_rl/Counting-v0", "Counting"), ("Corridor", "Corridor")]
)
def test_a_tasks_name_names_files(env_id, name):
    assert Task(env_id, 100, 10, None, True).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LunarLanderContinuous", r"LunarLanderContinuous-v3 needs Box2D: pip install 'jepa-rl\[box2d\]'"),
        ("HalfCheetah-v5", r"HalfCheetah-v5 needs mujoco: pip install 'jepa-rl\[mujoco\]'"),
    ],
)
def test_a_task_by_name_whose_package_is_missing_is_refused_with_what_to_install(name, message, monkeypatch):
    monkeypatch.setattr(tasks.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ModuleNotFoundError, match=message):
        command.chosen_tasks((name,))


@pytest.mark.parametrize(
    ("algorithm", "env_id"),
    [(algorithm, each.env_id) for algorithm in SETTINGS for each in TASKS if each.admits(algorithm) and not each.needs],
)
def test_stable_baselines_takes_the_settings_of_every_task(algorithm, env_id):
    settings = json.loads(json.dumps(SETTINGS[algorithm].get(env_id, {})))
    model, policy = make_baseline(algorithm, functools.partial(make_env, env_id), settings, 0, 20_000)
    for name in ("gamma", "batch_size", "train_freq", "n_steps", "use_sde"):
        if name in settings:
            kept = getattr(model, name)
            assert getattr(kept, "frequency", kept) == settings[name]
    assert model.n_envs == settings.get("n_envs", 1)
    assert isinstance(model.get_env(), VecNormalize) == settings.get("normalize", False)
    rates = [model.lr_schedule(progress) for progress in (1.0, 0.5)]
    halved = 0.5 if "learning_rate" in settings.get("linear", ()) else 1.0
    assert rates[1] == pytest.approx(halved * rates[0])
    if algorithm == "dqn":
        share = settings["epsilon_steps"] / 20_000
        assert model.exploration_schedule(1 - share) == pytest.approx(settings["exploration_final_eps"])
        assert model.exploration_schedule(1 - share / 2) == pytest.approx((1 + settings["exploration_final_eps"]) / 2)
    observation = vectorize(functools.partial(make_env, env_id), 2).reset()
    assert len(policy.predict(observation, deterministic=True)[0]) == 2


def test_a_normalised_policy_sees_what_it_was_trained_on():
    factory = functools.partial(make_env, "Acrobot-v1")
    model, policy = make_baseline("ppo", factory, {"normalize": True, "n_steps": 16, "batch_size": 16}, 0, 100)
    model.learn(16)
    seen = []
    model.predict = lambda observation, *_: seen.append(observation) or (np.zeros(1), None)
    policy.predict(np.ones((1, 6), np.float32))
    statistics = model.get_env().obs_rms
    np.testing.assert_allclose(seen[0][0], (1 - statistics.mean) / np.sqrt(statistics.var + 1e-8), rtol=1e-4)


class Scripted:
    """Pushes right where the pole leans to the right: keeps CartPole up for a while, alike every time."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return (observation[:, 2] > 0).astype(int), None


def test_the_held_out_episodes_are_the_same_at_every_point_and_others_for_another_seed(tmp_path):
    held = vectorize(functools.partial(make_env, "CartPole-v1"), 3)

    def evaluated(seed):
        return ReturnCurve({"seed": seed}, Scripted(), held, (tmp_path / "a").open("w")).evaluate()

    first = evaluated(0)
    assert evaluated(0) == first
    assert evaluated(1) != first
    assert first["return_mean"] == first["length_mean"] > 20
    assert first["return_std"] > 0


@pytest.mark.parametrize(
    ("algorithm", "chosen"),
    [("jepa", SHORT), ("dqn", SHORT), ("sac", Task("Pendulum-v1", 60, 20, -200.0, True))],
)
def test_a_cell_writes_its_curve_and_returns_its_end(tmp_path, algorithm, chosen, monkeypatch):
    monkeypatch.setattr(measure, "TIMED_DECISIONS", 2)
    (cell,) = tiny_cells([algorithm], chosen)
    if algorithm == "sac":  # an episode of Pendulum always lasts 200 steps
        monkeypatch.setattr(ReturnCurve, "evaluate", lambda self: dict.fromkeys(self.figures, 1.0))
    found = measure.train_and_measure(json.loads(json.dumps(cell)), tmp_path)
    with (tmp_path / f"{chosen.name}-{algorithm}-seed0.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames) == COLUMNS
    assert [int(row["env_steps"]) for row in rows] == [20, 40, 60]
    assert {(row["task"], row["algo"], row["seed"]) for row in rows} == {(chosen.env_id, algorithm, "0")}
    assert found["points"] == 3
    assert found["return_mean"] == float(rows[-1]["return_mean"])
    assert found["decision_ms"] > 0


def test_evaluating_does_not_change_our_run(tmp_path):
    (cell,) = tiny_cells(["jepa"])
    factory = functools.partial(make_env, cell["env_id"])

    def trained(watched):
        model, policy = measure.contender(cell, factory, tmp_path)
        held = vectorize(factory, 2)
        curve = ReturnCurve(cell, policy, held, (tmp_path / "a").open("w")) if watched else None
        return model.learn(50, callback=curve).model.state_dict()

    alone, watched = trained(False), trained(True)
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


def test_the_command_runs_what_is_missing_and_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "QUICK", SHORT)
    monkeypatch.setattr(command, "EPISODES", 1)
    monkeypatch.setattr(measure, "TIMED_DECISIONS", 2)
    # Several threads would wait for each other on a busy machine
    monkeypatch.setattr("jepa_rl.scripts.grid.cpu_count", lambda: 1)
    short = ["benchmark", "control", "--quick", "--jobs", "1", "--algos", "jepa", "sac", "dqn", *TINY_AGENT]
    assert run([*short, "--out", str(tmp_path)]) == 0
    assert "CartPole                 JEPA" in capsys.readouterr().out
    assert "preset `control`" in (tmp_path / "control.md").read_text()
    assert (tmp_path / "figures" / "control" / "returns.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "CartPole-jepa-seed0.json").read_text())["cell"]["settings"]["agent"]["model"][
        "latent_dim"
    ] == (8)
    trained = []
    whole = measure.train_and_measure
    monkeypatch.setattr(command, "train_and_measure", lambda cell, out: trained.append(cell["algo"]) or whole(cell, out))
    (tmp_path / "CartPole-dqn-seed0.json").unlink()
    assert run([*short, "--out", str(tmp_path)]) == 0
    assert trained == ["dqn"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "contrl"], "unknown preset 'contrl'; did you mean control?"),
        (["--tasks", "Pendulmu-v1"], "Pendulmu"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--quick", "--algos", "dqn"], "none of --algos dqn serves the actions of the chosen tasks"),
        (["--quick", "--out", "docs/results/control"], "--quick needs an --out other than"),
        (["--render"], "docs/results/control has no results"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = run(["benchmark", "control", *arguments])
    except SystemExit as stopped:  # the parser of options has its own way out
        status = stopped.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def write_run(folder, chosen, algorithm, seed, returns):
    """A finished cell with a curve of returns."""
    name = f"{chosen.name}-{algorithm}"
    settings = {"preset": "control"} if algorithm == "jepa" else {}
    budget = chosen.budget(algorithm)
    cell = {
        **{"name": name, "seed": seed, "env_id": chosen.env_id, "algo": algorithm, "env_steps": budget.env_steps},
        **{"eval_every": budget.eval_every, "threshold": chosen.threshold, "continuous": chosen.continuous},
        **{"episodes": 10, "settings": settings},
    }
    result = {"cell": cell, "version": 1, "points": len(returns), "decision_ms": {"jepa": 8.0}.get(algorithm, 0.5)}
    (folder / f"{name}-seed{seed}.json").write_text(json.dumps(result))
    with (folder / f"{name}-seed{seed}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for point, value in enumerate(returns, 1):
            figures = {"env_steps": point * budget.eval_every, "wall_seconds": 2 * point, "evaluation_seconds": point}
            figures |= {"return_mean": value, "return_std": 1.0, "length_mean": 200, "updates": 7, "peak_memory_mb": 300}
            writer.writerow({"task": chosen.env_id, "algo": algorithm, "seed": seed, **figures})


def test_the_page_says_what_the_curves_say(tmp_path):
    swing, run_far = Task("Pendulum-v1", 5_000, 1_000, -200.0, True), Task("HalfCheetah-v5", 5_000, 1_000, None, True)
    for seed, early in enumerate((-900, -190, -900)):
        write_run(tmp_path, swing, "jepa", seed, [-1000, early, -150, -160, -170])
        write_run(tmp_path, swing, "sac", seed, [-1000, -900, -800, -150, -150])
        write_run(tmp_path, run_far, "jepa", seed, [0, 100, 200, 300, 400])
        write_run(tmp_path, run_far, "sac", seed, [0, 0, 0, 600, 1200])
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "- **Pendulum**: -200 held by JEPA from 2,667 steps on (3 of 3 seeds), SAC never." in page
    assert "- **HalfCheetah**: return after 5,000 steps: SAC 600, JEPA 300." in page
    assert "| Pendulum | -200 | JEPA | 3 | 2,667 (3,000, 2,000, 3,000) | 5 (6, 4, 6) |" in page
    assert "| Pendulum | -200 | SAC | 3 | never (5,000) |  |" in page
    assert "| HalfCheetah | 5,000 | JEPA | 300.0 | 300, 300, 300 | 400.0 |" in page
    assert "Our slowest decision takes 8.0 ms; the preset was made to stay within 10 ms on one quiet core" in page
    assert "Not the benchmark itself: 12 runs" in page
    assert (tmp_path / "figures" / "control" / "returns.png").stat().st_size > 10_000


def test_a_drawn_line_ends_with_the_return_at_the_end():
    assert smoothed(np.array([3.0, 5.0, 10.0, 0.0, 2.0])).tolist() == [3, 4, 6, 5, 4]


def test_our_budget_may_be_smaller_and_the_page_says_whose_is_whose(tmp_path):
    chosen = Task("CartPole-v1", 4_000, 1_000, 475.0, False, ours=(1_500, 500))
    grid = cells([chosen], ["jepa", "dqn"], 1, preset="control", agent=preset("control").agent, episodes=10)
    assert {(cell["algo"], cell["env_steps"], cell["eval_every"]) for cell in grid} == {
        ("jepa", 1_500, 500),
        ("dqn", 4_000, 1_000),
    }
    write_run(tmp_path, chosen, "jepa", 0, [100, 200, 300])
    write_run(tmp_path, chosen, "dqn", 0, [10, 20, 30, 400])
    assert Results.load(tmp_path).tasks == [chosen]
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "nobody holds 475 within 1,500 (JEPA), 4,000 (DQN) steps; return at the end: JEPA 200, DQN 150." in page
    assert "CartPole every 1,000 (JEPA: 500)" in page
    assert "| CartPole | 475 | JEPA | 1 | never (1,500) |" in page
    assert "| CartPole | 4,000 | DQN |" in page


def test_a_page_of_baselines_alone_claims_nothing_of_ours(tmp_path):
    write_run(tmp_path, TASKS[0], "sac", 0, [-1000.0] * 40)
    (tmp_path / "Pendulum-ppo-seed0.csv").write_text("")
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "**There are no results of our agent yet**" in page
    assert "nobody holds -200 within 20,000 steps; return at the end: SAC -1000." in page
    assert "Curves of 1 unfinished runs" in page
    assert "decision takes" not in page
    assert Results.load(tmp_path).unfinished == 1
