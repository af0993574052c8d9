"""What a report shows of a run: each function makes an exhibit, pictures with the caption that says how to read them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jepa_rl.agent import JEPAAgent
from jepa_rl.agent.observation_spaces import observation_spec
from jepa_rl.scripts.evaluate import LabelledLatents
from jepa_rl.scripts.reporting import figures, prediction_figures
from jepa_rl.scripts.reporting.decoder import train_decoder, updates_within
from jepa_rl.scripts.reporting.drawing import BLUE, GREY, legend, picture
from jepa_rl.scripts.reporting.imagination import RecordedEpisodes, encode, one_step, open_loop_error
from jepa_rl.scripts.reporting.page import Exhibit, Picture
from jepa_rl.scripts.reporting.views import ImageReader, shown_channels
from jepa_rl.world_model import ModelConfig, WorldModel, build_world_model
from jepa_rl.world_model.targets import FUNCTION_TARGETS

DECODER_UPDATES = 300
DECODER_SECONDS = 4.0  # for each of the two decoders, about: large images get fewer updates
SHOWN_IMAGES = 9
JUDGED_IMAGES = 500
NOUN = "number of objects"
THIN = 0.01  # share of the variance below which a second component is next to nothing
Log = Mapping[str, figures.Line]


def read_log(path: Path) -> Log:
    """The columns of a progress.csv, each with the environment steps at which it was logged; empty where there is none."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        # A run that is still training may be in the middle of its last row.
        rows = [row for row in csv.DictReader(file) if row.get("time/total_timesteps")]
    log = {}
    for name in sorted({name for row in rows for name, text in row.items() if text} - {"time/total_timesteps"}):
        pairs = [(float(row["time/total_timesteps"]), float(row[name])) for row in rows if row.get(name)]
        steps, values = np.array(pairs).T
        log[name] = (steps, values)
    return log


def learning_exhibit(
    logs: Mapping[str, Log], models: Mapping[str, ModelConfig], prefix: str = "learning"
) -> Exhibit | None:
    """Learning curves of one run or, overlaid, of several, by their labels; None where nothing was logged yet."""
    names = sorted({name for log in logs.values() for name in log})
    losses = [name for name in names if name.endswith("_loss") and name.startswith("train/") and name != "train/total_loss"]
    shown = [
        "rollout/success_rate",
        "rollout/ep_rew_mean",
        *losses,
        "collapse/effective_rank",
        "collapse/variance",
        "collapse/normalized_dynamics_loss",
    ]
    pictures = [_learning_curve(name, logs, models, prefix) for name in shown if name in names]
    if not pictures:
        return None
    success = "rollout/success_rate" in names
    dotted = " (dotted: their share)" if success and len(logs) == 1 and "rollout/explored_share" in names else ""
    caption = (
        f"{'Success and return are means' if success else 'The return is a mean'} over the last 100 episodes of "
        f"collecting; {'they' if success else 'it'} should rise and stay up. Exploring steps{dotted} are mixed in, so that "
        f"{'these figures stay below those' if success else 'it stays below that'} of the evaluation. Losses and the "
        "one-step error of the dynamics should fall; over the variance of the latents, an error of 1 (dotted) is no better "
        "than predicting the mean. The effective rank counts the directions that the latents use, whatever their size: "
        "latents that shrink to a point can keep a high one, and only the variance falls."
    )
    return Exhibit(title="Learning curves", caption=caption, pictures=pictures)


def health_exhibit(log: Log, max_gradient_norm: float) -> Exhibit | None:
    """Gradients and plans of one run; None where neither was logged yet."""
    pictures = []
    ends = "_gradient_norm"
    norms = {name.removeprefix("train/").removesuffix(ends): line for name, line in log.items() if name.endswith(ends)}
    if norms:
        clipped = bool((log["train/clipped_share"][1] > 0).any())
        limit = max_gradient_norm if clipped else None
        figure, _ = figures.curve("Gradient norms before clipping", "norm", norms, reference=limit)
        pictures.append(picture(figure, "health-gradients", f"Gradient norms of {', '.join(norms)} by environment steps."))
    if "plan/return" in log:
        figure, axes = figures.curve("Imagined return of the plans", "discounted return", {"chosen": log["plan/return"]})
        steps, value = log["plan/return"]
        spread = log["plan/return_spread"][1]
        axes.fill_between(steps, value - spread, value + spread, color=BLUE, alpha=0.2, linewidth=0)
        pictures.append(
            picture(figure, "health-plans", "Imagined return of the plans by environment steps, and its spread.")
        )
    if not pictures:
        return None
    caption = (
        "Means from one line of the log to the next. Gradients are scaled down to a limit (dotted, where it was reached). "
        "A part whose norm stays near 0 learns nothing, one far above the others drowns them. The plans' imagined return "
        "should come to what is then collected. The band is the standard deviation over the sequences that a search began "
        "with: without width, the model sees no difference between actions."
    )
    return Exhibit(title="Gradients and plans", caption=caption, pictures=pictures)


def _learning_curve(name: str, logs: Mapping[str, Log], models: Mapping[str, ModelConfig], prefix: str) -> Picture:
    lines = {label: log[name] for label, log in logs.items() if name in log}
    title = _words(name, models[next(iter(lines))])[0]
    units = {_words(name, models[label])[1] for label in lines}
    unit = units.pop() if len(units) == 1 else "each run in its own unit"
    reference = 1.0 if name == "collapse/normalized_dynamics_loss" or unit.startswith("1 - R²") else None
    figure, axes = figures.curve(title, unit, lines, share=name == "rollout/success_rate", reference=reference)
    (first, *others) = logs.values()
    if name == "rollout/success_rate" and not others and "rollout/explored_share" in first:
        axes.plot(*first["rollout/explored_share"], color=GREY, linestyle=":", linewidth=1.4, label="exploring")
        axes.lines[0].set_label("success")
        legend(axes)
    alt = f"{title} against environment steps" + (f", runs {', '.join(lines)}." if len(lines) > 1 else ".")
    file = re.sub(r"[^a-z0-9]+", "-", name.removeprefix("train/").rpartition("/")[2].lower())
    return picture(figure, f"{prefix}-{file}", alt)


def _words(name: str, model: ModelConfig) -> tuple[str, str]:
    """Title and unit of a logged quantity."""
    known = {
        "rollout/success_rate": ("Success while collecting", "share of episodes"),
        "rollout/ep_rew_mean": ("Return while collecting", "return per episode"),
        "collapse/effective_rank": ("Effective rank of the latents", "directions"),
        "collapse/variance": ("Variance of the latents", "mean over dimensions"),
        "collapse/normalized_dynamics_loss": ("One-step dynamics error", "error / variance of latents"),
    }
    if name in known:
        return known[name]
    term = name.removeprefix("train/").removesuffix("_loss")
    if term == "dynamics":
        scaled = model.dynamics.scale_free
        return "Dynamics loss", "1 - R² over the window" if scaled else "squared error per dimension"
    title = f"{term.replace('_', ' ').capitalize()} loss"
    return title, _units(model).get(term, "penalty")


def _units(model: ModelConfig) -> dict[str, str]:
    """What the loss of each task is measured in."""

    def unit(likelihood: str) -> str:
        return "squared error" if likelihood == "gaussian" else "cross-entropy (nats)"

    units = {
        "masked": "squared error",
        "reward": unit(model.reward.likelihood),
        "value": unit(model.value.likelihood),
        "termination": unit("bernoulli"),
    }
    for task in model.auxiliaries:
        if task.target in FUNCTION_TARGETS:
            units[task.target] = "error / variance of target"
        elif task.target in ("inverse", "reconstruction"):
            units[task.target] = "error of the prediction"  # which, the spaces decide
        else:
            units[task.target] = unit(task.number_likelihood)
    return units


def latent_exhibits(held: LabelledLatents) -> list[Exhibit]:
    """The map of the latents and their distances, by count."""
    _, shares = figures.components(held.latent)
    scales = "Axes have their own scales."
    if len(shares) > 1 and shares[1] < THIN:
        scales = (
            f"The vertical axis is stretched: it holds {100 * shares[1]:.2g} % of the variance, and the latents lie nearly "
            "on a line."
        )
    return [
        Exhibit(
            title="Where the encoder puts each count",
            caption=(
                "Each point is the latent of a held-out image, projected on the directions of largest variance and "
                "coloured by its number of objects; the numbers mark the centroids. A good encoder shows one tight group "
                f"per count, in order; one cloud of mixed colours means that the count is lost. {scales}"
            ),
            pictures=figures.latent_map(held.latent, held.count, NOUN),
        ),
        Exhibit(
            title="Distances between latents",
            caption=(
                "Every pixel is the distance between two held-out images, sorted by count (lines: class boundaries). A "
                "good encoder shows dark squares along the diagonal, images of the same count lying close together "
                "whatever their shape, colour and positions, and distances that grow with the difference of the counts."
            ),
            pictures=[figures.distance_map(held.latent, held.count, NOUN)],
        ),
    ]


def decoder_exhibit(
    agent: JEPAAgent, read: ImageReader, seen: RecordedEpisodes, unseen: RecordedEpisodes, held: LabelledLatents | None
) -> Exhibit:
    """Images decoded from detached latents, beside what the same decoder makes of an untrained encoder's latents."""
    chosen, titles = _chosen_observations(unseen, held)
    observed = read(chosen).astype(np.float32) / 255
    rows, shares = {"observed": observed}, []
    seen_images = read(seen.observation)
    updates = min(DECODER_UPDATES, updates_within(DECODER_SECONDS, agent.config.model.latent_dim, seen_images))
    for name, model in (("this encoder", agent.model), ("untrained\nencoder", _untrained(agent))):
        decoder = train_decoder(
            encode(model, seen.observation).cpu().numpy(),
            seen_images,
            updates=updates,
            seed=0,
        )
        judged = unseen.observation[:JUDGED_IMAGES]
        shares.append(decoder.explained_variance(encode(model, judged).cpu().numpy(), read(judged)))
        decoded = decoder.decode(encode(model, chosen).cpu().numpy())
        factor = observed.max() / max(float(decoded.max()), 1e-6)
        if factor >= 1.5:  # what is decoded from few facts is dim, and black on black shows nothing
            name, decoded = f"{name}\n{factor:.0f} x brighter", decoded * factor
        rows[name] = np.clip(decoded, 0, 1)
    caption = (
        "Above, held-out observations; below, what a small decoder draws from the latents alone, and what the same "
        f"decoder draws from the latents of an untrained encoder. The decoders took {updates} updates each, afterwards, on "
        f"frozen latents, and recover {_percent(shares[0])} and {_percent(shares[1])} of the pixel variance (0 % is the "
        "mean image). What shows in the last row but not in the middle one, the encoder has learned to drop, as it should "
        "with what neither pays nor can be predicted."
    )
    pictures = figures.image_rows({name: shown_channels(images) for name, images in rows.items()}, titles)
    return Exhibit(title="What the latent keeps", caption=caption, pictures=pictures)


def _chosen_observations(unseen: RecordedEpisodes, held: LabelledLatents | None) -> tuple[np.ndarray, list[str]]:
    """Observations to show and their titles: one per count where there are counts."""
    if held is None:
        rows = np.linspace(0, len(unseen.remaining) - 1, SHOWN_IMAGES).astype(int)
        return unseen.observation[rows], [""] * len(rows)
    classes = np.unique(held.count)
    classes = classes[np.unique(np.linspace(0, len(classes) - 1, SHOWN_IMAGES).astype(int))]
    return held.observation[[np.flatnonzero(held.count == kind)[0] for kind in classes]], [str(kind) for kind in classes]


def _untrained(agent: JEPAAgent) -> WorldModel:
    adapter, config = agent.action_adapter, agent.config.model
    return build_world_model(
        config,
        observation=observation_spec(agent.observation_space, config.encoder.kind),
        action_counts=adapter.counts,
        box_size=adapter.box_size,
        generator=torch.Generator().manual_seed(0),
    )


def _percent(share: float) -> str:
    return f"{100 * max(share, 0.0):.0f} %"


def prediction_exhibits(agent: JEPAAgent, unseen: RecordedEpisodes, latent: Tensor) -> tuple[list[Exhibit], list[str]]:
    """One-step predictions of the heads and the open-loop error on held-out episodes, and what could not be shown."""
    exhibits, notes = [], []
    found = one_step(agent.acting_model, unseen, latent)
    if "reward" in agent.model.heads:
        signs = agent.config.replay.rewards == "sign"
        exhibits.append(_reward_exhibit(found.reward, found.imagined_reward, signs=signs))
    else:
        notes.append("Predicted against real reward: the model has no reward head.")
    if "termination" not in agent.model.heads:
        notes.append(
            "Predicted terminations: the model has no termination head, so its plans assume that the episode goes on."
        )
    elif not found.terminated.any():
        notes.append("Predicted terminations: no held-out episode was terminated.")
    else:
        exhibits.append(
            Exhibit(
                title="Imagined against real termination",
                caption=(
                    "The probability that one imagined step ends the episode, for held-out transitions that did and did "
                    "not end it. A good model puts them at opposite ends, and its bins (95 % intervals, number of "
                    "transitions beside them) lie on the diagonal."
                ),
                pictures=prediction_figures.event_figures(
                    "termination", "termination", found.terminated, found.imagined_termination
                ),
            )
        )
    horizon = agent.config.planner.horizon
    try:
        error = open_loop_error(agent.acting_model, unseen, latent, longest=max(2 * horizon, 10))
    except ValueError as reason:
        return exhibits, [*notes, f"Open-loop latent error: {reason}."]
    caption = (
        "The model imagines from one held-out observation along the actions that were then taken, without looking again; "
        f"the curve is its squared distance from the encodings that came, over {error.windows[0]:,} starts. A good model "
        "stays far below both baselines, predicting the mean latent (1) and staying at the first, up to the planner's "
        f"horizon of {horizon}."
    )
    pictures = [prediction_figures.open_loop_figure(error, horizon)]
    return [*exhibits, Exhibit(title="How far the imagination holds", caption=caption, pictures=pictures)], notes


def _reward_exhibit(real: np.ndarray, imagined: np.ndarray, *, signs: bool) -> Exhibit:
    learned = "the sign of the reward" if signs else "the reward"
    return Exhibit(
        title="Imagined against real reward",
        caption=(
            f"The expected reward of one imagined step from a held-out observation against {learned} that the step then "
            f"paid ({len(real):,} transitions, half of the actions random). A good model separates the real rewards and "
            "lies on the diagonal: it neither misses rewards nor dreams of them. Intervals are 95 %, numbers count "
            "transitions."
        ),
        pictures=prediction_figures.scalar_figures("reward", "reward", real, imagined),
    )
