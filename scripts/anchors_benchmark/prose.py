"""What the page says, with the measured figures filled in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jepa_rl.scripts.anchors_benchmark.measure import IMAGES, MERGE_FRACTIONS
from jepa_rl.scripts.anchors_benchmark.summary import (
    CERTAIN,
    FAILED,
    FRACTION,
    Improvement,
    Relation,
    at_end,
    improvements,
    over_budget,
    relations,
)
from jepa_rl.scripts.anchors_benchmark.variants import NAMES, SEEDS, TASKS, VARIANTS
from jepa_rl.scripts.benchmark_results import HOLD, SEEDS_OVERLAP, state_of
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY_NOTE
from jepa_rl.scripts.minigrid_benchmark.summary import LEVELS, MIN_SEEDS, RESAMPLES, Results
from jepa_rl.scripts.reporting.paragraphs import filled

JOINT = VARIANTS[0].slug

TEMPLATE = """\
# Anchors: who should train the encoder

`jepa-rl benchmark anchors` trains the same agent with other gates on the same tasks, follows its success on held-out
episodes and asks its final encoder which states it merges; `--render` remakes this page from the
[raw results]({raw}), `--quick` runs three variants on one task.

{state}

## The answer

{answer}

## Does merging explain failing?

{merging}

One dot a run, a row per variant; a seed stands at the same height within its row on both sides.

![Merged pairs of states and success by variant, one dot a run](figures/anchors/merging.png)

## What is compared

{variants}

{preset}

All else is the preset of the task (`minigrid`; `counting` for the counting environment) with an EMA target branch
(`model.dynamics.target ema`), the weights as trained act, and plans are worth what is imagined to their end
(`planner.trace 1`), so that Q at the root cannot stand in for an encoder that imagines badly. Every head is there in
every variant, and plans are made with it; only whether its gradient reaches the encoder differs. Each run collects
its own data: a variant that acts badly also learns from worse data. On MiniGrid exploring and not coming back imagine
with the same latents ([p-jepa.md](p-jepa.md)), so that a variant whose latents merge also explores worse.

## Success

![Sampled success against environment steps](figures/anchors/success.png)

{at_the_end}

{success}

Greedy, in the last evaluation:

{greedy}

Environment steps until {level:g} holds for {hold} evaluations in a row: the mean of the seeds that got there (all of
them, or how many). Those that are at the level in the last evaluation but not yet held it that long are counted apart.
Then a lower bound of the mean over all seeds: those that are at the level at the end count from where they came to it
for good, the others with the budget.

{steps}

Over tasks. *end* is the first table; *budget* is the mean of all evaluations, which rewards learning soon. IQM is the
mean without the lowest and the highest quarter of all runs, P the chance that a run of (a) beats a run of the variant on
the same task, ties counting half ([arXiv:2108.13264](https://arxiv.org/abs/2108.13264)); intervals of 95 % from
{resamples:,} bootstrap samples over seeds, none with fewer than {min_seeds} seeds and none where all samples agree.

{overall}

Tables by task: mean over seeds ± half the 95 % interval (Student's t), which needs three seeds.
{seeds_overlap}

## Representation

Effective rank of the latents of all states below (Roy and Vetterli 2007; how many directions their differences span):

{rank}

Pairs of states that the task tells apart and the encoder merges, in %:

{merged}

States with at least one partner that they should be told from, in %:

{states}

How they are counted. Of MiniGrid every state of one layout that can be reached is taken, with its exact transitions; of
the counting environment {images} held-out images of its nine counts. Two states must be told apart if, after some
sequence of actions, one of them is at the goal and the other not: if they are not bisimilar under the reward
([bisimulation.py](../world_model/bisimulation.py)). Pairs that look the same are left out, as no encoder of one
observation can separate them:

{alike}

Two states are merged if their latents are nearer than {fraction} of the mean distance between states that must be
told apart, or, where a state has many images, nearer than its images scatter: the rule of the
[certificate](../world_model/merging.py). It is relative because the scale of a latent means nothing. Where the three
figures of an entry are alike, the scatter decides: clusters overlap. A tenth is a convention; merged pairs in % under
shares of {shares}:

{fractions}

## Limits

{limits}
"""


def compose(results: Results, tables: dict[str, str], raw: str, counting: Path) -> str:
    """The page, in Markdown; ``raw`` is the path of the results relative to it, ``counting`` the folder of that study's."""
    return TEMPLATE.format(
        raw=raw,
        state=_state(results),
        preset=filled(BEFORE_NOVELTY_NOTE),
        answer=_answer(results),
        merging=_merging(results),
        variants="\n".join(f"- **{variant.name}**: {variant.about}." for variant in VARIANTS),
        at_the_end=filled(f"At the end of the budget ({_budgets(results)}): sampled success in the last evaluation."),
        hold=HOLD,
        level=LEVELS[-1],
        resamples=RESAMPLES,
        min_seeds=MIN_SEEDS,
        seeds_overlap=SEEDS_OVERLAP,
        images=IMAGES,
        alike=_alike(results),
        fraction=FRACTION,
        limits=_limits(counting),
        shares=", ".join(f"{each:g}" for each in MERGE_FRACTIONS),
        **tables,
    )


def _budgets(results: Results) -> str:
    return ", ".join(f"{task.name} {task.env_steps:,} steps" for task in results.tasks)


def _state(results: Results) -> str:
    """What the page rests on."""
    grid = {
        (task.env_id, task.env_steps, variant.slug, seed) for task in TASKS for variant in VARIANTS for seed in range(SEEDS)
    }
    return state_of(grid, results.runs, results.unfinished)


BETTER, WORSE, ALIKE, OPEN = "(a) is better", "(a) is worse", "no difference is shown", "too few seeds for a verdict"


def _answer(results: Results) -> str:
    """What (a) does better at the end, in a sentence, and a line per variant with the figures."""
    others = [variant.slug for variant in VARIANTS[1:]]
    end, way = (improvements(results, JOINT, others, read) for read in (at_end, over_budget))
    if not end:
        return f"There are no runs yet that {NAMES[JOINT]} could be compared with."
    by_verdict: dict[str, list[str]] = {}
    for slug, found in end.items():
        by_verdict.setdefault(_verdict(found), []).append(NAMES[slug])
    opening = {
        BETTER: "ends with more success than",
        WORSE: "ends with less success than",
        ALIKE: "shows no difference from",
        OPEN: "cannot be judged yet against",
    }
    told = "; ".join(
        f"{words} {', '.join(by_verdict[verdict])}" for verdict, words in opening.items() if verdict in by_verdict
    )
    explained = filled(
        "P is the chance that a run of (a) is better than one of the other on the same task, given as the mean over tasks "
        "and for each task; p is the chance of a mean so far from a half if it made no difference which variant a run is "
        "of (two-sided permutation test within tasks, corrected by Holm's method for the number of comparisons). Below "
        f"{CERTAIN:g} a difference is claimed, on average over the tasks. At the end: the last evaluation, after the last "
        "step and before the few updates that follow it; over the budget: the mean of all evaluations."
    )
    where = ", ".join(task.name for task in results.tasks)
    lines = [
        f"- {NAMES[JOINT]} against **{NAMES[slug]}**: at the end {_verdict(found)} ({_figures(found)}), over the budget "
        f"{_verdict(way[slug])} ({_figures(way[slug])})."
        for slug, found in end.items()
    ]
    return "\n".join([f"**On average over {where}: joint training (a) {told}.**\n", f"{explained}\n", *lines])


def _verdict(found: Improvement) -> str:
    if found.chance is None:
        return OPEN
    if found.chance >= CERTAIN:
        return ALIKE
    return BETTER if found.probability.value > 0.5 else WORSE


def _figures(found: Improvement) -> str:
    told = f"P = {found.probability.value:.2f}"
    if len(found.by_task) > 1:
        told += ": " + ", ".join(f"{name} {each:.2f}" for name, each in found.by_task.items())
    return told if found.chance is None else f"{told}; p = {found.chance:.2g}"


def _merging(results: Results) -> str:
    found = relations(results)
    shown = [name for name, each in found.items() if each.merging_hurts]
    failed, unexplained = (sum(getattr(each, key) for each in found.values()) for key in ("failed", "unexplained"))
    told = f"More merging is shown to go with less success on {len(shown)} of {len(found)} tasks{_brackets(shown)}."
    if failed:
        told += (
            f" Runs that end below {FAILED:g} although a run of the same task that merges as much or more does not, so "
            f"that merging alone is not their reason: {unexplained} of {failed}."
        )
    explained = filled(
        "Rank correlations (Spearman's) of the share of merged pairs and success at the end: between the variants' means "
        "over seeds, and within variants, of the runs as they lie from their variant's means; p by dealing success out "
        "anew, corrected by Holm's method for the number of correlations. No correlation over all runs is given: the "
        "seeds of a variant are alike in both and would count as so many proofs."
    )
    return "\n".join(
        [f"**{told}**\n", f"{explained}\n", *(f"- **{name}**: {_related(each)}" for name, each in found.items())]
    )


def _limits(counting: Path) -> str:
    """What the answer does not say; how dynamics alone fare elsewhere comes from the counting study's results."""
    found = [json.loads(path.read_text())["success"] for path in sorted(counting.glob("dynamics-only-seed*.json"))]
    reach = f"reach {np.mean(found):.3f} success (mean of {len(found)} seeds)" if found else "fare better"
    return "\n".join(
        filled(f"- {limit}", "  ")
        for limit in (
            f"*{ALIKE.capitalize()}* does not mean that two variants are alike: with {SEEDS} seeds a task or fewer, only "
            "large differences are shown.",
            "All rows but (c) force an EMA target, as *What is compared* says. With both branches trained and L_dyn "
            f"divided by the variance, on random data, dynamics alone {reach} on the counting environment "
            "([counting.md](counting.md)): the answer holds for this setting.",
        )
    )


def _brackets(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _related(found: Relation) -> str:
    """A sentence on a task: how merging and success go together."""
    parts = {"variants": found.between, "runs within variants": found.within}
    told = [
        f"{each.number} {what}: {each.value:.2f}, p = {each.chance:.2g}" for what, each in parts.items() if each is not None
    ]
    return f"{'; '.join(told)}." if told else "merging or success does not vary, so that neither can explain the other."


def _alike(results: Results) -> str:
    lines = []
    for task in results.tasks:
        found = next(run for run in results.runs if run.cell["env_id"] == task.env_id).result["representation"]
        pairs = found["alike_pairs"] + found["separable_pairs"]
        lines.append(f"- {task.name}: {found['alike_pairs']:,} of {pairs:,} pairs")
    return "\n".join(lines)
