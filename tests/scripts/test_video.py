"""Films taken while training: what they show, where they go, and that the run does not notice."""

import csv
import dataclasses
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jepa_rl.agent import JEPAAgent
from jepa_rl.agent.checkpoint import read_checkpoint
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.planners import Plan
from jepa_rl.scripts import video
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.reporting import film
from jepa_rl.scripts.reporting.views import NoPicturesError, image_reader, shown_channels
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.scripts.video import VIDEO_SEED, require_pictures
from jepa_rl.world_model import ObservationSpec

pytestmark = pytest.mark.usefixtures("small_reports")
TIMED = ("time/seconds", "time/steps_per_second", "time/updates_per_second")


def test_films_stand_in_the_run_folder_and_in_tensorboard(lamp_run):
    assert {path.name for path in (lamp_run / "videos").iterdir()} == {"step-100.gif", "step-200.gif"}
    events = EventAccumulator(str(lamp_run / "tensorboard"), size_guidance={"images": 0}).Reload()
    shown = {event.step: event for event in events.Images("videos/episode")}
    assert set(shown) == {100, 200}
    for step, event in shown.items():
        path = lamp_run / "videos" / f"step-{step}.gif"
        assert event.encoded_image_string == path.read_bytes()
        with Image.open(path) as image:
            assert image.size == (event.width, event.height)
            assert image.n_frames >= film.ENOUGH_FRAMES


def test_a_filmed_run_equals_one_that_was_not(lamp_run, lamp, lamp_options, tmp_path):
    plain = tmp_path / "plain"
    assert run(["train", "default", "--out", str(plain), "--env-id", lamp, *lamp_options]) == 0
    assert not (plain / "videos").exists()
    one, two = (read_checkpoint(folder / "checkpoint" / "agent.zip") for folder in (plain, lamp_run))
    assert all(value.equal(two.tensors[name]) for name, value in one.tensors.items())
    assert all(np.array_equal(value, two.arrays[name]) for name, value in one.arrays.items())
    logs = [list(csv.DictReader((folder / "progress.csv").open())) for folder in (plain, lamp_run)]
    for line, other in zip(*logs, strict=True):
        assert {n: v for n, v in line.items() if n not in TIMED} == {n: v for n, v in other.items() if n not in TIMED}


def test_a_resumed_run_goes_on_filming(lamp_run, lamp, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(lamp_run, folder)
    assert run(["resume", str(folder), "--total-timesteps", "310", "--quiet"]) == 0
    assert {path.name for path in (folder / "videos").iterdir()} == {f"step-{n}00.gif" for n in (1, 2, 3)}


class Left:
    """Plans to move away from the goal, so that episodes last to their time limit of 40 steps."""

    def plan(self, model, latent, **options):
        return Plan(actions=torch.zeros(1, 3, dtype=torch.int64), value=torch.zeros(1), spread=torch.zeros(1))


def test_a_film_thins_long_episodes_and_shows_their_ends(lamp_run):
    agent = RunFolder.open(lamp_run).load_agent()
    agent.planner = Left()
    frames = film.play(agent, RunFolder.open(lamp_run).config(), seed=VIDEO_SEED)
    # More than 12 frames: every second one goes, at steps 12 and 24.
    assert [frame.title for frame in frames[:-1]] == [f"episode 1 · step {step}" for step in range(0, 40, 4)]
    assert frames[-1].title == "episode 1 · step 40, no success, return 0"
    assert frames[-1].image[8:16, :3].max() == 255  # the lamp stands at the left
    assert frames[-1].image[:, 3:].max() == 0


def test_episodes_longer_than_a_film_are_cut(lamp_run, monkeypatch):
    monkeypatch.setattr(film, "MOST_STEPS", 10)
    agent = RunFolder.open(lamp_run).load_agent()
    agent.planner = Left()
    frames = film.play(agent, RunFolder.open(lamp_run).config(), seed=VIDEO_SEED)
    assert [len(frame.rewards) for frame in frames] == [3] * 10 + [0]
    assert frames[-1].title == "episode 1 · step 10, goes on, return 0"


def renderer(picture):
    """The class of an environment whose render gives or raises ``picture``."""

    class Drawn(gym.Env):
        metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
        observation_space = gym.spaces.Box(-1, 1, (2,))
        action_space = gym.spaces.Discrete(2)

        def __init__(self, render_mode=None):
            self.render_mode = render_mode

        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32), {}

        def step(self, action):
            return np.zeros(2, np.float32), 0.0, False, True, {}

        def render(self):
            if isinstance(picture, Exception):
                raise picture
            return picture

    return Drawn


@pytest.fixture
def drawn_config(lamp_run):
    """Agent and configuration of a run whose environment draws itself as it is told."""
    made = []

    def make(picture):
        gym.register("Drawn-v0", entry_point=renderer(picture), disable_env_checker=True, order_enforce=False)
        made.append("Drawn-v0")
        config = dataclasses.replace(RunFolder.open(lamp_run).config(), env_id="Drawn-v0")
        return JEPAAgent(config.agent, config.factory(), seed=0), config

    yield make
    for env_id in made:
        del gym.registry[env_id]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (RuntimeError("no display"), r"its render\(\) raises RuntimeError: no display"),
        (None, r"its render\(\) must give uint8\[H, W, C\], got NoneType"),
        (np.zeros((4, 4, 3)), r"must give uint8\[H, W, C\], got float64\[4, 4, 3\]"),
    ],
)
def test_drawings_that_are_none_are_refused_before_training(drawn_config, picture, reason):
    with pytest.raises(ValueError, match=f"--video-every needs something to film: .*{reason}"):
        require_pictures(*drawn_config(picture))


def test_an_environment_draws_itself_where_observations_are_no_images(drawn_config):
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(film.still(*drawn_config(picture), seed=0), picture)


def test_without_pictures_there_is_an_error_and_no_folder(tmp_path, capsys):
    gym.register("Blind-v0", entry_point=renderer(None), disable_env_checker=True)
    gym.registry["Blind-v0"].entry_point.metadata = {"render_modes": []}
    try:
        assert run(["train", "default", "--env-id", "Blind-v0", "--out", str(tmp_path / "run"), "--video-every", "10"]) == 2
    finally:
        del gym.registry["Blind-v0"]
    assert "declares no render mode rgb_array, and observations hold no image" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_drawing_that_fails_later_costs_the_film_not_the_run(lamp_run, monkeypatch):
    def fail(*arguments, **options):
        raise NoPicturesError("the display is gone")

    monkeypatch.setattr(video, "play", fail)
    folder = RunFolder.open(lamp_run)
    callback = video.FilmEvery(folder, 100)
    callback.model = folder.load_agent(env=True)
    callback.model.num_timesteps = 300
    with pytest.warns(UserWarning, match="no film at step 300: the display is gone"):
        assert callback.on_step()


def spec(shape, dtype="uint8", **bounds):
    return ObservationSpec(kind="image", shape=shape, dtype=dtype, **bounds)


def test_images_are_found_in_every_form_of_observation():
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(2, 20, 24, 3), dtype=np.uint8)
    assert np.array_equal(image_reader(spec((20, 24, 3)))(image), image)
    assert np.array_equal(image_reader(spec((3, 20, 24)))(image.transpose(0, 3, 1, 2)), image)
    assert np.array_equal(image_reader(spec((20, 24, 1)))(image[..., 0]), image[..., :1])
    real = (image / 255 * 3 - 1).astype(np.float32)
    assert np.array_equal(image_reader(spec((20, 24, 3), "float32", low=-1.0, high=2.0))(real), image)
    assert image_reader(ObservationSpec(kind="vector", shape=(4,))) is None


def test_an_image_is_found_among_the_parts_of_a_dict():
    space = spaces.Dict(
        a=spaces.Box(-1, 1, (3,), np.float64),
        b=spaces.Box(0, 1, (20, 24), np.float32),
        c=spaces.Text(4),
    )
    adapter = ObservationAdapter(space, "image")
    grey = np.linspace(0, 1, 480, dtype=np.float32).reshape(20, 24)
    packed = adapter.pack({"a": np.ones(3), "b": grey, "c": "x"})
    (image,) = image_reader(adapter.spec)(packed[None])
    assert image.shape == (20, 24, 1)
    assert np.array_equal(image[..., 0], np.round(255 * grey).astype(np.uint8))


def test_of_stacked_frames_the_newest_is_shown():
    images = np.arange(12).reshape(1, 1, 1, 12)
    assert shown_channels(images).tolist() == [[[[9, 10, 11]]]]
    assert shown_channels(images[..., :4]).tolist() == [[[[3]]]]
