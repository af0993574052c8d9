"""The rows of the counting study: what each changes in one and the same setting."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any, Literal

from jepa_rl.agent import AgentConfig, preset
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.train import overridden

TARGET = 4
TARGETS = tuple(range(9))
WEIGHTS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)  # c_p; 1 is the row itself
SEEDS = 5
DRAWN_SEED = 0  # whose latents and reconstructions are shown
SWEEP_SEEDS = 1  # at most, of the sweeps; the rows and the targets at the ends have all
FAR_TARGET = 0  # where the label tells least: every other distinction has to come through the dynamics

# One setting for every row and target. Random actions: every row learns from the same images. No value and termination
# heads, only L_dyn and one auxiliary: the planner looks as far ahead as the farthest target is. Half
# the preset's batch, and about twice its updates.
SETTING = (
    *("--exploration.kind", "random"),
    *("--replay.capacity", "30000", "--replay.prioritised-fraction", "0.25"),
    *("--training.updates-per-step", "0.19", "--training.batch-size", "16"),
    *("--model.value.weight", "0", "--model.termination.weight", "0"),
    *("--planner.horizon", "8"),
)
PLAIN = ("--model.dynamics.no-scale-free",)
DETACHED_REWARD = ("--model.reward.no-trains-encoder",)
INSTEAD = (*DETACHED_REWARD, "--model.auxiliaries")  # of the reward, the task that follows trains the encoder
SHUFFLED = (*INSTEAD, "shuffled_reward:likelihood=bernoulli")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to train the encoder."""

    slug: str  # names the files of its results
    name: str  # as in tables
    about: str  # what differs from the reward row
    options: tuple[str, ...] = ()  # on top of the preset and SETTING
    env: dict[str, Any] = field(default_factory=dict)
    auxiliary: str = "reward"  # the task whose loss L_p is set against L_dyn; where it is detached, what it would do
    first_half: tuple[str, ...] | None = None  # options of the first half of training, where they differ from the second's
    label: Literal["reward", "constant", "pixels"] = "reward"  # p at the level of counts; pixels: not defined there
    action_labels: bool = True


ROWS = (
    Row(slug="reward", name="reward (P-JEPA)", about="dynamics and reward train the encoder together"),
    Row(
        slug="value",
        name="value auxiliary",
        about="the bootstrapped action value instead of the reward",
        options=(*DETACHED_REWARD, "--model.value.weight", "1", "--model.value.trains-encoder"),
        auxiliary="value",
    ),
    Row(
        slug="dense",
        name="dense reward",
        about="reward 1 - |k - 4| / 8; it plans one step ahead, since with more it would hover near the target and be paid",
        options=("--planner.horizon", "1"),
        env={"reward": "dense"},
    ),
    Row(
        slug="random-linear",
        name="random linear 256",
        about="256 fixed random linear functions of the pixels instead of the reward",
        options=(*INSTEAD, "random_linear"),
        auxiliary="random_linear",
        label="pixels",
    ),
    Row(
        slug="random-network",
        name="random network 256",
        about="256 outputs of a fixed random network instead of the reward",
        options=(*INSTEAD, "random_network"),
        auxiliary="random_network",
        label="pixels",
    ),
    Row(
        slug="reward-only",
        name="reward only",
        about="the dynamics learn on detached latents; same learning rate",
        options=("--model.dynamics.no-trains-encoder",),
    ),
    Row(
        slug="dynamics-only",
        name="dynamics only",
        about="no auxiliary trains the encoder",
        options=DETACHED_REWARD,
        label="constant",
    ),
    Row(
        slug="separate",
        name="separately trained",
        about="the same two losses one after the other, on the same 25,000 steps, half the images: dynamics for the first "
        "half of training, reward for the second",
        options=("--model.dynamics.no-trains-encoder",),
        first_half=DETACHED_REWARD,
    ),
    Row(
        slug="constant",
        name="constant label",
        about="an auxiliary label that is 1 everywhere",
        options=(*INSTEAD, "constant"),
        auxiliary="constant",
        label="constant",
    ),
    Row(
        slug="plain-reward",
        name="reward, plain L_dyn",
        about="L_dyn as in the paper, not divided by the variance of the latents",
        options=PLAIN,
    ),
    Row(
        slug="plain-dynamics-only",
        name="dynamics only, plain L_dyn",
        about="the same loss without an auxiliary",
        options=(*PLAIN, *DETACHED_REWARD),
        label="constant",
    ),
    Row(
        slug="plain-constant",
        name="constant label, plain L_dyn",
        about="the same loss with a label that is 1 everywhere",
        options=(*PLAIN, *INSTEAD, "constant"),
        auxiliary="constant",
        label="constant",
    ),
    Row(
        slug="plain-shuffled",
        name="shuffled labels, plain L_dyn",
        about="the same loss with rewards dealt out anew",
        options=(*PLAIN, *SHUFFLED),
        auxiliary="shuffled_reward",
        label="constant",
    ),
    Row(
        slug="action-free",
        name="action-free dynamics",
        about="the dynamics do not see the action",
        options=("--model.dynamics.action-free",),
        action_labels=False,
    ),
    Row(
        slug="shuffled",
        name="shuffled reward labels",
        about="the rewards of each batch dealt out anew among its observations",
        options=SHUFFLED,
        auxiliary="shuffled_reward",
        label="constant",
    ),
    Row(
        slug="stop-gradient",
        name="reward, stop-gradient target",
        about="no gradient through the branch E(o')",
        options=("--model.dynamics.target", "stop"),
    ),
    Row(
        slug="ema",
        name="reward, EMA target",
        about="the branch E(o') is an EMA copy of the encoder",
        options=("--model.dynamics.target", "ema"),
    ),
    Row(
        slug="vicreg",
        name="dynamics + VICReg",
        about="no auxiliary; variance and covariance penalties with the published weights 25, 25, 1",
        options=(
            *DETACHED_REWARD,
            *(*PLAIN, "--model.dynamics.weight", "25"),
            *("--model.regularizer.variance", "25", "--model.regularizer.covariance", "1"),
        ),
        label="constant",
    ),
    Row(
        slug="sigreg",
        name="dynamics + SIGReg",
        about="no auxiliary; random projections are drawn to a standard Gaussian",
        options=(*DETACHED_REWARD, *PLAIN, "--model.regularizer.sigreg", "1"),
        label="constant",
    ),
    Row(
        slug="paper",
        name="the paper's protocol",
        about="as arXiv:2509.12249 trains, as far as a CPU allows; deviations are listed below",
        options=(
            *("--exploration.repeat", "5"),
            *("--model.encoder.contrast", "none"),
            *(*PLAIN, "--model.dynamics.weight", "1", "--model.dynamics.hidden", "512"),
            *("--model.reward.labels", "acted", "--model.reward.likelihood", "two_hot", "--model.no-imagined-heads"),
            *("--training.transitions", "1", "--training.batch-size", "24"),
            *("--training.learning-rate", "3e-4", "--training.encoder-rate", "0.3", "--training.schedule", "constant"),
        ),
    ),
)
# What makes a distinction travel further: the reward row at FAR_TARGET with one thing changed.
TRAVEL = (
    Row(
        slug="travel-1-step",
        name="1-step windows",
        about="L_dyn over one transition; as many images per update",
        options=("--training.transitions", "1", "--training.batch-size", "24"),
    ),
    Row(
        slug="travel-4-step",
        name="4-step windows",
        about="L_dyn and the reward over four imagined steps; as many images per update",
        options=("--training.transitions", "4", "--training.batch-size", "10"),
    ),
    Row(slug="travel-light", name="c_dyn 1", about="instead of 3", options=("--model.dynamics.weight", "1")),
    Row(slug="travel-heavy", name="c_dyn 10", about="instead of 3", options=("--model.dynamics.weight", "10")),
    Row(
        slug="travel-normalised",
        name="LayerNorm on the latent",
        about="after the encoder and after the dynamics",
        options=("--model.encoder.layer-norm",),
    ),
    Row(
        slug="travel-uniform",
        name="uniform windows",
        about="no share of windows that contain a reward",
        options=("--replay.prioritised-fraction", "0"),
    ),
    Row(
        slug="travel-half",
        name="half the updates",
        about="from the same images",
        options=("--training.updates-per-step", "0.095"),
    ),
)
QUICK = ("reward", "reward-only", "dynamics-only")
QUICK_SHARE = 0.5  # of the environment steps, and so of the updates


def row(slug: str) -> Row:
    """The row of this slug."""
    return next(each for each in (*ROWS, *TRAVEL) if each.slug == slug)


def cell(chosen: Row, seed: int, target: int = TARGET, weight: float = 1.0, quick: bool = False) -> Cell:
    """The grid's entry for one training run; ``weight`` is c_p of the reward, ``quick`` trains for a part of the time."""
    name = f"quick-{chosen.slug}" if quick else chosen.slug
    options = [*SETTING, *chosen.options]
    if target != TARGET:
        name += f"-target{target}"
    if weight != 1.0:
        name += f"-weight{weight:g}"
        options += ["--model.reward.weight", f"{weight:g}"]
    return {
        "name": name,
        "seed": seed,
        "row": chosen.slug,
        "target": target,
        "weight": weight,
        "env": {**chosen.env, "target": target},
        "steps": int(preset("counting").total_timesteps * (QUICK_SHARE if quick else 1)),
        "agent": dataclasses.asdict(agent_config(tuple(options))),
        "first_half": None
        if chosen.first_half is None
        else dataclasses.asdict(agent_config((*SETTING, *chosen.first_half))),
    }


@functools.cache
def agent_config(options: tuple[str, ...]) -> AgentConfig:
    """The counting preset with options of the command line."""
    return overridden(preset("counting").agent, options)


def quick_cells(seeds: int) -> list[Cell]:
    """Three rows, trained for a part of the time."""
    return [cell(row(slug), seed, quick=True) for seed in range(seeds) for slug in QUICK]


def cells(seeds: int) -> list[Cell]:
    """The whole grid: every row; joint and reward-only for every target; the sweeps; what --quick is compared with."""
    pair = row("reward"), row("reward-only")
    grid = []
    for seed in range(seeds):
        grid += [cell(each, seed) for each in ROWS]
        grid += [cell(each, seed, target=target) for target in (0, 8) for each in pair]
    for seed in range(min(seeds, SWEEP_SEEDS)):
        between = [target for target in TARGETS if target not in (0, TARGET, 8)]
        grid += [cell(each, seed, target=target) for target in between for each in pair]
        grid += [cell(row("reward"), seed, weight=weight) for weight in WEIGHTS if weight != 1.0]
        grid += [cell(each, seed, target=FAR_TARGET) for each in TRAVEL]
    return grid + quick_cells(seeds)
