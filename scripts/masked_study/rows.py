"""The rows of the study of masked latent prediction: one patch encoder, and which losses train it, at which rate."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from jepa_rl.scripts.counting_study.rows import DETACHED_REWARD, SETTING, agent_config
from jepa_rl.scripts.grid import Cell

SEEDS = 3
STEPS = 12_576  # of the environment, and so about 2,200 updates
QUICK_STEPS = 2_496

RATE = "0.0005"
OTHER_RATES = {
    "0.002": "at the learning rate that the convolutions of the counting study have",
    "0.001": f"at twice {RATE}",
    "0.00025": f"at half of {RATE}",
}

# The counting study's setting with a patch encoder instead of convolutions, narrow for speed.
PATCHES = (
    *("--model.encoder.image-encoder", "patches"),
    *("--model.encoder.patches.width", "64", "--model.encoder.patches.depth", "2"),
    *("--training.learning-rate", RATE),
)
MASKED = ("--model.masked.weight", "1", "--model.masked.width", "32")
DETACHED_DYNAMICS = ("--model.dynamics.no-trains-encoder",)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Which losses train the encoder. Dynamics and a reward head are there in every row, for the planner."""

    slug: str  # names the files of its results
    name: str  # as in tables
    about: str
    options: tuple[str, ...] = ()  # on top of the setting


ROWS = (
    Row(
        slug="untrained",
        name="untrained",
        about="no loss trains the encoder: what can be read from one that has learned nothing",
        options=(*DETACHED_DYNAMICS, *DETACHED_REWARD),
    ),
    Row(
        slug="masked",
        name="masked",
        about="L_mask alone",
        options=(*MASKED, *DETACHED_DYNAMICS, *DETACHED_REWARD),
    ),
    Row(
        slug="masked-reward",
        name="masked + reward",
        about="L_mask with the reward as auxiliary",
        options=(*MASKED, *DETACHED_DYNAMICS),
    ),
    Row(slug="dynamics", name="dynamics", about="L_dyn alone", options=DETACHED_REWARD),
    Row(
        slug="masked-dynamics",
        name="masked + dynamics",
        about="L_mask beside L_dyn",
        options=(*MASKED, *DETACHED_REWARD),
    ),
    Row(slug="reward", name="dynamics + reward", about="P-JEPA: L_dyn with the reward as auxiliary"),
    Row(
        slug="masked-dynamics-reward",
        name="masked + dynamics + reward",
        about="both JEPA objectives with the reward as auxiliary",
        options=MASKED,
    ),
    *(
        Row(
            slug=f"reward-rate{rate}",
            name=f"dynamics + reward, rate {rate}",
            about=about,
            options=("--training.learning-rate", rate),
        )
        for rate, about in OTHER_RATES.items()
    ),
)


def row(slug: str) -> Row:
    """The row of this slug."""
    return next(each for each in ROWS if each.slug == slug)


def cell(chosen: Row, seed: int, quick: bool = False) -> Cell:
    """The grid's entry for one training run; ``quick`` trains for a part of the time."""
    return {
        "name": f"{'quick-' if quick else ''}{chosen.slug}",
        "seed": seed,
        "row": chosen.slug,
        "quick": quick,
        "steps": QUICK_STEPS if quick else STEPS,
        "agent": dataclasses.asdict(agent_config((*SETTING, *PATCHES, *chosen.options))),
    }


def cells(seeds: int) -> list[Cell]:
    """The whole grid, the first seed of everything first."""
    return [cell(each, seed) for seed in range(seeds) for each in ROWS]


def quick_cells() -> list[Cell]:
    """Every row, one seed, trained for a fifth of the time."""
    return [cell(each, 0, quick=True) for each in ROWS]
