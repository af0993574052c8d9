"""The alignment study on runs that are too short to learn: every figure is there, and means what it says."""

import dataclasses
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, JEPAAgent
from jepa_rl.agent.config import from_dict
from jepa_rl.envs.counting import CountingEnv
from jepa_rl.scripts.alignment_study import command, measure, summary
from jepa_rl.scripts.alignment_study.auxiliaries import AUXILIARIES
from jepa_rl.scripts.alignment_study.drawings import spread
from jepa_rl.scripts.alignment_study.evidence import Evidence
from jepa_rl.scripts.alignment_study.page import signed
from jepa_rl.scripts.alignment_study.rows import (
    AUTOMATIC,
    BASE_SEEDS,
    BASES,
    BESIDE,
    FREE_ALONE,
    PAIRS,
    PLAIN_ALONE,
    SEEDS,
    UPDATES,
    WEIGHTED,
    cell,
    cells,
    quick_cells,
)
from jepa_rl.scripts.alignment_study.summary import Results, comparison, effects, first_harm, prediction, rank_correlation
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.reporting import drawing
from jepa_rl.world_model.targets import environment_target

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "alignment"


def short(*options, **more):
    """A cell with 12 updates of a narrow model."""
    whole = cell(*options, **more)
    config = from_dict(AgentConfig, whole["agent"])
    encoder = dataclasses.replace(config.model.encoder, convolutions=((4, 4, 4, 0), (4, 3, 2, 1)))
    training = dataclasses.replace(config.training, starts=100, updates_per_step=0.05, batch_size=4)
    model = dataclasses.replace(config.model, latent_dim=8, encoder=encoder)
    planner = dataclasses.replace(config.planner, horizon=2)
    agent = dataclasses.replace(config, model=model, training=training, planner=planner)
    return {**whole, "steps": 352, "agent": dataclasses.asdict(agent)}


def shrink(patch: pytest.MonkeyPatch) -> None:
    small = {"IMAGES": 120, "EPISODES": 4, "LOOKS": 3, "WINDOWS": 4, "HELDOUT_TRANSITIONS": 160}
    for name, value in small.items():
        patch.setattr(measure, name, value)


@pytest.fixture(scope="module")
def watched():
    """A measured run beside the reward in which every other auxiliary is watched."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return json.loads(json.dumps(measure.train_and_measure(short("plain", {"reward": 1.0}, 0, watched=True))))


def config_of(entry) -> AgentConfig:
    return from_dict(AgentConfig, entry["agent"])


def test_the_grid_holds_every_auxiliary_weight_and_base_once():
    grid = cells(SEEDS)
    names = [(entry["name"], entry["seed"]) for entry in grid]
    assert len(set(names)) == len(names)
    fixed = [entry for entry in grid if not entry["watched"] and entry["weighting"] == "fixed"]
    seeds = {}
    for entry in fixed:
        seeds.setdefault((entry["loss"], *sorted(entry["tasks"].items())), set()).add(entry["seed"])
    assert len(AUXILIARIES) == 12
    for base in BASES:
        assert seeds[base.loss, *sorted(base.tasks.items())] == set(range(BASE_SEEDS))
        for each in base.added:
            for weight in base.weights:
                assert seeds[base.loss, *sorted(base.with_task(each.slug, weight).items())] >= set(range(SEEDS))
    for base in (PLAIN_ALONE, BESIDE):
        assert max(base.weights) / min(base.weights) == 1_000
    for pair in PAIRS:
        assert seeds["plain", *sorted(dict.fromkeys(pair, 1.0).items())] == set(range(SEEDS))
    automatic = {(entry["weighting"], entry["name"]) for entry in grid if entry["weighting"] != "fixed"}
    assert len(automatic) == len(AUTOMATIC) * len(WEIGHTED)
    assert all(entry in grid for entry in quick_cells())


def test_a_cell_trains_what_its_name_says():
    entry = cell("plain", {"reward": 1.0, "noise": 0.1}, 2)
    assert (entry["name"], entry["seed"]) == ("plain-reward1-noise0.1", 2)
    model = config_of(entry).model
    assert not model.dynamics.scale_free
    assert (model.reward.trains_encoder, model.reward.weight) == (True, 1.0)
    assert [(task.target, task.weight, task.trains_encoder) for task in model.auxiliaries] == [("noise", 0.1, True)]
    assert config_of(entry).training.updates_by(entry["steps"]) == pytest.approx(UPDATES, abs=4)

    alone = config_of(cell("free", {"count": 10.0}, 0)).model
    assert alone.dynamics.scale_free
    assert not alone.reward.trains_encoder
    assert alone.reward.weight == 1.0
    assert [task.target for task in alone.auxiliaries] == ["count_number"]

    automatic = cell("plain", {"reward": 1.0, "noise": 1.0}, 0, weighting="pcgrad")
    assert automatic["name"] == "plain-reward1-noise1-pcgrad"
    assert config_of(automatic).model.weighting == "pcgrad"


def test_watching_runs_train_every_other_head_without_the_encoder():
    plain, watching = (config_of(cell("plain", {"reward": 1.0}, 0, watched=watched)).model for watched in (False, True))
    assert plain == dataclasses.replace(watching, auxiliaries=())
    assert len(watching.auxiliaries) == len(AUXILIARIES) - 1
    assert not any(task.trains_encoder for task in watching.auxiliaries)


@pytest.mark.parametrize("target", ["count_number", "dense_reward", "mean_position", "object_color"])
def test_targets_that_are_numbers_have_mean_0_and_deviation_1(target):
    env, values = CountingEnv(), []
    for index in range(400):
        observation, info = env.reset(seed=0 if index == 0 else None)
        values.append(np.atleast_1d(environment_target(target).function(observation, info)))
    assert np.abs(np.mean(values, axis=0)).max() < 0.15
    assert np.std(values, axis=0) == pytest.approx(1, abs=0.1)


def test_the_labels_say_what_the_image_shows():
    def told(target: str, count: int) -> list[float]:
        info = {"count": count, "shape": 2}
        return np.atleast_1d(environment_target(target).function(None, info)).tolist()

    assert [told("count_parity", count)[0] for count in (0, 3, 8)] == [0, 1, 0]
    assert told("object_shape", 1) == [0, 0, 1, 0]
    dense = [told("dense_reward", count)[0] for count in range(9)]
    assert dense.index(max(dense)) == 4
    assert dense == dense[::-1]


def test_a_cell_has_every_figure_and_none_is_nan(watched):
    assert watched["updates"] == 12
    assert "NaN" not in json.dumps(watched)
    assert 0 <= watched["accuracy"] <= 1
    assert 0 <= watched["count_probe"] <= 1
    assert 0 <= watched["success"] <= 1
    for phase in ("early", "late"):
        found = watched["phases"][phase]
        assert set(found) == {"dynamics", *(each.slug for each in AUXILIARIES)}
        assert found["dynamics"]["cosine"] == pytest.approx(1)
        assert found["dynamics"]["share"] + found["reward"]["share"] == pytest.approx(1)
        assert all(found[slug]["share"] == 0 for slug in found if slug not in ("dynamics", "reward"))
        assert found["count"]["batches"] == 3
        assert found["count"]["standard_error"] > 0
        cosines = watched["looks"][phase]["cosines"]["count"]
        assert sum(cosines) / 3 == pytest.approx(found["count"]["cosine"])


def test_a_phase_is_the_mean_of_its_looks_with_their_error():
    def look(cosine, share):
        return {"update": 7, "losses": {"noise": {"cosine": cosine, "share": share, "norm": 2.0}}}

    looks = [look(0.1, 0.5), look(0.3, 0.7), look(None, 0.9)]
    found = measure.summarised(looks)["noise"]
    assert measure.cosines_of(looks) == {"updates": [7, 7, 7], "cosines": {"noise": [0.1, 0.3, None]}}
    assert found["cosine"] == pytest.approx(0.2)
    assert found["standard_error"] == pytest.approx(0.1)
    assert found["share"] == pytest.approx(0.7)
    assert found["batches"] == 3
    assert measure.summarised([look(None, 0.0)])["noise"]["cosine"] is None


def test_looking_at_the_gradients_does_not_change_the_run(monkeypatch):
    shrink(monkeypatch)
    entry, factory = short("plain", {"reward": 1.0, "noise": 1.0}, 0), functools.partial(CountingEnv, target=4)
    config = config_of(entry)
    alone, looked = (JEPAAgent(config, factory, seed=0, device="cpu") for _ in range(2))
    alone.learn(entry["steps"])
    probe = measure.GradientProbe(measure.heldout_windows(config, factory, 0), 12)
    looked.learn(entry["steps"], callback=probe)
    assert [len(looks) for looks in probe.looks.values()] == [3, 3]
    assert probe.looks["early"][0]["update"] < probe.looks["late"][-1]["update"]
    for name, parameter in alone.model.state_dict().items():
        assert torch.equal(parameter, looked.model.state_dict()[name]), name


def test_a_probe_reads_a_count_that_has_several_clusters():
    rng = np.random.default_rng(0)
    count, shape = rng.integers(3, size=600), rng.integers(4, size=600)
    latent = np.stack([count, 50.0 * shape], axis=1) + 0.05 * rng.normal(size=(600, 2))
    assert measure.linear_probe(latent, count) > 0.98
    assert measure.linear_probe(rng.normal(size=(600, 2)), count) < 0.5


def test_rank_correlations_have_known_answers():
    numbers = [0.1, 0.2, 0.3, 0.5, 0.8, 0.9]
    same = rank_correlation("plain", numbers, [each**3 for each in numbers])
    assert (same.rho, same.high, same.sign) == (pytest.approx(1), pytest.approx(1), 1)
    turned = rank_correlation("plain", numbers, [-each for each in numbers])
    assert (turned.rho, turned.low, turned.sign) == (pytest.approx(-1), pytest.approx(-1), -1)
    unrelated = rank_correlation("plain", numbers, [0.2, 0.5, 0.1, 0.6, 0.3, 0.35])
    assert unrelated.rho == pytest.approx(9 / 35)
    assert unrelated.low < 0 < unrelated.high
    assert unrelated.sign == 0
    with pytest.raises(ValueError, match="4 pairs of different finite numbers"):
        rank_correlation("plain", numbers[:3], numbers[:3])
    with pytest.raises(ValueError, match="4 pairs of different finite numbers"):
        rank_correlation("plain", numbers, [1.0] * 6)


def made_up(accuracy, share=0.5, looks=(0.0, 0.2)) -> Results:
    """A whole grid of results, whose accuracy is a function of the cell."""
    runs = []
    for entry in cells(SEEDS):
        cosine = {each.slug: {"cosine": 0.1 * index, "share": share} for index, each in enumerate(AUXILIARIES)}
        seen = {"cosines": {slug: list(looks) for slug in entry["tasks"]}}
        reached = accuracy(entry)
        runs.append(
            {
                **{"cell": entry, "updates": 10, "accuracy": reached, "count_probe": reached, "success": reached},
                **{"phases": {"early": cosine, "late": cosine}, "looks": {"early": seen, "late": seen}},
            }
        )
    return Results(tuple(runs))


def test_harm_is_from_the_smallest_weight_that_leaves_every_run_below_the_base():
    def accuracy(entry):
        noise = entry["tasks"].get("noise", 0.0)
        return 0.9 + 0.01 * entry["seed"] - (0.3 if noise >= 10 else 0.05 if noise == 1 else 0.0)

    found = effects(made_up(accuracy), BESIDE)
    noise = {each.weight: each for each in found if each.auxiliary == "noise"}
    # Seeds 0 to 2 have 0.85 to 0.87 where the base has 0.90 to 0.92.
    assert noise[1.0].gain == pytest.approx(-0.05)
    assert [noise[weight].harms for weight in BESIDE.weights] == [False, True, True, True]
    assert first_harm(found, "noise").weight == 1.0
    assert first_harm(found, "count") is None
    small = effects(made_up(lambda entry: 0.9 - 0.019 * ("noise" in entry["tasks"])), BESIDE)
    assert first_harm(small, "noise") is None


def test_a_seed_that_only_the_base_has_is_not_compared():
    """Seed 4 of the base fails: it neither hides that noise harms nor makes anything gain."""

    def accuracy(entry):
        return 0.2 if entry["seed"] == 4 else 0.9 - 0.1 * ("noise" in entry["tasks"])

    results = made_up(accuracy)
    assert results.shared_seeds(FREE_ALONE, "noise") == list(range(SEEDS))
    assert results.shared_seeds(FREE_ALONE, "reward") == list(range(SEEDS))  # of which weight 1 has five
    harm = first_harm(effects(results, FREE_ALONE), "noise")
    assert (harm.weight, harm.gain) == (1.0, pytest.approx(-0.1))
    assert first_harm(effects(results, FREE_ALONE), "count") is None
    assert results.gain(FREE_ALONE, "noise", "accuracy").values == pytest.approx([-0.1] * SEEDS)
    assert results.gain(FREE_ALONE, "reward", "accuracy").mean == pytest.approx(0)
    assert summary.chance_of_harm(3) == pytest.approx(1 / 20)


def test_names_beside_points_keep_apart_and_inside():
    assert spread([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    assert spread([0.95, 0.96, 0.97], 0.1) == pytest.approx([0.8, 0.9, 1.0])
    assert spread([0.0, 0.0, 0.5], 0.2) == pytest.approx([0.0, 0.2, 0.5])


def test_a_weighting_is_compared_with_the_best_fixed_weight():
    def accuracy(entry):
        if entry["weighting"] == "pcgrad":
            return 0.85
        weights = [weight for slug, weight in entry["tasks"].items() if slug != "reward"]
        return 0.8 if weights == [0.1] else 0.7

    results = made_up(accuracy)
    assert summary.best_fixed(results, "noise")[0] == 0.1
    better, worse = (comparison(results, weighting, WEIGHTED) for weighting in ("pcgrad", "uncertainty"))
    assert (better.difference, better.better, better.sign) == (pytest.approx(0.05), len(WEIGHTED), 1)
    assert (worse.difference, worse.better, worse.sign) == (pytest.approx(-0.1), 0, -1)


def test_gains_are_means_over_weights_less_the_base():
    results = made_up(lambda entry: 0.5 + 0.1 * (entry["tasks"].get("count", 0) >= 1))
    assert results.gain(PLAIN_ALONE, "count", "accuracy").mean == pytest.approx(0.05)  # two of four weights
    assert results.gain(PLAIN_ALONE, "count", "accuracy", best=True).mean == pytest.approx(0.1)
    assert results.gain(PLAIN_ALONE, "noise", "accuracy").mean == 0
    assert summary.swing(results) == pytest.approx(0.02**0.5)


def test_the_page_and_the_evidence_are_made_from_results_alone(tmp_path, watched, monkeypatch):
    """One short run stands for all; figures that must differ are drawn at random."""
    monkeypatch.setattr(summary, "RESAMPLES", 200)
    monkeypatch.setattr(drawing, "DPI", 50)
    rng = np.random.default_rng(0)
    folder, page, kept = tmp_path / "results", tmp_path / "docs" / "alignment.md", tmp_path / "evidence.json"
    folder.mkdir()
    for entry in cells(1):
        found = json.loads(json.dumps(watched))
        found |= {name: float(rng.random()) for name in ("accuracy", "count_probe", "success")}
        for phase in found["phases"].values():
            for pull in phase.values():
                pull["cosine"] = float(rng.uniform(-1, 1))
        (folder / f"{entry['name']}-seed{entry['seed']}.json").write_text(
            json.dumps({"cell": entry, "version": 1, **found})
        )
    command.main(["--render", "--out", str(folder), "--page", str(page), "--evidence", str(kept)])
    text, results = page.read_text(), Results.load(folder)
    for figure in ("prediction", "weights", "weighting"):
        assert f"figures/alignment/{figure}.png" in text
        assert (page.parent / "figures" / "alignment" / f"{figure}.png").stat().st_size > 1_000
    assert signed(results.gain(BESIDE, "noise", "accuracy")) in text
    assert "The grid is not complete" in text
    assert not re.search(r"\bnan\b", text)
    evidence = from_dict(Evidence, json.loads(kept.read_text()))
    assert evidence == Evidence.of(results)
    for each in evidence.prediction:
        assert each.text() in text
    answer = " ".join(text.split()).partition("**Do conflicting")[0]
    for base in BASES:
        asked = {
            "For the linear probe: ": prediction(results, base, "count_probe"),
            "For the success: ": prediction(results, base, "success"),
            "with the cosine before it is added: ": prediction(results, base, "accuracy", watched=True),
        }
        for question, found in asked.items():
            assert f"{base.name}: {found.text()}" in answer.partition(question)[2]


def test_the_quick_run_prints_a_table(tmp_path, monkeypatch, capsys):
    shrink(monkeypatch)
    # More threads than one only wait for each other here
    monkeypatch.setattr("jepa_rl.scripts.grid.cpu_count", lambda: 1)
    tiny = [short("plain", {"noise": 1.0}, 0)]
    monkeypatch.setattr(command, "quick_cells", lambda: tiny)
    command.main(["--quick", "--jobs", "1", "--out", str(tmp_path)])
    line = capsys.readouterr().out.splitlines()[-1].split()
    kept = json.loads((tmp_path / "plain-noise1-seed0.json").read_text())
    assert line[0] == "plain-noise1"
    assert line[2] == f"{kept['phases']['early']['noise']['cosine']:.2f}"
    assert f"{kept['accuracy']:.3f}" in line


def test_results_that_are_missing_are_named(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match=r"no results of plain-alone, .* more; run jepa-rl paper alignment first"):
        Results.load(tmp_path)
    assert run(["paper", "alignment", "--render", "--out", str(tmp_path)]) == 2
    assert run(["paper", "alignment", "--render", "--quick"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert run(["paper", "alignment", "--seeds", "0"]) == 2


def test_the_evidence_of_the_package_is_that_of_the_results_in_the_repository():
    def rounded(evidence: Evidence):
        """Another processor may add up in another order."""
        return json.loads(json.dumps(dataclasses.asdict(evidence)), parse_float=lambda text: round(float(text), 9))

    assert rounded(Evidence.kept()) == rounded(Evidence.of(Results.load(RESULTS)))


def test_the_results_in_the_repository_are_of_todays_grid():
    grid = {(entry["name"], entry["seed"]): json.loads(json.dumps(entry)) for entry in cells(SEEDS)}
    kept = [json.loads(path.read_text())["cell"] for path in sorted(RESULTS.glob("*-seed*.json"))]
    assert len(kept) == len(grid)
    for entry in kept:
        assert todays_form(entry) == grid[entry["name"], entry["seed"]], entry["name"]
