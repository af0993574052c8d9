"""docs/masked.md and its figure, from the raw results."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from jepa_rl.scripts.masked_study.measure import EPISODES, IMAGES
from jepa_rl.scripts.masked_study.rows import OTHER_RATES, QUICK_STEPS, RATE, ROWS, SEEDS, STEPS, cells, row
from jepa_rl.scripts.masked_study.summary import CERTAIN, COLUMNS, FIGURES, Difference, Results
from jepa_rl.scripts.reporting.drawing import BLUE, GREY, INK, blank, tidy, write_figures
from jepa_rl.scripts.reporting.paragraphs import completeness, filled, listed, reflowed
from jepa_rl.scripts.reporting.tables import Estimate, markdown

QUESTIONS = {
    "What does masked prediction keep?": (("masked", "untrained"), ("masked", "reward")),
    "Does an auxiliary repair what it misses?": (("masked-reward", "masked"), ("masked-reward", "reward")),
    "Does it help beside the latent dynamics?": (
        ("masked-dynamics", "dynamics"),
        ("masked-dynamics-reward", "reward"),
        ("masked-dynamics-reward", "masked-dynamics"),
    ),
    "What does the learning rate do?": tuple((f"reward-rate{rate}", "reward") for rate in OTHER_RATES),
}
"""Each with the pairs of rows that answer it: the first minus the second."""

CONFIDENCE = 0.95  # of an interval

TEMPLATE = """\
# Masked latent prediction: what it keeps, and what an auxiliary repairs

`jepa-rl paper masked` trains every row, measures it and writes this page; `--render` remakes the page and its figure from
the [raw results]({raw}), `--quick` trains every row for a fifth of the steps. A run that is finished is not run again.

{state}

Masked latent prediction ([arXiv:2301.08243](https://arxiv.org/abs/2301.08243), [p-jepa.md]({method})) is a JEPA objective
of single images: latents of hidden patches are predicted from the visible ones. It knows of no action and no reward. The
same small vision transformer (8x8 patches, width 64, two blocks; learning rate {rate}, of those of the last rows the best
for dynamics + reward over the three seeds; the masked rows were not tuned) is trained on the
[counting environment]({counting}) by each of these:

{rows}

Where they train the encoder, L_dyn has the weight {c_dyn:g}, L_mask and the reward's loss 1. Where dynamics or reward do
not train it, they learn on detached latents, so that every row has a planner. All data are of uniformly random actions:
the rows of a seed learn from the same images, for {updates} updates. In every row {rewarded:.0f} % of the windows are drawn
for a reward that they contain, also where no label trains the encoder. Figures are of
the final weights, on {images:,} images and {episodes} episodes that training never saw, mean ± half width of the 95 %
interval (Student's t) over the seeds. *centroid*: accuracy of the nearest of nine centroids, from the other half of the
images. *probe*: linear, fitted on one half and scored on the other; accuracy of classes (chance: count {count}, shape
{shape}), R^2 of numbers. A probe finds what is small, too; the centroids say what the latents are made of.

{figure}

Dots are seeds, bars their means; the dashed line is the mean of *untrained*.

{table}
"""


def render(results: Results, folder: Path, page: Path) -> Path:
    """Write the page, and its figure to figures/masked beside it; returns the page's path."""
    write_figures({"rows": drawing(results)}, page.parent / "figures" / "masked")

    def link(path: str) -> str:
        return Path(os.path.relpath(path or folder, page.parent)).as_posix()

    some = results.runs[0]
    agent = some["cell"]["agent"]
    head = TEMPLATE.format(
        raw=link(""),
        method=link("docs/p-jepa.md"),
        counting=link("docs/counting.md"),
        state=_state(results),
        rows="\n".join(f"- **{each.name}**: {each.about}" for each in ROWS),
        updates=listed(sorted({f"{run['updates']:,}" for run in results.runs})),
        rate=RATE,
        c_dyn=agent["model"]["dynamics"]["weight"],
        rewarded=100 * agent["replay"]["prioritised_fraction"],
        images=IMAGES,
        episodes=EPISODES,
        count=f"{some['probes']['count_linear']['chance']:.2f}",
        shape=f"{some['probes']['shape_linear']['chance']:.2f}",
        figure="![Every run: what can be read from the latents, and success](figures/masked/rows.png)",
        table=table(results),
    )
    parts = [reflowed(head)]
    found = results.differences([pair for pairs in QUESTIONS.values() for pair in pairs])
    if found:
        parts.append(judged(found))
    for question, pairs in QUESTIONS.items():
        answers = [compared(pair, found[pair]) for pair in pairs if pair in found]
        if answers:
            parts.append(f"## {question}\n\n" + "\n".join(answers))
    page.write_text("\n\n".join(parts) + "\n")
    return page


def _state(results: Results) -> str:
    """What the page rests on."""
    if results.quick:
        runs = f"runs of `--quick`, one seed, {QUICK_STEPS:,} of {STEPS:,} steps"
        return f"**These are {runs}.** They show the way, not a result."
    grid = {(each["name"], each["seed"]) for each in cells(max(SEEDS, results.seeds))}
    return completeness({(run["cell"]["name"], run["cell"]["seed"]) for run in results.runs}, grid)


def table(results: Results) -> str:
    """Every row with every figure."""
    body = []
    for each in results.rows:
        digits = [0 if name == "seconds" else 1 if name == "effective rank" else 3 for name in COLUMNS]
        found = [results.estimate(read, each.slug) for read in COLUMNS.values()]
        body.append([each.name, *(one.text(places) for one, places in zip(found, digits, strict=True))])
    return markdown(["row", *COLUMNS], body)


def judged(found: Mapping[tuple[str, str], Mapping[str, Difference]]) -> str:
    """What the sections below state, and how many of their differences chance alone would show."""
    every = [one for each in found.values() for one in each.values()]
    by_chance = (1 - CONFIDENCE) * len(every)
    text = (
        f"Below, {len(found)} pairs of rows are compared in {len(FIGURES)} figures, seed by seed: {len(every)} differences "
        f"with their 95 % intervals. If nothing differed, about {by_chance:.0f} intervals would leave out 0 by chance; "
        f"{sum(one.apart for one in every)} do. *More* and *less* are said only of the {sum(one.certain for one in every)} "
        f"that hold after Holm's correction for all {len(every)} (paired t-test, below {CERTAIN:g}); *hints* are those "
        "whose interval leaves out 0 without that."
    )
    return filled(text)


def compared(pair: tuple[str, str], found: Mapping[str, Difference]) -> str:
    """What one row has more or less of than another."""
    more = [_signed(name, one.found) for name, one in found.items() if one.certain and one.found.mean > 0]
    less = [_signed(name, one.found) for name, one in found.items() if one.certain and one.found.mean < 0]
    hints = [_signed(name, one.found) for name, one in found.items() if one.apart and not one.certain]
    open_ = [_signed(name, one.found) for name, one in found.items() if not one.apart and not one.certain]
    told = [f"{kind} {listed(names)}" for kind, names in (("more", more), ("less", less), ("hints at", hints)) if names]
    if open_:
        told.append(f"no difference beyond the interval in {listed(open_)}")
    return filled(f"- **{row(pair[0]).name}** against **{row(pair[1]).name}**: {'; '.join(told)}", "  ")


def _signed(name: str, found: Estimate) -> str:
    spread = f" ± {found.half_width:.2f}" if found.seeds >= 3 else ""
    return f"{name} ({found.mean:+.2f}{spread})"


def drawing(results: Results) -> Figure:
    """Every run as a dot, one panel a figure; the untrained encoder's mean as a dashed line."""
    rows = results.rows
    figure = blank((12.0, 2 * (0.26 * len(rows) + 0.9)))
    panels = figure.subplots(2, 3, sharey=True).flat
    for axes, (name, read) in zip(panels, FIGURES.items(), strict=True):
        for place, each in enumerate(rows):
            found = results.estimate(read, each.slug)
            axes.scatter(found.values, [place] * found.seeds, s=26, color=BLUE, alpha=0.6, linewidths=0)
            axes.plot([found.mean] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=1.4)
        if (untrained := results.estimate(read, "untrained")).seeds:
            axes.axvline(untrained.mean, color=GREY, linestyle="--", linewidth=0.9)
        axes.set_yticks(range(len(rows)), [each.name for each in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(min(-0.03, axes.get_xlim()[0]), 1.03)
        axes.set_title(name, fontsize=10, color=INK, loc="left")
        tidy(axes)
    return figure


def table_of(results: Results) -> str:
    """The same figures, for a terminal."""
    lines = [f"{'row':<28}" + "".join(f"{name:>20}" for name in COLUMNS)]
    for each in results.rows:
        means = (results.estimate(read, each.slug).mean for read in COLUMNS.values())
        lines.append(f"{each.name:<28}" + "".join(f"{mean:>20.3f}" for mean in means))
    return "\n".join(lines)
