"""The noise study: its grid is what it says, its measures find what latents are made of, its page follows from results."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
from minigrid.core.constants import OBJECT_TO_IDX

from jepa_rl.agent import AuxiliaryConfig
from jepa_rl.agent.config import AgentConfig, from_dict
from jepa_rl.envs.counting import CountingEnv
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.noise_study import command, findings, measure
from jepa_rl.scripts.noise_study.factors import (
    READERS,
    HeldOut,
    explained_share,
    features_of,
    held_out,
    probe_factor,
    probe_in_noise,
)
from jepa_rl.scripts.noise_study.prediction import Mode, autoencoded, learning_order
from jepa_rl.scripts.noise_study.rows import (
    QUICK,
    REWARD_FREE,
    ROWS,
    SEEDS,
    TASKS,
    cell,
    cells,
    quick_cells,
    reference_cell,
    row,
    task,
)
from jepa_rl.scripts.noise_study.summary import Results, first_time, shares_ratio
from jepa_rl.scripts.reporting import drawing
from jepa_rl.world_model import RewardConfig

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "noise"
CONVOLUTIONS = ((4, 4, 4, 0), (4, 3, 2, 1))


def config_of(slug, task_slug="counting"):
    chosen = task(task_slug)
    return from_dict(AgentConfig, cell(chosen, chosen.levels[0], row(slug), 0)["agent"])


def short(whole):
    """A cell with a dozen updates of a narrow model."""
    config = from_dict(AgentConfig, whole["agent"])
    encoder = dataclasses.replace(config.model.encoder, convolutions=CONVOLUTIONS, hidden=(8,))
    model = dataclasses.replace(config.model, latent_dim=8, encoder=encoder)
    training = dataclasses.replace(config.training, starts=100, updates_per_step=0.05, batch_size=8)
    agent = dataclasses.replace(config, model=model, training=training)
    return {**whole, "steps": 352, "agent": dataclasses.asdict(agent)}


@pytest.fixture
def small_samples(monkeypatch):
    monkeypatch.setattr(measure, "OBSERVATIONS", 120)
    monkeypatch.setattr(measure, "EPISODES", 8)
    monkeypatch.setattr(measure, "LOSS_WINDOWS", 16)
    monkeypatch.setattr(measure, "TRANSITIONS", 300)


def test_the_grid_holds_every_row_at_every_level_and_what_the_theory_says_of_it():
    grid = cells(2)
    assert len({(each["name"], each["seed"]) for each in grid}) == len(grid)
    trained = {(each["task"], each["level"], each["row"], each["seed"]) for each in grid if each["agent"]}
    assert trained == {
        (chosen.slug, level.slug, each.slug, seed)
        for chosen in TASKS
        for level in chosen.levels
        for each in ROWS
        for seed in (0, 1)
    }
    references = [(each["task"], each["level"]) for each in grid if not each["agent"]]
    assert references == [(chosen.slug, level.slug) for chosen in TASKS for level in chosen.levels]
    assert min(len(chosen.levels) for chosen in TASKS if chosen.distractor) >= 5
    json.dumps(grid)


def test_quick_cells_are_of_the_same_study_and_shorter():
    quick = [each for each in quick_cells() if each["agent"]]
    assert [(each["task"], each["level"], each["row"]) for each in quick] == list(QUICK)
    whole = {each["name"]: each for each in cells(1)}
    for each in quick:
        full = whole[each["name"].removeprefix("quick-")]
        assert full | {"name": each["name"], "quick": True, "steps": full["steps"] // 2} == each


def test_a_level_is_an_environment_with_its_knobs():
    for chosen in TASKS:
        for level in chosen.levels:
            env = make_env(chosen.env_id, {**chosen.env, **level.env})
            _, info = env.reset(seed=0)
            assert ("distractor" in info) == bool(chosen.distractor)
            assert ("bit" in info) == (chosen.slug == "bit")
    counting = task("counting")
    silent, frozen = counting.level("none").env, counting.level("frozen-loud").env
    assert silent["distractor_variance"] == 0
    assert (frozen["distractor_variance"], frozen["distractor_predictability"]) == (0.05, 1)


@pytest.mark.parametrize("chosen", [each.slug for each in TASKS])
def test_rows_differ_from_the_first_in_what_they_say(chosen):
    joint = config_of("reward", chosen)
    assert joint.model.reward.trains_encoder and joint.model.dynamics.trains_encoder
    assert (joint.model.dynamics.target, joint.model.dynamics.scale_free) == ("same", True)
    for name, part in (("value", joint.model.value), ("termination", joint.model.termination)):
        assert not (part.weight and part.trains_encoder), name
    for slug, fraction in (("reward-10", 0.1), ("reward-2", 0.02)):
        less = config_of(slug, chosen).model
        assert dataclasses.replace(less, reward=joint.model.reward) == joint.model
        assert less.reward == dataclasses.replace(joint.model.reward, label_fraction=fraction)
    for slug in (*REWARD_FREE, "reconstruction"):
        free = config_of(slug, chosen)
        training = dataclasses.replace(free.training, batch_size=joint.training.batch_size)
        assert dataclasses.replace(free, model=joint.model, training=training) == joint
        assert (free.training == joint.training) == (slug != "reconstruction")
        assert not free.model.reward.trains_encoder
        assert free.model.reward.label_fraction == 1
    alone = config_of("dynamics", chosen).model
    assert dataclasses.replace(alone, reward=joint.model.reward) == joint.model
    ema = config_of("ema", chosen).model
    assert dataclasses.replace(ema, dynamics=alone.dynamics) == alone
    assert ema.dynamics.target == "ema"
    drawn = config_of("reconstruction", chosen).model
    assert not drawn.dynamics.trains_encoder
    assert [each.target for each in drawn.auxiliaries] == ["reconstruction"]
    assert [each.target for each in config_of("inverse", chosen).model.auxiliaries] == ["inverse"]
    assert config_of("vicreg", chosen).model.regularizer.variance == 25
    assert config_of("sigreg", chosen).model.regularizer.sigreg == 0.05


def test_no_labels_for_a_task_that_needs_them_is_an_error():
    with pytest.raises(ValueError, match=r"model.reward.label_fraction must be above 0 where the task has a weight"):
        dataclasses.replace(config_of("reward").model, reward=RewardConfig(label_fraction=0.0))
    with pytest.raises(ValueError, match="label_fraction must be above 0"):
        AuxiliaryConfig(target="info:count", label_fraction=0.0)


def made_of(seed=0, number=1_200):
    """Factors as a task would give them, independent of each other."""
    rng = np.random.default_rng(seed)
    count = np.eye(9)[rng.integers(9, size=number)]
    factors = {"count": count, "bit": rng.integers(2, size=(number, 1)).astype(float)}
    return HeldOut(observation=np.zeros((number, 1)), factors=factors | {"distractor": rng.uniform(-1, 1, (number, 8))})


def test_the_share_of_a_factor_is_its_part_of_the_variance():
    held = made_of(number=4_000)
    count = held.factors["count"] @ np.random.default_rng(1).normal(size=(9, 16))
    noise = held.factors["distractor"] @ np.random.default_rng(2).normal(size=(8, 16))
    unit = [part / np.sqrt(part.var(0).sum()) for part in (count, noise)]
    latent = 5 + np.sqrt(0.7) * unit[0] + np.sqrt(0.3) * unit[1]
    for scale in (1.0, 1e-4):
        assert explained_share(scale * latent, features_of(held, ("count",))) == pytest.approx(0.7, abs=0.04)
        assert explained_share(scale * latent, features_of(held, ("distractor",))) == pytest.approx(0.3, abs=0.04)
        assert explained_share(scale * latent, features_of(held, ("bit",))) == pytest.approx(0, abs=0.02)


def test_products_and_joint_classes_count_as_explained():
    held = made_of()
    values, bit = held.factors["distractor"], held.factors["bit"]
    crossed = np.stack([values[:, 0] * values[:, 1], values[:, 2] ** 2], axis=1)
    assert explained_share(crossed, features_of(held, ("distractor",))) > 0.98
    either = held.factors["count"] @ np.arange(-4.0, 5.0)[:, None] * (2 * bit - 1)  # the count, its sign by the bit
    assert explained_share(either, features_of(held, ("bit", "count"))) > 0.98
    assert explained_share(either, features_of(held, ("bit",))) < 0.2


def test_collapsed_latents_have_no_shares_and_probes_at_chance():
    held = made_of()
    latent = 3 + 1e-9 * held.factors["count"]
    assert explained_share(latent, features_of(held, ("count",))) is None
    found = probe_factor(latent, held, "count", "linear", 0)
    assert found.score == pytest.approx(found.chance, abs=0.05)
    assert features_of(held, ("symbols",)) is None
    silent = dataclasses.replace(held, factors=held.factors | {"distractor": np.zeros((1_200, 8))})
    assert probe_factor(latent, silent, "distractor", "linear", 0) is None
    assert features_of(silent, ("distractor",)) is None


def test_what_is_measured_of_known_latents():
    held = made_of()
    latent = np.concatenate([held.factors["count"], 0.5 * held.factors["distractor"]], axis=1)
    found = measure.representation(task("counting"), held, latent, seed=0)
    assert found["accuracy"]["count"] > 0.9
    assert found["probes"]["count_linear"]["score"] == 1
    assert found["probes"]["distractor_linear"]["score"] == pytest.approx(1, abs=1e-3)
    assert found["probes"]["count_linear"]["chance"] == pytest.approx(1 / 9, abs=0.06)
    assert sum(found["shares"].values()) == pytest.approx(1, abs=0.08)
    assert "bit" not in found["shares"]
    both = measure.representation(task("bit"), held, held.factors["count"], seed=0)
    assert both["probes"]["bit_linear"]["score"] == pytest.approx(0.5, abs=0.08)
    assert both["shares"]["count"] == pytest.approx(1, abs=0.01)
    assert both["shares"]["bit"] == pytest.approx(0, abs=0.02)


def test_noise_hides_what_is_faint_and_leaves_what_is_loud():
    held = made_of(number=2_000)
    bit = 2 * held.factors["bit"] - 1
    others = np.random.default_rng(3).normal(size=(2_000, 15))
    # The bit is of half the size of the noise of 0.1, then of four times it.
    for size, clear in ((0.05, 0.69), (0.4, 1.0)):
        latent = np.concatenate([size * bit, others], axis=1)
        spread = np.sqrt(latent.var(0).mean())
        found = probe_in_noise(latent / spread, held, "bit", 0.1, seed=0)
        assert found.score == pytest.approx(clear, abs=0.05)
        assert probe_in_noise(latent, held, "bit", 0.0, seed=0).score == 1
    measured = measure.representation(task("bit"), held, latent, seed=0)["bit_in_noise"]
    assert set(measured) == {"0.01", "0.1", "1"}
    assert measured["0.01"]["score"] > 0.99 > 0.75 > measured["1"]["score"]
    assert "bit_in_noise" not in measure.representation(task("counting"), held, latent, seed=0)


def test_held_out_observations_of_a_grid_show_their_factors():
    chosen = task("minigrid")
    factory = functools.partial(make_env, chosen.env_id, {**chosen.env, **chosen.level("half-loud").env})
    held = held_out(factory, READERS["minigrid"], 60, chosen.walk, seed=3)
    assert held.observation.shape == (60, 7, 7, 5)
    assert np.array_equal(held.factors["direction"].argmax(1), held.observation[:, 0, 0, 3])
    for symbols, grid in zip(held.factors["symbols"].reshape(60, 8, 16).argmax(-1), held.observation[..., 4], strict=True):
        assert set(symbols) == set(grid.ravel())
    goal = (held.observation[..., 0] == OBJECT_TO_IDX["goal"]).nonzero()
    place = dict(zip(goal[0], zip(goal[1] - 3, 6 - goal[2], strict=True), strict=True))  # to the right of it and ahead
    for row_of, (right, ahead) in place.items():
        x, y = divmod(int(held.factors["cell"][row_of].argmax()), 3)
        turned = [(ahead, right), (-right, ahead), (-ahead, -right), (right, -ahead)]
        assert (x, y) == tuple(2 - np.array(turned[int(held.factors["direction"][row_of].argmax())]))
    assert 10 < len(place) < 60
    again = held_out(factory, READERS["minigrid"], 60, chosen.walk, seed=3)
    assert np.array_equal(held.observation, again.observation)
    with pytest.raises(TypeError, match="MiniGridEnv"):
        held_out(CountingEnv, READERS["minigrid"], 2, 0, seed=0)
    with pytest.raises(ValueError, match="at least 2"):
        held_out(factory, READERS["minigrid"], 1, 0, seed=0)


def test_an_autoencoder_learns_fresh_noise_that_is_loud_and_a_jepa_does_not():
    loud = Mode(factor="noise", variance=4.0, covariance=0.0, error=0.1, influence=0.0)
    signal = Mode(factor="signal", variance=1.0, covariance=0.9, error=0.01, influence=0.9)
    kept = learning_order(autoencoded([loud, signal]), depth=3, scale=1e-2)["mae"]
    assert list(kept) == ["noise", "signal"]
    assert kept["noise"] < np.inf
    assert learning_order([loud, signal], depth=3, scale=1e-2)["jepa"]["noise"] == np.inf


def test_the_reference_tells_fresh_noise_from_frozen_and_what_chance_achieves(small_samples, monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "TRANSITIONS", 1_500)
    chosen = task("counting")
    found = {
        slug: json.loads(json.dumps(measure.train_and_measure(reference_cell(chosen, chosen.level(slug)), tmp_path)))
        for slug in ("fresh-loud", "frozen-loud")
    }
    fresh, frozen = found["fresh-loud"], found["frozen-loud"]
    assert first_time(fresh, "jepa", ("distractor",)) == np.inf
    assert first_time(fresh, "autoencoder", ("distractor",)) < first_time(fresh, "autoencoder", ("count",))
    assert first_time(frozen, "jepa", ("distractor",)) < first_time(frozen, "jepa", ("count",)) < np.inf
    assert frozen["modes"]["distractor"]["influence"] == pytest.approx(1)
    assert set(fresh["other_scales"]) == {"0.1", "0.001"}
    assert fresh["success"] == frozen["success"] in np.arange(1, 8) / 8  # the same episodes, of which chance solves some


@pytest.mark.parametrize(
    ("chosen", "level", "slug"),
    [("counting", "frozen-loud", "sigreg"), ("minigrid", "half-loud", "reconstruction"), ("bit", "fresh", "reward-2")],
)
def test_a_cell_has_every_figure(small_samples, tmp_path, monkeypatch, chosen, level, slug):
    entry = short(cell(task(chosen), task(chosen).level(level), row(slug), 0))
    found = json.loads(json.dumps(measure.train_and_measure(entry, tmp_path)))
    assert found["updates"] > 0
    assert 0 <= found["success"] <= 1
    assert {"dynamics", "reward", "one_step"} <= found["losses"].keys()
    assert {"sigreg", "reconstruction"} & found["losses"].keys() == {slug} - {"reward-2"}
    assert set(found["accuracy"]) == set(task(chosen).signals)
    assert {f"{name}_mlp" for name in task(chosen).signals} <= found["probes"].keys()
    assert "signal" in found["shares"]
    assert ("distractor" in found["shares"]) == bool(task(chosen).distractor)
    assert "NaN" not in json.dumps(found)
    monkeypatch.setattr(measure, "_train", lambda *_: pytest.fail("trained again"))
    assert measure.train_and_measure(entry, tmp_path)["shares"] == found["shares"]


def test_the_page_is_rendered_from_results_alone(small_samples, tmp_path, monkeypatch):
    """A short run and a reference of each task stand for all: the page needs every row and level."""
    monkeypatch.setattr(measure, "TRANSITIONS", 200)
    monkeypatch.setattr(drawing, "DPI", 40)
    kept = {}
    for chosen in TASKS:
        level = chosen.levels[-1]
        for entry in (short(cell(chosen, level, row("dynamics"), 0)), reference_cell(chosen, level)):
            kept[chosen.slug, entry["row"] == "reference"] = measure.train_and_measure(entry, tmp_path / "runs")
    for entry in cells(1):
        found = {**kept[entry["task"], entry["row"] == "reference"], "version": 1, "cell": entry}
        if (entry["task"], entry["row"]) == ("counting", "ema"):
            found["shares"] = {"signal": None, "distractor": None, "appearance": None}
        (tmp_path / f"{entry['name']}-seed0.json").write_text(json.dumps(found))
    page = tmp_path / "docs" / "noise.md"
    command.main(["--render", "--out", str(tmp_path), "--page", str(page)])
    text = page.read_text()
    assert f"{kept['counting', False]['probes']['count_linear']['score']:.2f}" in text
    assert "{" not in text
    for name in ("counting-keeps", "counting-theory", "minigrid-keeps", "minigrid-theory", "bit"):
        assert f"figures/noise/{name}.png" in text
        assert (page.parent / "figures" / "noise" / f"{name}.png").stat().st_size > 1000
    done, whole = (sum(each["row"] != "reference" for each in cells(seeds)) for seeds in (1, SEEDS))
    assert f"The grid is not complete: {done} of {whole} runs." in text
    assert "| EMA (1 of 1 collapsed) |" in text
    flat = " ".join(text.split())
    assert "whatever trains its encoder, draws 25 % of its windows for a reward" in flat
    assert "about 10 times as often in *reward 10 %* and about 50 times as often in *reward 2 %*" in flat


def test_statements_follow_the_results():
    """Three rows at three levels of the counting task, made up so that every statement is known."""
    counting, bit = task("counting"), task("bit")
    made = {
        ("none", "reward"): (0.9, 0.0, 1.0),
        ("none", "ema"): (0.8, 0.0, 0.8),
        ("none", "inverse"): (0.8, 0.0, 0.35),
        ("fresh-loud", "reward"): (0.9, 0.02, 1.0),
        ("fresh-loud", "ema"): (0.5, 0.03, 0.77),
        ("frozen-loud", "reward"): (0.7, 0.2, 0.96),
        ("frozen-loud", "ema"): (0.1, 0.8, 0.3),
    }

    def run_of(level, how, seed, signal, noise, control):
        return {
            "cell": {"task": "counting", "level": level, "row": how, "seed": seed, "quick": False},
            "shares": {"signal": signal} | ({"distractor": noise} if noise else {}),
            "probes": {"count_linear": {"score": signal}},
            "success": control,
        }

    runs = [run_of(*key, seed, *figures) for key, figures in made.items() for seed in range(3)]
    for seed, control in enumerate((0.9, 0.9, 0.1)):  # of one seed in three, which shows nothing
        runs.append(run_of("none", "reconstruction", seed, 0.9, 0.0, 0.9))
        runs.append(run_of("fresh-loud", "reconstruction", seed, 0.9, 0.02, control))
        runs.append(run_of("frozen-loud", "reconstruction", seed, 0.5, (0.1, 0.5, 0.9)[seed], 0.9))
    for how, score in (("reward", 0.99), ("reward-2", 0.7), ("dynamics", 0.5), ("ema", 0.9), ("untrained", 0.8)):
        cell_of = {"task": "bit", "level": "fresh", "row": how, "seed": 0, "quick": False}
        runs.append(
            {
                "cell": cell_of,
                "shares": {"bit": score / 2},
                "probes": {"bit_linear": {"score": score}},
                "bit_in_noise": {"0.1": {"score": score - 0.31}},
                "success": 0.5,
            }
        )
    times = {"none": None, "fresh-loud": None, "frozen-loud": 10.0}
    references = [
        {
            "cell": {"task": "counting", "level": level},
            "order": {name: {"count": 100.0, "distractor": time} for name in ("jepa", "mae", "autoencoder")},
            "success": 0.3,
        }
        for level, time in times.items()
    ]
    bit_order = {"jepa": {"count": 100.0, "bit": None}}
    references.append({"cell": {"task": "bit", "level": "fresh"}, "order": bit_order, "success": 0.2})
    results = Results(tuple(runs), tuple(references))
    kept = findings.who_keeps(results, counting)
    assert "**fresh 0.05**: kept by no row; not by reward 100 % (0.02), EMA (0.03) and reconstruction (0.02)" in kept
    assert "**frozen 0.05**: kept by reward 100 % (0.20), EMA (0.80) and reconstruction (0.50)" in kept
    assert "none" not in kept
    breaks = findings.where_it_breaks(results, counting)
    assert "- reward 100 %: 1.00 without a distractor, held at every level" in breaks
    assert "- EMA: 0.80 without a distractor, lost at frozen 0.05 (0.30)" in breaks
    assert "- reconstruction: 0.90 without a distractor, lower by the mean, not shown, at fresh 0.05 (0.63)" in breaks
    assert "- inverse: 0.35 without a distractor, not clearly better than random actions" in breaks
    assert "over random actions (0.30) without a distractor" in breaks
    agreed = findings.agreement(results, counting)
    assert "before the signal at frozen 0.05." in agreed
    assert "- reward 100 %, by the JEPA: at 1 of 2 levels, not at frozen 0.05 (0.22)" in agreed
    assert "- EMA, by the JEPA: at 2 of 2 levels" in agreed
    assert "- reconstruction, by the autoencoder: at 1 of 2 levels, open at 1, whose interval holds 0.5" in agreed
    told = findings.verdict(results, bit)
    assert "The linear theory's JEPA never learns the bit." in told
    assert "- near chance without a reward: denied in 1 of 2 rows (reward 0 % 0.500, EMA 0.900)" in told
    assert "- kept with all rewards: shown (reward 100 % 0.990)" in told
    assert "- kept with 2 % of them: denied (reward 2 % 0.700)" in told
    assert "- an untrained encoder: 0.800" in told
    assert "- near chance without a reward: shown (reward 0 % 0.190, EMA 0.590)" in told
    assert "- kept with all rewards: denied (reward 100 % 0.680)" in told
    assert "- an untrained encoder: 0.490" in told
    assert "reward 2 % 0.350, reward 0 % 0.250, EMA 0.450, untrained 0.400" in " ".join(told.split())
    short = " ".join(findings.in_short(results).split())
    assert "Counting, at *frozen 0.05*: the latents keep the distractor in 3 of 4 rows" in short
    assert "reward 100 % has 0.20 of it and success 0.96" in short
    assert "found at 1 of 2 levels with reward 100 % and at 2 of 2 levels with EMA" in short
    assert (
        "a linear probe of it is near chance in 1 of 2 rows without a reward in the encoder, 0.99 in reward 100 %" in short
    )
    untrained = config_of("untrained")
    assert untrained.training.updates_by(10**6) == 0


def test_quick_results_are_shown_only_where_there_are_no_others(tmp_path):
    (entry, *_) = [each for each in quick_cells() if each["agent"]]
    (tmp_path / "quick-one-seed0.json").write_text(json.dumps({"cell": entry, "shares": {}}))
    assert Results.load(tmp_path).quick
    whole = next(each for each in cells(1) if each["agent"])
    (tmp_path / "one-seed0.json").write_text(json.dumps({"cell": whole, "shares": {}}))
    loaded = Results.load(tmp_path)
    assert not loaded.quick
    assert [each["cell"]["name"] for each in loaded.runs] == [whole["name"]]


def test_the_distractors_part_is_of_what_the_two_explain():
    assert shares_ratio({"shares": {"signal": 0.2, "distractor": 0.6, "appearance": 0.1}}) == pytest.approx(0.75)
    assert shares_ratio({"shares": {"signal": 0.4}}) == 0
    assert shares_ratio({"shares": {"signal": None, "distractor": None}}) is None
    assert shares_ratio({"shares": {"signal": 0.0, "distractor": 0.0}}) is None


def test_kept_results_of_a_cell_count_new_settings_as_their_defaults():
    entry = json.loads(json.dumps(cell(task("bit"), task("bit").levels[0], row("ema"), 1)))
    older = json.loads(json.dumps(entry))
    del older["agent"]["model"]["weighting"]
    assert todays_form(older) == entry
    reference = reference_cell(task("bit"), task("bit").levels[0])
    assert todays_form(reference) == reference


def test_the_kept_results_are_of_todays_grid():
    kept = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-seed*.json"))]
    grid = json.loads(json.dumps(cells(SEEDS)))
    assert len(kept) == len(grid)
    cell_of = {(each["name"], each["seed"]): each for each in grid}
    for found in kept:
        assert found["version"] == command.VERSION
        today = todays_form(found["cell"])
        assert today == cell_of[found["cell"]["name"], found["cell"]["seed"]]


def test_what_cannot_be_run_is_said(tmp_path, capsys):
    assert run(["paper", "noise", "--render", "--out", str(tmp_path)]) == 2
    assert "has no results; run jepa-rl paper noise first" in capsys.readouterr().err
    assert run(["paper", "noise", "--seeds", "0"]) == 2
    assert "--seeds must be at least 1, got 0" in capsys.readouterr().err
    assert run(["paper", "noise", "--quick", "--out", "docs/results/noise"]) == 2
    assert "--quick needs an --out other than docs/results/noise" in capsys.readouterr().err
