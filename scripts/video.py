"""Films of an agent while it trains."""

from __future__ import annotations

import warnings

from stable_baselines3.common.callbacks import BaseCallback

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.evaluate import HELDOUT_SEED
from jepa_rl.scripts.logs import FilmOutput
from jepa_rl.scripts.reporting.film import film, play, still
from jepa_rl.scripts.reporting.views import NoPicturesError
from jepa_rl.scripts.run_folder import RunConfig, RunFolder

VIDEO_SEED = 6 * HELDOUT_SEED  # apart from those of training, evaluation and report; the same episodes every time


def require_pictures(agent: JEPAAgent, config: RunConfig) -> None:
    """Raise ValueError where a run cannot be filmed, saying why."""
    try:
        still(agent, config, seed=VIDEO_SEED)
    except NoPicturesError as reason:
        raise ValueError(f"--video-every needs something to film: {reason}") from reason


class FilmEvery(BaseCallback):
    """Films the same held-out episodes, always taking the best plan, every ``interval`` environment steps.

    A film is RUN/videos/step-N.gif, and goes to those outputs of the logger that show films. Nothing of the agent changes:
    environment and generator are the film's own.
    """

    def __init__(self, run: RunFolder, interval: int) -> None:
        super().__init__()
        self.run = run
        self.config = run.config()
        self.interval = interval

    def _on_step(self) -> bool:
        agent = self.model
        assert isinstance(agent, JEPAAgent)
        if agent.crossed(self.interval):
            try:
                self._shoot(agent)
            except NoPicturesError as reason:  # it could be drawn when training began; the run is worth more than its films
                warnings.warn(f"no film at step {agent.num_timesteps}: {reason}", stacklevel=2)
        return True

    def _shoot(self, agent: JEPAAgent) -> None:
        picture = film(play(agent, self.config, seed=VIDEO_SEED))
        self.run.videos.mkdir(exist_ok=True)
        path = self.run.videos / f"step-{agent.num_timesteps}.gif"
        path.write_bytes(picture.data)
        for output in self.logger.output_formats:
            if isinstance(output, FilmOutput):
                output.show_film("videos/episode", path, agent.num_timesteps)
