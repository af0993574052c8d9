"""The counting study on runs that are too short to learn: every figure is there, and means what it says."""

import dataclasses
import functools
import json
import operator
from pathlib import Path

import numpy as np
import pytest
import torch

from jepa_rl.agent import JEPAAgent
from jepa_rl.agent.config import AgentConfig, from_dict
from jepa_rl.envs.counting import CountingEnv
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.counting_study import command, measure, prose
from jepa_rl.scripts.counting_study.drawings import apart
from jepa_rl.scripts.counting_study.rows import ROWS, SEEDS, TARGETS, WEIGHTS, cell, cells, row
from jepa_rl.scripts.counting_study.summary import Results, collapsed
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.reporting.tables import estimate


def short(slug: str, **options):
    """A row's cell with 12 updates of a narrow model."""
    whole = cell(row(slug), 0, **options)

    def narrow(agent):
        config = from_dict(AgentConfig, agent)
        convolutions = ((4, 4, 4, 0), (4, 3, 2, 1))
        encoder = dataclasses.replace(config.model.encoder, convolutions=convolutions)
        training = dataclasses.replace(config.training, starts=100, updates_per_step=0.05)
        model = dataclasses.replace(config.model, latent_dim=8, encoder=encoder)
        return dataclasses.asdict(dataclasses.replace(config, model=model, training=training))

    first_half = whole["first_half"] and narrow(whole["first_half"])
    return {**whole, "steps": 352, "agent": narrow(whole["agent"]), "first_half": first_half}


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    monkeypatch.setattr(measure, "IMAGES", 200)
    monkeypatch.setattr(measure, "WINDOWS", 120)
    monkeypatch.setattr(measure, "EPISODES", 8)


def measured(tmp_path, slug: str, **options):
    (tmp_path / "drawings").mkdir(exist_ok=True)
    return json.loads(json.dumps(measure.train_and_measure(short(slug, **options), tmp_path)))


def test_the_grid_holds_every_row_target_and_weight_once():
    grid = cells(5)
    names = [(entry["name"], entry["seed"]) for entry in grid]
    assert len(set(names)) == len(names)
    for each in ROWS:
        assert {seed for name, seed in names if name == each.slug} == set(range(5))
    for slug in ("reward", "reward-only"):
        assert {entry["target"] for entry in grid if entry["row"] == slug} == set(TARGETS)
    assert {entry["weight"] for entry in grid if entry["row"] == "reward"} == set(WEIGHTS)


def test_the_results_in_the_repository_are_of_todays_grid():
    grid = {(entry["name"], entry["seed"]): json.loads(json.dumps(entry)) for entry in cells(SEEDS)}
    files = sorted((Path(__file__).parents[2] / "docs" / "results" / "counting").glob("*-seed*.json"))
    assert files
    for file in files:
        kept = json.loads(file.read_text())["cell"]
        assert todays_form(kept) == grid[kept["name"], kept["seed"]], file.name


def test_rows_differ_only_in_what_they_say():
    joint, alone = (from_dict(AgentConfig, cell(row(slug), 0)["agent"]) for slug in ("reward", "reward-only"))
    assert joint.training == alone.training
    assert joint.model.dynamics.trains_encoder
    assert not alone.model.dynamics.trains_encoder
    assert dataclasses.replace(alone.model, dynamics=joint.model.dynamics) == joint.model


@pytest.mark.parametrize("slug", ["reward", "value", "dense", "random-network", "separate", "shuffled", "ema", "paper"])
def test_a_cell_has_every_figure_and_none_is_nan(tmp_path, slug):
    found = measured(tmp_path, slug)
    assert found["updates"] > 0
    assert 0 <= found["success"] <= 1
    assert len(found["centroid_distance"]) == 9
    assert found["auxiliary_loss"] >= found["auxiliary_floor"] - 1e-3
    assert found["certificate"]["separable_state_pairs"] == 36
    assert {f"{factor}_{kind}" for factor in ("count", "shape", "color", "position") for kind in ("linear", "mlp")} == set(
        found["probes"]
    )
    assert len(found["alignment"]) >= 2
    assert "NaN" not in json.dumps(found)
    kept = np.load(tmp_path / "drawings" / f"{slug}.npz")
    assert kept["observation"].shape == kept["reconstruction"].shape == (9, 64, 64, 3)


def test_an_agent_that_was_kept_is_measured_without_training_it_again(tmp_path, monkeypatch):
    first = measured(tmp_path, "reward")
    monkeypatch.setattr(measure, "_train", lambda *_: pytest.fail("trained again"))
    assert measured(tmp_path, "reward") == first
    monkeypatch.undo()
    small = {"IMAGES": 200, "WINDOWS": 120, "EPISODES": 8}
    for name, value in small.items():
        monkeypatch.setattr(measure, name, value)
    other = short("reward") | {"steps": 480}
    assert measure.train_and_measure(other, tmp_path)["updates"] != first["updates"]


@pytest.mark.parametrize(
    ("slug", "target", "classes"),
    [
        *(("reward", 4, 9), ("reward", 0, 9), ("dense", 4, 9)),
        *(("constant", 4, 1), ("action-free", 4, 5), ("random-linear", 4, None)),
    ],
)
def test_the_predicted_classes_are_those_of_partition_refinement(slug, target, classes):
    chosen = row(slug)
    found = measure.predicted_classes(chosen, lambda: CountingEnv(target=target, **chosen.env))
    assert (None if found is None else found.max() + 1) == classes


def test_heldout_windows_label_both_observations_with_their_own_reward():
    held = measure.heldout_windows(lambda: CountingEnv(target=4), 300, seed=5)
    batch, count = held.batch, held.count
    change = np.where(batch.action[:, 0].numpy() == 1, 1, -1)
    reached = np.clip(count + change, 0, 8)
    assert np.array_equal(batch.label.numpy(), np.stack([count == 4, reached == 4], axis=1).astype(np.float32))
    assert np.array_equal(batch.terminated[:, 0].numpy(), reached == 4)
    assert set(count) == set(range(9))


def test_looking_at_the_gradients_does_not_change_the_run(tmp_path):
    entry, factory = short("reward"), functools.partial(CountingEnv, target=4)
    watched = measure._trained(entry, factory, row("reward"), tmp_path / "kept.zip")
    alone = JEPAAgent(from_dict(AgentConfig, entry["agent"]), factory, seed=0, device="cpu")
    alone.learn(entry["steps"])
    for name, parameter in alone.model.state_dict().items():
        assert torch.equal(parameter, watched.model.state_dict()[name]), name


def test_intervals_are_those_of_students_t():
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert estimate([0.5]).text() == "0.500"


def test_results_that_are_missing_are_named(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match=r"has no results of reward, value, .*run jepa-rl paper counting first"):
        Results.load(tmp_path)
    assert run(["paper", "counting", "--render", "--out", str(tmp_path)]) == 2
    assert run(["paper", "counting", "--render", "--quick"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert run(["paper", "contingency"]) == 2
    assert "did you mean counting" in capsys.readouterr().err


def test_the_page_is_rendered_from_results_alone(tmp_path, monkeypatch):
    """One short run stands for all: the page needs every row, target and weight."""
    found = measured(tmp_path, "reward")
    kept = (tmp_path / "drawings" / "reward.npz").read_bytes()
    for entry in cells(1):
        (tmp_path / f"{entry['name']}-seed0.json").write_text(json.dumps({"cell": entry, "version": 1, **found}))
        (tmp_path / "drawings" / f"{entry['name']}.npz").write_bytes(kept)
    command.main(["--render", "--out", str(tmp_path), "--page", str(tmp_path / "docs" / "counting.md")])
    page = (tmp_path / "docs" / "counting.md").read_text()
    assert f"{found['accuracy']:.3f}" in page
    for link in ("representations-1", "targets", "depths", "weights", "alignment"):
        assert f"figures/counting/{link}.png" in page
        assert (tmp_path / "docs" / "figures" / "counting" / f"{link}.png").stat().st_size > 1000


def test_figures_of_collapsed_latents_are_left_out():
    def run_of(seed, rankme, variance, error):
        known = {"rankme": rankme, "latent_variance": variance, "dynamics_loss_over_variance": error}
        return {
            "cell": {"name": "stop-gradient", "row": "stop-gradient", "target": 4, "weight": 1.0, "seed": seed},
            **known,
        }

    kept = [run_of(0, 1.2, 400.0, 0.5), run_of(1, 3.0, 1e-9, 0.7)]  # on a line; small, but of several directions
    lost = run_of(2, 1.01, 1e-10, 480_000.0)
    assert [collapsed(each) for each in (*kept, lost)] == [False, False, True]
    read = operator.itemgetter("dynamics_loss_over_variance")
    assert Results((*kept, lost)).of_spread(read, "stop-gradient", 2) == "0.60 (1 of 3 collapsed)"
    assert Results((lost,)).of_spread(read, "stop-gradient", 2) == "collapsed"
    assert Results(tuple(kept)).of_spread(read, "stop-gradient", 2) == "0.60"


def test_bounds_with_the_largest_errors_are_read_from_the_run():
    def told(bound):
        depth = {"depth": 0, "bound_largest_errors": bound, "bound_mean_errors": None, "observation_min": 0.4}
        cell_of = {"name": "reward", "row": "reward", "target": 4, "weight": 1.0, "seed": 0}
        return prose._reach(Results(({"cell": cell_of, "certificate": {"depths": [depth]}},)))

    assert told(-0.2) == told(None) == "With the largest errors every bound of this run is empty, at most 0."
    assert "are 0.30 at depth 0." in told(0.3)


def test_numbers_are_pushed_apart_and_stay_where_they_have_room():
    size = np.array([0.05, 0.1])
    room = np.array([[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]])
    assert np.array_equal(apart(room, size), room)
    crowded = apart(np.full((9, 2), 0.5), size)
    distance = np.linalg.norm((crowded[:, None] - crowded[None]) / size, axis=2)[np.triu_indices(9, 1)]
    assert distance.min() > 0.85
    assert crowded.min() >= 0 and crowded.max() <= 1
