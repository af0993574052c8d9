"""The SB3 benchmark: who begins with which encoder, whose steps count, what is kept and run again."""

import csv
import dataclasses
import functools
import json

import pytest
import torch

from jepa_rl.agent import JEPAAgent, LatentEnv, LatentObservation
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.grid import GridError, result_file
from jepa_rl.scripts.minigrid_benchmark.evaluation import PlainEpisodes
from jepa_rl.scripts.sb3_benchmark import command, measure, tasks
from jepa_rl.scripts.sb3_benchmark.measure import COLUMNS, contender, pretrained
from jepa_rl.scripts.sb3_benchmark.tasks import QUICK, SLUGS, TASKS, Task, cells, pretraining, task

DOORKEY, COUNTING = TASKS
TINY = dataclasses.replace(COUNTING, env_steps=64, eval_every=32, pretraining_steps=32, imagined_steps=64, horizon=2)
TINY_PPO = {"n_envs": 2, "n_steps": 8, "batch_size": 16, "n_epochs": 1, "learning_rate": 1e-2, "net_arch": [4]}
TINY_AGENT = [
    *("--agent.model.latent-dim", "4", "--agent.model.dynamics.hidden", "4", "--agent.model.reward.hidden", "4"),
    *("--agent.model.encoder.convolutions", "2", "8", "8", "0", "--agent.planner.horizon", "1"),
    *("--agent.training.starts", "8", "--agent.training.batch-size", "2", "--agent.exploration.warmup", "8"),
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The quick benchmark, cut down to a few steps of the counting environment: its command line and its folder."""
    out = tmp_path_factory.mktemp("sb3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "QUICK", (TINY,))
        patch.setattr(command, "QUICK_EPISODES", 2)
        patch.setattr(tasks, "PPO", TINY_PPO)
        patch.setattr(tasks, "AUXILIARY_PACE", 0.125)
        # Several threads would wait for each other on a busy machine
        patch.setattr("jepa_rl.scripts.grid.cpu_count", lambda: 1)
        line = ["benchmark", "sb3", "--quick", "--jobs", "1", "--out", str(out), *TINY_AGENT]
        assert run(line) == 0
        yield line, out


def result(out, slug):
    return json.loads((out / f"Counting-{slug}-seed0.json").read_text())


def curve(out, slug):
    with (out / f"Counting-{slug}-seed0.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_pretrained_comes_out_of_the_same_budget():
    grid = cells(TASKS, SLUGS, 2, episodes=50)
    assert len({(cell["name"], cell["seed"]) for cell in grid}) == len(grid) == 2 * (4 + 5)
    for cell in grid:
        before, chosen = cell["settings"]["pretraining_steps"], task(cell["env_id"])
        assert before == (0 if cell["algo"] in ("plain", "auxiliary") else chosen.pretraining_steps)
        if cell["algo"] == "imagined":
            assert (cell["env_id"], cell["env_steps"]) == (COUNTING.env_id, COUNTING.pretraining_steps)
            assert cell["own_steps"] == COUNTING.imagined_steps
        else:
            assert before + cell["own_steps"] == cell["env_steps"] == chosen.env_steps
        assert cell["own_steps"] % cell["eval_every"] == 0
    agents = [pretraining(cell) for cell in grid if cell["env_id"] == COUNTING.env_id and cell["seed"] == 1]
    assert agents[0] is agents[3] is None
    assert agents[1] == agents[2] == agents[4]
    assert (agents[1]["name"], agents[1]["env_steps"], agents[1]["seed"]) == ("Counting-pretrained", 20_000, 1)


def test_quick_tasks_are_those_of_the_grid_with_less_of_everything():
    for quick, whole in zip(QUICK, TASKS, strict=True):
        assert (quick.env_id, quick.preset) == (whole.env_id, whole.preset)
        assert quick.env_steps < whole.env_steps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretraining_steps": 5}, "pretraining_steps must be a multiple of the evaluation interval, got 5"),
        ({"imagined_steps": 5}, "imagined_steps must be a multiple"),
        ({"pretraining_steps": 100_000}, "pretraining_steps must lie between 0 and 100000, got 100000"),
        ({"env_steps": 5}, "a positive multiple of the evaluation interval"),
    ],
)
def test_budgets_that_cannot_be_compared_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(COUNTING, **change)


def test_curves_count_the_steps_of_the_pretraining_and_not_those_imagined(ran):
    _, out = ran
    clocks = {
        slug: [
            tuple(int(row[column]) for column in ("env_steps", "own_steps", "imagined_steps")) for row in curve(out, slug)
        ]
        for slug in SLUGS
    }
    fresh = [(32, 32, 0), (64, 64, 0)]
    later = [(64, 32, 0)]
    assert clocks == {
        **{"plain": fresh, "auxiliary": fresh, "frozen": later, "fine-tuned": later},
        "imagined": [(32, 0, 32), (32, 0, 64)],
    }
    for slug in SLUGS:
        found = result(out, slug)
        assert (found["points"], found["env_steps"]) == (len(clocks[slug]), clocks[slug][-1][0])
        assert 0 <= found["success_greedy"] <= 1
        assert 0 <= found["success_sampled"] <= 1
        assert tuple(curve(out, slug)[0]) == COLUMNS
        assert (found["pretraining"] is None) == (slug in ("plain", "auxiliary"))
        # (64 - 8) x 0.125 updates fall due; the world model is trained in no other variant.
        assert found["auxiliary_updates"] == (7 if slug == "auxiliary" else 0)
    figures = result(out, "frozen")["pretraining"]
    assert figures == result(out, "fine-tuned")["pretraining"] == result(out, "imagined")["pretraining"]
    assert (figures["env_steps"], figures["updates"]) == (32, 2)


def test_what_is_there_is_not_run_again_and_the_kept_agent_serves(ran, monkeypatch, capsys):
    line, out = ran
    done = []
    for name in ("train_and_measure", "pretrain"):
        whole = getattr(measure, name)
        monkeypatch.setattr(
            command, name, lambda cell, whole=whole, **where: done.append(cell["name"]) or whole(cell, **where)
        )
    monkeypatch.setattr(measure, "_train", lambda *_: pytest.fail("trained again"))
    assert run(line) == 0
    assert done == []
    before = result(out, "frozen")["success_sampled"]
    (out / "Counting-frozen-seed0.json").unlink()
    assert run(line) == 0
    assert done == ["Counting-frozen"]
    assert result(out, "frozen")["success_sampled"] == before
    assert "Counting       frozen          1       64" in capsys.readouterr().out
    assert (out / "figures" / "sb3" / "imagined-Counting.png").stat().st_size > 5_000
    assert "Not the benchmark itself: 5 runs" in (out / "sb3_benchmark.md").read_text()


def learned(out, slug):
    """The encoder's weights before and after PPO learns, and the pre-trained agent's."""
    cell = result(out, slug)["cell"]
    factory, before = functools.partial(make_env, cell["env_id"]), pretraining(cell)
    agent = pretrained(before, out / "agents")
    who = contender(cell, factory, agent, out / "agents")
    encoder = who.model.policy.features_extractor.encoder
    first = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    who.model.learn(32)
    return first, encoder.state_dict(), agent.model.encoder.state_dict()


def equal(ours, theirs):
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_frozen_encoder_stays_and_the_fine_tuned_one_moves_from_the_same_weights(ran):
    _, out = ran
    first, last, trained = learned(out, "frozen")
    assert equal(first, trained)
    assert equal(last, trained)
    first, last, trained = learned(out, "fine-tuned")
    assert equal(first, trained)
    assert not equal(last, trained)


def test_plain_and_auxiliary_begin_alike_and_only_the_auxiliary_has_a_callback(ran):
    _, out = ran
    whos = [
        contender(result(out, slug)["cell"], functools.partial(make_env, COUNTING.env_id), None, out / "agents")
        for slug in ("plain", "auxiliary")
    ]
    weights = [who.model.policy.features_extractor.state_dict() for who in whos]
    assert equal(*weights)
    assert [len(who.callbacks) for who in whos] == [0, 1]
    assert whos[1].callbacks[0].training.updates_per_step == 0.125


def test_symbols_serve_ppo_through_the_presets_own_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "PPO", TINY_PPO)
    monkeypatch.setattr(tasks, "AUXILIARY_PACE", 0.25)
    (cell,) = cells([DOORKEY], ["auxiliary"], 1, episodes=2, extra=["--training.starts", "8", "--training.batch-size", "2"])
    who = contender(cell, functools.partial(make_env, cell["env_id"]), None, tmp_path)
    first = {name: weight.clone() for name, weight in who.model.policy.features_extractor.encoder.state_dict().items()}
    who.model.learn(32, callback=[*who.callbacks])
    assert who.callbacks[0].updates == (32 - 8) * 0.25
    assert not equal(who.model.policy.features_extractor.encoder.state_dict(), first)
    assert who.model.policy.features_dim == cell["settings"]["agent"]["model"]["latent_dim"] == 128


def test_imagination_takes_no_real_step_and_is_judged_in_the_real_environment(ran):
    _, out = ran
    cell = result(out, "imagined")["cell"]
    agent = pretrained(pretraining(cell), out / "agents")
    who = contender(cell, functools.partial(make_env, cell["env_id"]), agent, out / "agents")
    imagined = who.model.get_env()
    assert isinstance(imagined, LatentEnv)
    assert (imagined.agent, imagined.horizon, imagined.num_envs) == (agent, 2, 2)
    before, weights = agent.env.env_method("position"), {k: v.clone() for k, v in agent.model.state_dict().items()}
    who.model.learn(16)
    assert agent.env.env_method("position") == before
    assert equal(agent.model.state_dict(), weights)


def test_held_out_episodes_of_ppo_repeat_themselves_and_leave_the_random_numbers_alone(ran):
    _, out = ran
    cell = result(out, "imagined")["cell"]
    factory, agent = functools.partial(make_env, cell["env_id"]), pretrained(pretraining(cell), out / "agents")
    model = contender(cell, factory, agent, out / "agents").model
    held = PlainEpisodes(factory, 8, 0, functools.partial(LatentObservation, agent=agent))
    state = torch.get_rng_state()
    first = held.run(model, deterministic=False)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert held.run(model, deterministic=False) == first
    assert first.success == pytest.approx(first.mean_return)  # the reward is paid once, at the target


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "frosen"], "unknown variant 'frosen'; did you mean frozen?"),
        (["--tasks", "FourRooms"], "unknown task 'FourRooms'; known are DoorKey-5x5, Counting"),
        (["--tasks", "DoorKey-5x5", "--variants", "imagined"], "none of --variants imagined is run on the chosen tasks"),
        (["--quick", "--out", "docs/results/sb3"], "--quick needs an --out other than"),
        (["--render"], "docs/results/sb3 has no results"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["benchmark", "sb3", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_other_settings_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    (cell,) = cells([COUNTING], ["frozen"], 1, episodes=50)
    result_file(tmp_path, cell).write_text(json.dumps({"cell": cell | {"own_steps": 5}, "version": 1}))
    monkeypatch.setattr(measure, "_train", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match="own_steps is 5 there, 80000 here"):
        command.run_all([cell], tmp_path, 1, "local")


def test_variants_that_need_no_agent_run_where_one_cannot_be_trained(tmp_path, monkeypatch):
    grid = cells([COUNTING], ["plain", "frozen", "auxiliary"], 1, episodes=50)

    def fails(*_):
        raise FloatingPointError("the loss is not finite")

    monkeypatch.setattr(measure, "_train", fails)
    monkeypatch.setattr(command, "train_and_measure", lambda cell, out: {})
    with pytest.raises(GridError, match="1 of 1 cells failed"):
        command.run_all(grid, tmp_path, 1, "local")
    assert [result_file(tmp_path, cell).exists() for cell in grid] == [cell["algo"] != "frozen" for cell in grid]


def test_an_agent_that_is_kept_can_be_dreamed_in(ran):
    _, out = ran
    agent = JEPAAgent.load(out / "agents" / "Counting-pretrained-seed0.zip", functools.partial(make_env, COUNTING.env_id))
    assert len(LatentEnv(agent, n_envs=3, horizon=2).reset()) == 3


def test_tasks_go_by_id_or_short_name():
    assert task("Counting") is task("jepa_rl/Counting-v0") is COUNTING
    assert isinstance(DOORKEY, Task)
