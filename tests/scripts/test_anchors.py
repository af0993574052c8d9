"""The anchors benchmark: which losses train the encoder in which variant, which states are merged, what the page says."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
import torch

from jepa_rl.agent import JEPAAgent, preset
from jepa_rl.agent.config import AgentConfig, from_dict
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.anchors_benchmark import command, measure
from jepa_rl.scripts.anchors_benchmark.measure import representation, situations
from jepa_rl.scripts.anchors_benchmark.page import merging_figure, render, steps_text
from jepa_rl.scripts.anchors_benchmark.prose import _limits
from jepa_rl.scripts.anchors_benchmark.summary import chance, merged_share, relation, relations
from jepa_rl.scripts.anchors_benchmark.variants import NAMES, TASKS, VARIANTS, cells, task
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.minigrid_benchmark.evaluation import PlainEpisodes
from jepa_rl.scripts.minigrid_benchmark.measure import COLUMNS
from jepa_rl.scripts.minigrid_benchmark.summary import Results, Run
from jepa_rl.scripts.minigrid_benchmark.tasks import Task
from jepa_rl.scripts.reporting.corrections import holm
from jepa_rl.scripts.train import overridden

EASY, HARD = TASKS[0], TASKS[2]
TINY = [
    *("--agent.model.latent-dim", "8", "--agent.model.encoder.hidden", "8", "--agent.model.dynamics.hidden", "8"),
    *("--agent.training.starts", "16", "--agent.training.batch-size", "2", "--agent.training.updates-per-step", "0.1"),
]


def model_of(chosen, slug):
    (cell,) = cells([chosen], [slug], 1, episodes=1)
    return from_dict(AgentConfig, cell["settings"]["agent"]).model


@pytest.mark.parametrize("chosen", [EASY, TASKS[3]], ids=lambda chosen: chosen.name)
def test_each_variant_opens_the_gates_that_it_says(chosen):
    gates = {}
    for slug in NAMES:
        model = model_of(chosen, slug)
        tasks = {name: each.trains_encoder for name, each in model.tasks.items() if each.weight}
        gates[slug] = {name for name, is_open in tasks.items() if is_open}
        gates[slug] |= {"dynamics"} if model.dynamics.trains_encoder else set()
        assert {"reward", "value", "termination"} <= tasks.keys()
        assert model.dynamics.target == ("same" if slug == "vicreg" else "ema")
        assert (model.regularizer.variance > 0) == (slug == "vicreg")
    heads = {"reward", "value", "termination"}
    assert gates == {
        "joint": {"dynamics", *heads},
        "dynamics-only": {"dynamics"},
        "vicreg": {"dynamics"},
        "auxiliaries-only": heads,
        "random-auxiliary": {"dynamics", "random_linear"},
        "constant-label": {"dynamics", "constant"},
        "no-planner": {"dynamics", *heads},
        "both": {"dynamics", "random_linear", *heads},
    }


def test_variants_differ_in_nothing_else():
    own = overridden(preset("minigrid").agent, BEFORE_NOVELTY)
    base = dataclasses.replace(own, acting_weights="online", planner=dataclasses.replace(own.planner, trace=1.0))
    for cell in cells([EASY], list(NAMES), 1, episodes=1):
        agent = from_dict(AgentConfig, cell["settings"]["agent"])
        assert dataclasses.replace(agent, model=base.model, planner=base.planner) == base
        assert agent.planner.kind == ("value" if cell["algo"] == "no-planner" else base.planner.kind)
        assert dataclasses.replace(agent.planner, kind=base.planner.kind, horizon=base.planner.horizon) == base.planner
        if cell["algo"] == "both":
            assert agent.model == base.model


def test_the_grid_has_every_variant_on_every_task_and_settings_that_come_later_count_as_default():
    grid = cells(TASKS, list(NAMES), 2, episodes=50)
    assert len({(cell["name"], cell["seed"]) for cell in grid}) == len(grid) == 2 * len(TASKS) * len(VARIANTS)
    assert {cell["name"].partition("-")[0] for cell in grid} == {"DoorKey", "SimpleCrossingS9N1", "Counting"}
    kept = json.loads(json.dumps(grid[0]))
    del kept["settings"]["agent"]["model"]["weighting"]
    assert todays_form(kept) == json.loads(json.dumps(grid[0]))


class Encoder:
    """An agent as far as the representation asks: latents by a function of the observations."""

    def __init__(self, encode):
        self.encode = encode


def test_an_encoder_that_keeps_every_view_merges_nothing_and_a_constant_one_everything():
    known = situations(EASY.env_id)
    flat = known.observation.reshape(len(known.observation), -1).astype(np.float32)
    looks = np.unique(flat, axis=0, return_inverse=True)[1].reshape(-1)

    def own(observation):
        place = {row.tobytes(): number for row, number in zip(known.observation, looks, strict=True)}
        return np.eye(looks.max() + 1, dtype=np.float32)[[place[row.tobytes()] for row in observation]]

    told = representation(Encoder(own), known)
    assert told["merged_pairs"] == {"0.05": 0, "0.1": 0, "0.2": 0}
    assert told["merged_states"]["0.1"] == 0
    assert told["effective_rank"] > 100
    flat_out = representation(Encoder(lambda observation: np.ones((len(observation), 4), np.float32)), known)
    assert flat_out["merged_pairs"]["0.1"] == flat_out["separable_pairs"] == told["separable_pairs"]
    assert flat_out["effective_rank"] == 0
    # What looks the same in different classes is nobody's merging: those pairs are left out.
    assert known.alike > 0
    assert told["alike_pairs"] + told["separable_pairs"] <= known.states * (known.states - 1) // 2


def test_one_pair_of_states_with_one_latent_is_one_merged_pair():
    known = situations(EASY.env_id)
    first, second = np.argwhere(known.depth >= 0)[0]
    latents = np.eye(known.states, dtype=np.float32)
    for state in range(known.states):  # states that look the same have one latent
        same = (known.observation == known.observation[state]).all(axis=(1, 2, 3))
        latents[state] = latents[np.flatnonzero(same)[0]]
    place = {row.tobytes(): latents[number] for number, row in enumerate(known.observation)}
    place[known.observation[first].tobytes()] = place[known.observation[second].tobytes()]
    looks = [(known.observation == known.observation[state]).all(axis=(1, 2, 3)) for state in (first, second)]
    expected = (known.depth[np.ix_(*looks)] >= 0).sum()
    told = representation(Encoder(lambda observation: np.stack([place[row.tobytes()] for row in observation])), known)
    assert told["merged_pairs"]["0.1"] == expected > 0


def test_images_of_the_same_count_are_one_state():
    known = situations("jepa_rl/Counting-v0")
    count = dict(zip((row.tobytes() for row in known.observation), known.state, strict=True))

    def by(place):
        return lambda observation: np.array([[place[count[row.tobytes()]]] for row in observation], np.float32)

    assert representation(Encoder(by(range(9))), known)["merged_pairs"]["0.1"] == 0
    mirrored = [abs(k - 4) for k in range(9)]  # the reward's own symmetry, which actions break
    assert representation(Encoder(by(mirrored)), known)["merged_pairs"]["0.1"] == 4
    assert (known.states, known.alike) == (9, 0)


def test_episodes_of_the_counting_environment_are_the_same_each_time():
    config = preset("counting").agent
    small = dataclasses.replace(config.model.encoder, convolutions=((4, 8, 8, 0),))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, latent_dim=8, encoder=small))
    agent = JEPAAgent(config, lambda: make_env("jepa_rl/Counting-v0"), seed=0)
    held = PlainEpisodes(lambda: make_env("jepa_rl/Counting-v0"), 12, 0)
    first, second = (held.run(agent, deterministic=True) for _ in range(2))
    assert first == second
    assert 0 < first.success < 1
    assert first.success == pytest.approx(first.mean_return)  # the reward is paid once, at the target


def test_episodes_without_success_are_refused():
    with pytest.raises(ValueError, match="is_success"):
        PlainEpisodes(lambda: make_env("CartPole-v1"), 1, 0).run(Left(), deterministic=True)


class Left:
    """Pushes the cart to the left."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(len(observation), int), None


@pytest.fixture
def short(monkeypatch):
    """The quick benchmark, cut down to a room without a key."""
    torch.set_num_threads(1)
    monkeypatch.setattr(command, "QUICK_TASK", Task("MiniGrid-Empty-5x5-v0", 48, 16))
    monkeypatch.setattr(command, "QUICK", ("joint", "no-planner"))
    monkeypatch.setattr(command, "QUICK_EPISODES", 2)
    # Several threads would wait for each other on a busy machine
    monkeypatch.setattr("jepa_rl.scripts.grid.cpu_count", lambda: 1)
    return ["benchmark", "anchors", "--quick", "--jobs", "1", *TINY]


def test_the_command_runs_what_is_missing_and_writes_the_page(short, tmp_path, monkeypatch, capsys):
    assert run([*short, "--out", str(tmp_path)]) == 0
    assert "(g) no planner" in capsys.readouterr().out
    page = (tmp_path / "anchors.md").read_text()
    assert "Not the benchmark itself: 2 runs" in page
    assert "too few seeds for a verdict" in page
    result = json.loads((tmp_path / "Empty-5x5-no-planner-seed0.json").read_text())
    assert result["cell"]["settings"]["agent"]["model"]["latent_dim"] == 8
    assert (result["points"], result["env_steps"]) == (3, 48)
    assert result["representation"]["states"] == 34
    trained = []
    whole = measure.train_and_measure
    monkeypatch.setattr(command, "train_and_measure", lambda cell, out: trained.append(cell["algo"]) or whole(cell, out))
    (tmp_path / "Empty-5x5-joint-seed0.json").unlink()
    assert run([*short, "--out", str(tmp_path), "--page", str(tmp_path / "sub" / "other.md")]) == 0
    assert trained == ["joint"]
    assert (tmp_path / "sub" / "figures" / "anchors" / "merging.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "jont"], "unknown variant 'jont'; did you mean joint?"),
        (["--tasks", "FourRooms"], "unknown task 'FourRooms'; known are DoorKey-5x5"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--quick", "--out", "docs/results/anchors"], "--quick needs an --out other than"),
        (["--render"], "docs/results/anchors has no results"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["benchmark", "anchors", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def write_run(folder, chosen, slug, seed, success, merged):
    """A finished cell with a curve of sampled success and ``merged`` of 100 pairs."""
    name = f"{chosen.name}-{slug}"
    cell = {
        **{"name": name, "seed": seed, "env_id": chosen.env_id, "algo": slug, "env_steps": chosen.env_steps},
        **{"eval_every": chosen.eval_every, "episodes": 50, "settings": {}},
    }
    found = {
        **{"effective_rank": 10.0, "states": 20, "alike_pairs": 7, "separable_pairs": 100},
        "merged_pairs": {"0.05": merged // 2, "0.1": merged, "0.2": 2 * merged},
        "merged_states": {"0.05": 0, "0.1": min(merged, 20), "0.2": 0},
    }
    result = {"cell": cell, "version": 1, "points": len(success), "representation": found}
    (folder / f"{name}-seed{seed}.json").write_text(json.dumps(result))
    with (folder / f"{name}-seed{seed}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for point, rate in enumerate(success, 1):
            figures = dict.fromkeys(COLUMNS, 1.0) | {column: rate for column in COLUMNS if column.startswith("success")}
            figures |= {"task": chosen.env_id, "algo": slug, "seed": seed, "env_steps": point * chosen.eval_every}
            writer.writerow(figures)


def test_the_page_says_what_the_results_say(tmp_path):
    for seed in range(5):
        write_run(tmp_path, EASY, "joint", seed, [0.2, 1.0, 1.0, 1.0], merged=seed)
        write_run(tmp_path, EASY, "dynamics-only", seed, [0.0, 0.1, 0.1, 0.1], merged=30 + seed)
        write_run(tmp_path, EASY, "auxiliaries-only", seed, [0.2, 1.0, 1.0, 1.0], merged=2)
        write_run(tmp_path, HARD, "joint", seed, [0.0, 0.0, 0.1, 0.1], merged=5)
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "**The grid is not complete: 20 of 160 runs.**" in page
    # Two of 252 ways to deal ten runs out are so far apart; two comparisons.
    told = re.search(
        r"\(b\) dynamics only\*\*: at the end \(a\) is better \(P = 1\.00; p = (0\.01\d)\), over the budget", page
    )
    assert float(told[1]) == pytest.approx(2 * 2 / 252, abs=0.003)
    assert "- (a) joint against **(d) auxiliaries only**: at the end no difference is shown (P = 0.50; p = 1)" in page
    assert (
        "**On average over DoorKey-5x5, SimpleCrossingS9N1: joint training (a) ends with more success than (b) dynamics "
        "only; shows no difference from (d) auxiliaries only.**" in page
    )
    assert "**More merging is shown to go with less success on 0 of 2 tasks. Runs that end below 0.5 although" in page
    assert "merging alone is not their reason: 0 of 10.**" in page
    assert "| (a) joint | 1.00 ± 0.00 | 0.10 ± 0.00 |" in page
    assert "| (b) dynamics only | 0.10 ± 0.00 | - |" in page
    assert "2,000 (2,000, 2,000, 2,000, 2,000, 2,000) ± 0" in page
    assert "- **DoorKey-5x5**: 3 variants: -1.00, p = 0.33" in page
    assert "- **SimpleCrossingS9N1**: merging or success does not vary" in page
    assert "DoorKey-5x5: 7 of 107" in page


def test_failures_without_merging_are_counted():
    def a_run(final, merged):
        cell = {"env_id": EASY.env_id, "algo": "joint", "env_steps": 1, "eval_every": 1}
        found = {"merged_pairs": {"0.1": merged}, "separable_pairs": 10}
        return Run({"cell": cell, "representation": found}, {"success_sampled": np.full(3, final)})

    runs = (a_run(1.0, 2), a_run(0.9, 1), a_run(0.1, 2), a_run(0.0, 1), a_run(0.0, 9))
    assert merged_share(runs[-1]) == 0.9
    found = relation(Results(runs, unfinished=0), EASY)
    assert (found.failed, found.unexplained) == (3, 2)
    assert found.between is None  # there is one variant
    assert found.within.value < 0
    assert not found.merging_hurts  # five runs are too few to show it
    assert relation(Results(runs[2:], unfinished=0), EASY).unexplained == 0  # nobody succeeded to compare with


def test_seeds_that_are_alike_do_not_count_as_so_many_proofs():
    """Two variants of ten equal runs each, one of which merges more and succeeds less: two points, not twenty."""

    def runs_of(slug, merged, successes):
        cell = {"env_id": EASY.env_id, "algo": slug, "env_steps": 1, "eval_every": 1}
        found = {"merged_pairs": {"0.1": merged}, "separable_pairs": 100}
        return [Run({"cell": cell, "representation": found}, {"success_sampled": np.full(3, s)}) for s in successes]

    alike = (*runs_of("joint", 0, [1.0] * 10), *runs_of("dynamics-only", 60, [0.2] * 10))
    assert not relation(Results(alike, unfinished=0), EASY).merging_hurts
    steps = [run for n, slug in enumerate(NAMES) for run in runs_of(slug, 10 * n, [1 - n / 10] * 2)]
    ordered = relation(Results(tuple(steps), unfinished=0), EASY)
    assert ordered.between.value == pytest.approx(-1)
    assert ordered.between.hurts
    assert ordered.within is None
    spread = tuple(run for n in range(8) for run in runs_of("joint", 10 * n, [0.9 - n / 10]))
    assert relation(Results(spread, unfinished=0), EASY).within.hurts


def test_what_merging_has_to_do_with_success_is_corrected_for_the_number_of_questions():
    def run_on(task, slug, merged, success):
        cell = {"env_id": task.env_id, "algo": slug, "env_steps": 1, "eval_every": 1}
        found = {"merged_pairs": {"0.1": merged}, "separable_pairs": 100}
        return Run({"cell": cell, "representation": found}, {"success_sampled": np.full(3, success)})

    slugs = list(NAMES)[:5]
    runs = [run_on(EASY, slug, 10 * n, 1 - n / 10) for n, slug in enumerate(slugs)]
    others = [run_on(TASKS[1], slug, 10 * (n % 2), 1 - n / 10) for n, slug in enumerate(slugs)]
    results = Results((*runs, *others), unfinished=0)
    alone = relation(results, EASY).between
    assert alone.hurts
    both = relations(results)
    assert both[EASY.name].between.chance == pytest.approx(2 * alone.chance)
    assert both[EASY.name].between.value == alone.value
    assert both[EASY.name].within is None


def test_seeds_that_have_not_held_the_level_count_from_the_soonest_that_they_can():
    def a_run(success):
        steps = np.arange(1, 5) * 1_500.0
        return Run({"cell": {}}, {"success_sampled": np.array(success), "env_steps": steps})

    never, soon = a_run([0.0, 0.0, 1.0, 1.0]), a_run([1.0, 1.0, 1.0, 1.0])
    lost = a_run([0.0, 0.0, 1.0, 0.0])
    assert steps_text(EASY, [lost, lost]) == "never (6,000)"
    assert steps_text(EASY, [lost, never]) == "never (6,000), 1 at the end"
    assert steps_text(EASY, [lost, soon]) == "1,500 (1 of 2); at least 3,750"
    assert steps_text(EASY, [never, soon]) == "1,500 (1 of 2), 1 at the end; at least 3,000"  # never may hold from 4,500 on
    assert steps_text(EASY, [soon, soon, soon]) == "1,500 (1,500, 1,500, 1,500) ± 0"


def test_tasks_go_by_id_or_short_name():
    assert task("Counting") is task("jepa_rl/Counting-v0") is TASKS[3]
    assert all(each.env_steps // each.eval_every >= 6 for each in TASKS)


def test_four_runs_that_beat_four_others_are_a_difference_and_three_are_not():
    better, worse = [0.9, 0.91, 0.92, 0.93], [0.1, 0.2, 0.3, 0.4]
    assert chance([better], [worse]) == pytest.approx(2 / 70, abs=0.004)  # two of 70 ways to deal them out
    assert chance([better[:3]], [worse[:3]]) == pytest.approx(2 / 20, abs=0.01)
    assert chance([better, better], [worse, worse]) == pytest.approx(2 / 70**2, abs=0.001)
    assert chance([better, worse], [worse, better]) == 1
    assert chance([better[:2]], [worse]) is None


def test_holm_multiplies_the_least_chance_by_their_number_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.9]) == pytest.approx([0.04, 0.09, 0.09, 0.9])
    assert holm([0.4, 0.6]) == [0.8, 0.8]
    assert holm([]) == []


def test_the_limits_say_how_dynamics_alone_fare_in_the_counting_study(tmp_path):
    for seed, success in enumerate((1.0, 0.5)):
        (tmp_path / f"dynamics-only-seed{seed}.json").write_text(json.dumps({"success": success}))
    assert "alone reach 0.750 success (mean of 2 seeds)" in " ".join(_limits(tmp_path).split())
    assert "alone fare better on the counting environment" in " ".join(_limits(tmp_path / "nowhere").split())


def test_every_run_has_a_dot_of_its_own_though_all_are_equal():
    runs = tuple(
        Run(
            {
                "cell": {"env_id": EASY.env_id, "algo": "joint", "seed": seed, "env_steps": 1, "eval_every": 1},
                "representation": {"merged_pairs": {"0.1": 0}, "separable_pairs": 10},
            },
            {"success_sampled": np.ones(3)},
        )
        for seed in range(5)
    )
    figure = merging_figure(Results(runs, unfinished=0))
    for axes in figure.axes:
        (dots,) = axes.lines
        assert len(set(zip(*dots.get_data(), strict=True))) == 5
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["(a) joint"]
