"""Reports of small real runs: what stands in the page, what is written, and what is left alone."""

import base64
import dataclasses
import io
import json
import shlex
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from jepa_rl.agent.observation_spaces import observation_spec
from jepa_rl.scripts import report
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.evaluate import LabelledLatents
from jepa_rl.scripts.options import parse_options, split_env_options
from jepa_rl.scripts.reporting import exhibits, film, views
from jepa_rl.scripts.reporting.exhibits import read_log
from jepa_rl.scripts.reporting.facts import command, facts, headline, read_result
from jepa_rl.scripts.reporting.figures import curve
from jepa_rl.scripts.reporting.imagination import record
from jepa_rl.scripts.reporting.prediction_figures import scalar_figures
from jepa_rl.scripts.reporting.views import NoPicturesError, image_reader
from jepa_rl.scripts.run_folder import Recording, RunFolder
from jepa_rl.scripts.train import TrainArgs, _defaults, overridden
from jepa_rl.world_model import ModelConfig

LOGGED = {"success-rate", "ep-rew-mean", "dynamics-loss", "reward-loss"}
CURVES = LOGGED | {"effective-rank", "variance", "normalized-dynamics-loss"}
LATENTS = {"latent-map-1", "latent-map-2", "distances"}
IMAGES = {"reconstructions-1", "reconstructions-2"}
HEALTH = {"health-gradients", "health-plans"}
PREDICTIONS = {"reward", "reward-calibration", "open-loop"}
ALL_PNGS = {f"learning-{name}" for name in CURVES} | HEALTH | LATENTS | IMAGES | PREDICTIONS


POLE_RUN = [
    *("--total-timesteps", "240", "--log-interval", "60", "--episodes", "2", "--quiet", "--exploration.kind", "random"),
    *("--training.starts", "40", "--training.updates-per-step", "0.05", "--planner.horizon", "2"),
]


class Page(HTMLParser):
    """The images of a page by their bytes, and everything that it would ask the network for."""

    def __init__(self, text):
        super().__init__()
        self.images, self.text, self.outside = {}, text, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action", "data") and not value.startswith("data:"):
                self.outside.append((tag, value))
        if tag == "img":
            found = dict(attributes)
            self.images[base64.b64decode(found["src"].partition("base64,")[2])] = found["alt"]
        if tag in ("script", "link", "iframe"):
            self.outside.append((tag, attributes))


pytestmark = pytest.mark.usefixtures("small_reports")


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def reported(counting_run, tmp_path_factory):
    """The run's files before the report and after it, and its folder."""
    folder = tmp_path_factory.mktemp("reported") / "first"
    shutil.copytree(counting_run, folder)
    before, generator, threads = contents(folder), torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    assert run(["report", str(folder)]) == 0
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), generator)
    return before, contents(folder), folder


def test_the_page_asks_the_network_for_nothing(reported):
    page = Page((reported[2] / "report.html").read_text())
    assert page.outside == []
    assert "http" not in page.text.partition("<body>")[0]
    assert "url(" not in page.text
    assert "@import" not in page.text


def test_every_figure_is_a_drawn_png_and_stands_in_the_page_with_words_for_it(reported):
    folder = reported[2]
    page = Page((folder / "report.html").read_text())
    assert {path.stem for path in folder.glob("figures/*.png")} == ALL_PNGS
    for path in (folder / "figures").iterdir():
        image = Image.open(path)
        assert image.size[0] >= 200, path
        assert np.asarray(image.convert("L")).std() > 5, path
        assert len(page.images[path.read_bytes()]) > 20, path
    assert len(page.images) == len(ALL_PNGS) + 1


def test_every_exhibit_has_a_caption(reported):
    text = (reported[2] / "report.html").read_text()
    assert text.count("<h3>") == text.count("<figcaption>") + 1  # "Not shown" has none
    assert "the model has no termination head" in text


def test_only_the_page_and_the_figures_are_written(reported):
    before, after, folder = reported
    new = set(after) - set(before)
    assert new == {folder / "report.html", *(folder / "figures").iterdir()}
    assert {path: after[path] for path in before} == before


def test_the_head_states_the_run_and_its_results(reported):
    text = (reported[2] / "report.html").read_text()
    result = json.loads((reported[2] / "result.json").read_text())
    low, high = result["success_interval"]
    assert f"{result['success_rate']:.3f} ({low:.3f} to {high:.3f})" in text
    assert "jepa_rl/Counting-v0(target=2)" in text
    assert f"<td>{result['ari']:.3f}</td>" in text
    assert "training.batch_size" in text


def test_the_gif_shows_whole_episodes_up_to_its_limit(reported):
    folder = RunFolder.open(reported[2])
    frames = film.play(folder.load_agent(), folder.config(), seed=report.FILM_SEED)
    shown = Image.open(folder.figures / "episode.gif")
    assert shown.n_frames == len(frames) >= film.ENOUGH_FRAMES
    assert [len(frame.rewards) for frame in frames[:2]] == [3, 3]
    ends = [frame for frame in frames if not len(frame.rewards)]
    assert len(ends) > 1
    assert all("success" in frame.title for frame in ends)
    assert set(frames[0].actions) <= {"remove", "add"}


def test_the_decoder_leaves_the_encoder_as_it_is(reported):
    folder = RunFolder.open(reported[2])
    agent = folder.load_agent()
    before = {name: value.clone() for name, value in agent.model.state_dict().items()}
    data = record(agent, folder.config().factory(), transitions=64, seed=0)
    exhibits.decoder_exhibit(agent, image_reader(agent.observation_adapter.spec), data, data, None)
    after = agent.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in agent.model.parameters())


def test_an_environment_of_vectors_gets_a_report_that_says_what_it_lacks(tmp_path, capsys):
    folder = tmp_path / "pole"
    assert run(["train", "default", "--out", str(folder), *POLE_RUN]) == 0
    assert run(["report", str(folder), "--out", str(tmp_path / "elsewhere" / "pole.html")]) == 0
    assert str(tmp_path / "elsewhere" / "pole.html") in capsys.readouterr().out
    assert not (folder / "report.html").exists()
    text = (tmp_path / "elsewhere" / "pole.html").read_text()
    assert "Decoded observations: they hold no images." in text
    assert "no count to colour them by" in text
    drawn = {path.stem for path in folder.glob("figures/*")}
    assert {"reward", "termination", "open-loop", "episode", "learning-termination-loss"} <= drawn
    assert not drawn & (LATENTS | IMAGES)


def test_continuous_actions_and_a_policy_are_reported(tmp_path):
    folder = tmp_path / "pendulum"
    short = ["--total-timesteps", "120", "--log-interval", "40", "--training.starts", "40", "--exploration.warmup", "40"]
    assert run(["train", "control", "--out", str(folder), "--episodes", "2", "--quiet", *short]) == 0
    assert run(["report", str(folder)]) == 0
    drawn = {path.stem for path in folder.glob("figures/*")}
    assert {"reward", "open-loop", "episode", "learning-policy-loss", "learning-value-loss"} <= drawn


def test_a_dict_with_an_image_is_shown_and_decoded_without_rendering(lamp_run, tmp_path):
    shutil.copytree(lamp_run, tmp_path / "run")
    assert run(["report", str(tmp_path / "run")]) == 0
    drawn = {path.stem for path in tmp_path.glob("run/figures/*")}
    assert {"episode", "reconstructions-1", "reward", "termination", "open-loop", "learning-success-rate"} | HEALTH <= drawn
    text = (tmp_path / "run" / "report.html").read_text()
    assert "no count to colour them by" in text


def test_an_environment_that_cannot_be_shown_is_reported_without_a_film(lamp_run, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise NoPicturesError("its render() raises RuntimeError: no display")

    monkeypatch.setattr(report, "play", refuse)
    monkeypatch.setattr(report, "TRANSITIONS", 32)
    shutil.copytree(lamp_run, tmp_path / "run")
    text = report.write_report([RunFolder.open(tmp_path / "run")]).read_text()
    assert "An episode: its render() raises RuntimeError: no display." in text
    assert not (tmp_path / "run" / "figures" / "episode.gif").exists()


def test_a_result_that_is_older_than_the_run_is_not_taken_for_its_end(counting_run):
    folder = RunFolder.open(counting_run)
    longer = dataclasses.replace(folder.config(), total_timesteps=900)
    for config, states in ((folder.config(), []), (longer, ["not finished: 500 of 900 environment steps"])):
        found = facts(config, read_result(folder), logged_steps=500)
        assert [fact.value for fact in found if fact.name == "state"] == states
        assert any(fact.name == "return" for fact in found)


def test_the_head_says_what_the_run_came_to_and_which_command_made_it(reported):
    text, result = (reported[2] / "report.html").read_text(), read_result(RunFolder.open(reported[2]))
    low, high = result["success_interval"]
    told = f"<p>Success {result['success_rate']:.3f} ({low:.3f} to {high:.3f}) in 4 held-out episodes after 400 environment"
    assert told in text
    assert "jepa-rl train counting --env-id jepa_rl/Counting-v0 --seed 3 --total-timesteps 400 --env.target 2" in text
    unsuccessful = {**result, "success_rate": None, "return_mean": -1.5, "return_std": 0.25}
    assert headline(unsuccessful) == "Return -1.50 ± 0.25 in 4 held-out episodes after 400 environment steps."


def test_the_command_gives_the_run_s_settings_again(counting_run):
    config = RunFolder.open(counting_run).config()
    changed = [
        *("--model.auxiliaries", "random_linear:size=8", "inverse", "--model.encoder.convolutions", "8", "4", "4", "0"),
        *("--model.value.trains-encoder", "--model.dynamics.no-scale-free", "--model.masked.scale", "0.1", "0.3"),
    ]
    other = dataclasses.replace(
        config, agent=overridden(config.agent, changed), env={"name": "a b"}, recording=Recording(wandb=True, episodes=7)
    )
    for each in (config, other):
        line, env = split_env_options(shlex.split(command(each))[2:])
        parsed = parse_options(TrainArgs, line, default=_defaults(line))
        assert (parsed.agent, parsed.recording, env) == (each.agent, each.recording, each.env)
        assert (parsed.seed, parsed.total_timesteps, parsed.env_id) == (3, 400, config.env_id)
    assert command(dataclasses.replace(config, preset="gone")) is None


def test_losses_in_different_units_are_not_given_the_unit_of_the_first_run():
    one = ModelConfig()
    other = dataclasses.replace(one, dynamics=dataclasses.replace(one.dynamics, scale_free=not one.dynamics.scale_free))
    log = {"train/dynamics_loss": (np.array([1.0, 2.0]), np.array([0.5, 0.4]))}

    def unit(second):
        drawn = []

        def noted(title, unit, *lines, **options):
            drawn.append(unit)
            return curve(title, unit, *lines, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exhibits.figures, "curve", noted)
            exhibits.learning_exhibit({"a": log, "b": log}, {"a": one, "b": second})
        return drawn[0]

    assert unit(one) != unit(other) == "each run in its own unit"


@pytest.mark.parametrize("high", [1, 255])
def test_bytes_are_drawn_by_the_bounds_of_their_space(high):
    spec = observation_spec(spaces.Box(0, high, (24, 24, 3), np.uint8), "image")
    white = np.full((1, 24, 24, 3), high, np.uint8)
    assert (image_reader(spec)(white) == 255).all()


def test_a_drawing_with_transparency_is_shown_in_its_colours():
    class Canvas:
        def render(self):
            return np.full((8, 8, 4), (10, 20, 30, 255), np.uint8)

    assert (views._drawn(Canvas()) == (10, 20, 30)).all()


@pytest.mark.parametrize(("width", "stretched"), [(0.01, True), (0.5, False)])
def test_the_map_of_latents_on_a_line_says_that_its_axis_is_stretched(width, stretched):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(60, 3)) * [1, width, width]
    held = LabelledLatents(latent=latent, count=np.repeat(np.arange(3), 20), observation=np.zeros((60, 1)))
    caption = exhibits.latent_exhibits(held)[0].caption
    assert ("stretched" in caption) == stretched


def test_gradients_show_their_limit_only_where_it_was_reached(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        exhibits.figures, "curve", lambda *arguments, **options: (drawn.append(options), curve(*arguments))[1]
    )
    steps = np.array([10.0, 20.0])
    log = {"train/total_gradient_norm": (steps, np.array([1.0, 3.0])), "train/clipped_share": (steps, np.zeros(2))}
    assert [p.name for p in exhibits.health_exhibit(log, 2.5).pictures] == ["health-gradients.png"]
    exhibits.health_exhibit({**log, "train/clipped_share": (steps, np.array([0.0, 0.5]))}, 2.5)
    assert [options["reference"] for options in drawn] == [None, 2.5]
    assert exhibits.health_exhibit({}, 2.5) is None


def test_several_runs_are_compared_setting_by_setting(counting_run, tmp_path, monkeypatch):
    for name in ("a", "b"):
        shutil.copytree(counting_run, tmp_path / name)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config["agent"]["discount"] = 0.5
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    (tmp_path / "b" / "checkpoint" / "agent.zip").unlink()
    monkeypatch.setattr(report, "_agent_exhibits", lambda *_: ([], []))
    page = report.write_report([RunFolder.open(tmp_path / "a"), RunFolder.open(tmp_path / "b")])
    text = page.read_text()
    assert page == tmp_path / "a" / "report.html"
    drawn = {path.stem for path in (tmp_path / "a" / "figures").glob("comparison-*")}
    assert drawn == {f"comparison-{name}" for name in CURVES}
    assert not list((tmp_path / "b" / "figures").glob("comparison-*"))
    assert '<th scope="row">discount</th><td data-label="a">0.95</td><td data-label="b">0.5</td>' in text
    assert text.count('<th scope="row">discount</th>') == 3  # once compared, once in each run's settings
    assert text.count('<th scope="row">model.latent_dim</th>') == 2  # the same in both
    assert "<h2>a</h2>" in text
    assert "<h2>b</h2>" in text


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    paths = [tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "z"]
    assert report._labels([RunFolder(path) for path in paths]) == [str(path) for path in paths]
    assert report._labels([RunFolder(path) for path in paths[1:]]) == ["run", "z"]


def test_a_run_in_training_is_reported_as_far_as_it_is(counting_run, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(counting_run, folder)
    (folder / "result.json").unlink()
    lines = (folder / "progress.csv").read_text().splitlines(keepends=True)
    (folder / "progress.csv").write_text("".join(lines[:-1]) + lines[-1][:9])
    shown = []
    monkeypatch.setattr(report, "_agent_exhibits", lambda *arguments: (shown.append(arguments[-1]), ([], []))[1])
    text = report.write_report([RunFolder.open(folder)]).read_text()
    assert "not finished: 304 of 400 environment steps" in text  # the line of step 400 is torn
    assert {path.stem for path in folder.glob("figures/*.png")} == {f"learning-{name}" for name in CURVES} | HEALTH
    assert [agent.num_timesteps for agent in shown] == [400]


def test_a_run_that_just_began_is_reported_too(counting_run, tmp_path):
    (tmp_path / "config.json").write_bytes((counting_run / "config.json").read_bytes())
    (tmp_path / "progress.csv").write_text("")
    text = report.write_report([RunFolder.open(tmp_path)]).read_text()
    assert "nothing has been logged yet" in text
    assert "the run has no checkpoint yet" in text
    assert Page(text).images == {}


def test_a_damaged_checkpoint_is_an_error_not_a_missing_one(counting_run, tmp_path, capsys):
    shutil.copytree(counting_run, tmp_path / "run")
    (tmp_path / "run" / "checkpoint" / "agent.zip").write_bytes(b"nonsense")
    assert run(["report", str(tmp_path / "run")]) == 2
    assert "agent.zip" in capsys.readouterr().err


def test_the_log_is_read_column_by_column(tmp_path):
    (tmp_path / "progress.csv").write_text("time/total_timesteps,a,b\n10,0.5,\n20,,inf\n30,1.5,2\n,9,\n")
    log = read_log(tmp_path / "progress.csv")
    assert log["a"][0].tolist() == [10, 30]
    assert log["a"][1].tolist() == [0.5, 1.5]
    assert log["b"][1].tolist() == [np.inf, 2]
    assert read_log(tmp_path / "nowhere.csv") == {}


def test_rewards_are_drawn_as_events_values_or_numbers():
    rng = np.random.default_rng(0)
    for real, names in (
        (rng.integers(0, 2, 100).astype(float), ["reward.png", "reward-calibration.png"]),
        (rng.integers(0, 5, 100).astype(float), ["reward.png"]),
        (np.ones(100), ["reward.png"]),
        (rng.normal(size=100), ["reward.png"]),
        (np.eye(100)[3] * 0.7, ["reward.png"]),
    ):
        pictures = scalar_figures("reward", "reward", real, real + rng.normal(size=100))
        assert [picture.name for picture in pictures] == names
        assert all(np.asarray(Image.open(io.BytesIO(picture.data)).convert("L")).std() > 5 for picture in pictures)


@pytest.mark.parametrize("package", ["matplotlib", "imageio"])
def test_a_missing_package_is_explained(package, counting_run, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("jepa_rl.scripts.") or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert run(["report", str(counting_run)]) == 2
    assert "pip install 'jepa-rl[report]'" in capsys.readouterr().err
