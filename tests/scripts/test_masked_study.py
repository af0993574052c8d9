"""The study of masked prediction: rows differ in who trains the encoder; measures and page follow from the runs."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from scipy import stats

from jepa_rl.agent import AgentConfig
from jepa_rl.agent.config import from_dict
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.masked_study import command, measure
from jepa_rl.scripts.masked_study.page import compared, render
from jepa_rl.scripts.masked_study.rows import ROWS, SEEDS, STEPS, cell, cells, quick_cells, row
from jepa_rl.scripts.masked_study.summary import FIGURES, Results, chance_of
from jepa_rl.scripts.reporting.tables import estimate

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "masked"
TRAINERS = {
    "untrained": set(),
    "masked": {"masked"},
    "masked-reward": {"masked", "reward"},
    "dynamics": {"dynamics"},
    "masked-dynamics": {"masked", "dynamics"},
    "reward": {"dynamics", "reward"},
    "masked-dynamics-reward": {"masked", "dynamics", "reward"},
    "reward-rate0.002": {"dynamics", "reward"},
    "reward-rate0.001": {"dynamics", "reward"},
    "reward-rate0.00025": {"dynamics", "reward"},
}
RATES = {"reward-rate0.002": 0.002, "reward-rate0.001": 0.001, "reward-rate0.00025": 0.00025}


def config_of(entry) -> AgentConfig:
    return from_dict(AgentConfig, entry["agent"])


def short(whole):
    """A cell with a few updates of a narrow transformer."""
    config = config_of(whole)
    patches = dataclasses.replace(config.model.encoder.patches, width=8, depth=1, heads=1)
    masked = dataclasses.replace(config.model.masked, width=8, depth=1, heads=1, blocks=2)
    encoder = dataclasses.replace(config.model.encoder, patches=patches)
    model = dataclasses.replace(config.model, latent_dim=8, encoder=encoder, masked=masked)
    training = dataclasses.replace(config.training, starts=100, updates_per_step=0.05, batch_size=8)
    planner = dataclasses.replace(config.planner, horizon=2)
    agent = dataclasses.replace(config, model=model, training=training, planner=planner)
    return {**whole, "steps": 320, "agent": dataclasses.asdict(agent)}


def made(slug, seed, **figures):
    """A result as the grid writes it, with every figure at 0.5 unless given."""
    probes = {f"{name}_{kind}": 0.5 for name in ("count", "shape", "color", "position") for kind in ("linear", "mlp")}
    probes |= {name: value for name, value in figures.items() if name in probes}
    return {
        "cell": cell(row(slug), seed),
        "updates": 2_200,
        "train_seconds": 100.0,
        "accuracy": figures.get("accuracy", 0.5),
        "ari": 0.5,
        "effective_rank": 4.0,
        "probes": {name: {"score": value, "chance": 0.1, "kind": "linear"} for name, value in probes.items()},
        "success": figures.get("success", 0.5),
    }


def test_rows_differ_only_in_the_losses_that_train_the_encoder_or_in_the_learning_rate():
    assert {each.slug for each in ROWS} == set(TRAINERS)
    joint = config_of(cell(row("reward"), 0))
    assert joint.model.encoder.image_encoder == "patches"
    for slug, trainers in TRAINERS.items():
        config = config_of(cell(row(slug), 0))
        model = config.model
        gates = {
            "masked": model.masked.weight > 0 and model.masked.trains_encoder,
            "dynamics": model.dynamics.trains_encoder,
            "reward": model.reward.trains_encoder,
        }
        assert {name for name, trains in gates.items() if trains} == trainers, slug
        same = dataclasses.replace(
            model, masked=joint.model.masked, dynamics=joint.model.dynamics, reward=joint.model.reward
        )
        training = dataclasses.replace(joint.training, learning_rate=RATES.get(slug, 0.0005))
        assert dataclasses.replace(config, model=same) == dataclasses.replace(joint, training=training)


def test_the_grid_has_every_row_with_every_seed_and_quick_is_shorter():
    grid = cells(SEEDS)
    assert {(each["row"], each["seed"]) for each in grid} == {(each.slug, seed) for each in ROWS for seed in range(SEEDS)}
    assert {each["steps"] for each in grid} == {STEPS}
    for quick, whole in zip(quick_cells(), cells(1), strict=True):
        assert quick["name"] == f"quick-{whole['name']}"
        assert quick["steps"] < whole["steps"] / 4
        assert quick["agent"] == whole["agent"]
    assert todays_form(json.loads(json.dumps(grid[0])))["agent"].keys() == grid[0]["agent"].keys()


def test_a_cell_has_every_figure_and_is_measured_again_without_training(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "IMAGES", 120)
    monkeypatch.setattr(measure, "EPISODES", 4)
    entry = short(cell(row("masked-dynamics-reward"), 0))
    found = json.loads(json.dumps(measure.train_and_measure(entry, tmp_path)))
    assert found["updates"] > 5
    for name, read in FIGURES.items():
        assert -1 <= read(found) <= 1, name
    monkeypatch.setattr(measure, "JEPAAgent", None)  # so that nothing can be trained
    assert json.loads(json.dumps(measure.train_and_measure(entry, tmp_path))) == found


@pytest.fixture
def folder(tmp_path):
    """Raw results: masked prediction finds positions, misses the count, and hurts success beside the dynamics."""
    figures = {
        "masked": {"position_linear": 0.9},
        "masked-reward": {"accuracy": 0.8, "position_linear": 0.9},
        "masked-dynamics": {"success": 0.2},
    }
    for seed in range(SEEDS):
        for each in ROWS:
            shaken = {name: value + 0.01 * seed for name, value in figures.get(each.slug, {}).items()}
            (tmp_path / f"{each.slug}-seed{seed}.json").write_text(json.dumps(made(each.slug, seed, **shaken)))
    return tmp_path


def test_the_page_says_what_the_results_say(folder):
    page = render(Results.load(folder), folder, folder / "masked.md").read_text()
    assert f"The grid is complete: {len(ROWS) * SEEDS} runs." in page
    assert (folder / "figures" / "masked" / "rows.png").stat().st_size > 10_000
    line = next(line for line in page.splitlines() if line.startswith("| masked + reward |"))
    assert line.startswith("| masked + reward | 0.810 ± 0.025 | 0.500 ± 0.000 |")
    flat = " ".join(page.split())
    assert "- **masked** against **untrained**: more position, probe R² (+0.41 ± 0.02); no difference beyond" in flat
    assert "- **masked + reward** against **masked**: more count, centroid (+0.31 ± 0.02); no difference beyond" in flat
    assert "- **masked + dynamics** against **dynamics**: less success (-0.29 ± 0.02); no difference beyond" in flat
    assert not re.search(r"[{}]", page)


def test_what_is_stated_holds_for_all_differences_together(folder):
    """An interval that leaves out 0 is a hint, unless it holds after Holm's correction."""
    for seed, score in enumerate((0.55, 0.6, 0.65)):
        shaken = made("masked", seed, position_linear=0.9 + 0.01 * seed, shape_linear=score)
        (folder / f"masked-seed{seed}.json").write_text(json.dumps(shaken))
    pairs = [("masked", "untrained"), ("dynamics", "untrained")]
    found = Results.load(folder).differences(pairs)
    shape, position = found[pairs[0]]["shape, probe"], found[pairs[0]]["position, probe R²"]
    alone = stats.ttest_1samp([0.4, 0.41, 0.42], 0).pvalue
    assert position.chance == pytest.approx(12 * alone)
    assert shape.chance == pytest.approx(11 * stats.ttest_1samp([0.05, 0.1, 0.15], 0).pvalue)
    assert (position.apart, position.certain, shape.certain) == (True, True, False)
    page = " ".join(render(Results.load(folder), folder, folder / "masked.md").read_text().split())
    assert "compared in 6 figures, seed by seed: 60 differences" in page
    assert "about 3 intervals would leave out 0 by chance" in page
    assert "25 % of the windows are drawn for a reward" in page


def test_one_seed_tells_nothing_apart(folder):
    for path in folder.glob("*-seed[12].json"):
        path.unlink()
    results = Results.load(folder)
    pair = ("masked", "untrained")
    answer = compared(pair, results.differences([pair])[pair])
    assert "more" not in answer
    assert "no difference beyond the interval in count, centroid (+0.00)" in " ".join(answer.split())
    page = render(results, folder, folder / "masked.md").read_text()
    assert f"**The grid is not complete: {len(ROWS)} of {len(ROWS) * SEEDS} runs.**" in page


def test_committed_results_are_those_of_the_grid():
    """Otherwise jepa-rl paper masked would refuse to go on from them."""
    grid = {(each["name"], each["seed"]): json.loads(json.dumps(each)) for each in cells(SEEDS)}
    kept = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-seed*.json"))]
    assert len(kept) == len(grid)
    for found in kept:
        assert found["version"] == command.VERSION
        today = todays_form(found["cell"])
        assert today == grid[today["name"], today["seed"]]


def test_what_cannot_be_run_is_said(tmp_path, capsys):
    assert run(["paper", "masked", "--render", "--out", str(tmp_path)]) == 2
    assert "has no results; run jepa-rl paper masked first" in capsys.readouterr().err
    assert run(["paper", "masked", "--seeds", "0", "--out", str(tmp_path)]) == 2
    assert "--seeds must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(("differences", "chance"), [([0.005] * 3, 0.25), ([0.0] * 3, 1.0), ([1.0, 2.0, 3.0], 0.0742)])
def test_differences_that_are_all_alike_are_judged_by_their_sign(differences, chance):
    assert chance_of(estimate(differences)) == pytest.approx(chance, abs=1e-4)
