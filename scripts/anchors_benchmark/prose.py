"""What the page says, with the measured figures filled in."""

from __future__ import annotations

from jepa_rl.scripts.anchors_benchmark.measure import IMAGES
from jepa_rl.scripts.anchors_benchmark.summary import (
    CERTAIN,
    FAILED,
    FRACTION,
    Improvement,
    Relation,
    improvement,
    relation,
)
from jepa_rl.scripts.anchors_benchmark.variants import NAMES, SEEDS, TASKS, VARIANTS
from jepa_rl.scripts.benchmark_results import HOLD, SEEDS_OVERLAP, state_of
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

![Merged pairs of states against success, one dot a run](figures/anchors/merging.png)

## What is compared

{variants}

All else is the preset of the task (`minigrid`; `counting` for the counting environment) with an EMA target branch
(`model.dynamics.target ema`), the weights as trained act, and plans are worth what is imagined to their end
(`planner.trace 1`), so that Q at the root cannot stand in for an encoder that imagines badly. Every head is there in
every variant, and plans are made with it; only whether its gradient reaches the encoder differs. Each run collects
its own data: a variant that acts badly also learns from worse data. On MiniGrid exploring and not coming back imagine
with the same latents ([p-jepa.md](p-jepa.md)), so that a variant whose latents merge also explores worse.

## Success

![Sampled success against environment steps](figures/anchors/success.png)

At the end of the budget ({budgets}): sampled success, mean of a run's last {hold} evaluations.

{success}

Greedy, in the last evaluation:

{greedy}

Environment steps until {level:g} holds for {hold} evaluations in a row: the mean of the seeds that got there (all of
them, or how many), then the mean over all seeds with the budget for those that did not.

{steps}

Over tasks. *end* is the first table; *budget* is the mean of all evaluations, which rewards learning soon. IQM is the
mean of the middle half of all runs, P the chance that a run of (a) beats a run of the variant on the same task, ties
counting half ([arXiv:2108.13264](https://arxiv.org/abs/2108.13264)); intervals of 95 % from {resamples:,} bootstrap
samples over seeds, none with fewer than {min_seeds}.

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
observation can separate them ({alike}). Two states are merged if their
latents are nearer than {fraction} of the mean distance between states that must be told apart, or, where a state has
many images, nearer than its images scatter: the rule of the [certificate](../world_model/merging.py). It is relative
because the scale of a latent means nothing. A tenth is a convention; other shares, over all tasks:

{fractions}
"""


def compose(results: Results, tables: dict[str, str], raw: str) -> str:
    """The page, in Markdown; ``raw`` is the path of the results relative to it."""
    return TEMPLATE.format(
        raw=raw,
        state=_state(results),
        answer=_answer(results),
        merging=_merging(results),
        variants="\n".join(f"- **{variant.name}**: {variant.about}." for variant in VARIANTS),
        budgets=", ".join(f"{task.name} {task.env_steps:,} steps" for task in results.tasks),
        hold=HOLD,
        level=LEVELS[-1],
        resamples=RESAMPLES,
        min_seeds=MIN_SEEDS,
        seeds_overlap=SEEDS_OVERLAP,
        images=IMAGES,
        alike=_alike(results),
        fraction=FRACTION,
        **tables,
    )


def _state(results: Results) -> str:
    """What the page rests on."""
    grid = {
        (task.env_id, task.env_steps, variant.slug, seed) for task in TASKS for variant in VARIANTS for seed in range(SEEDS)
    }
    return state_of(grid, results.runs, results.unfinished)


BETTER, WORSE, ALIKE, OPEN = "(a) is better", "(a) is worse", "no difference is shown", "too few seeds for a verdict"


def _answer(results: Results) -> str:
    """What (a) does better at the end, in a sentence, and a line per variant with the figures."""
    lines: list[str] = []
    by_verdict: dict[str, list[str]] = {}
    for variant in VARIANTS[1:]:
        end = improvement(results, JOINT, variant.slug, lambda run: run.final)
        way = improvement(results, JOINT, variant.slug, lambda run: run.area())
        if end is None or way is None:
            continue
        verdicts = [_verdict(found) for found in (end, way)]
        by_verdict.setdefault(verdicts[0], []).append(variant.name)
        lines.append(
            f"- {NAMES[JOINT]} against **{variant.name}**: at the end {verdicts[0]} ({_figures(end)}), over the budget "
            f"{verdicts[1]} ({_figures(way)})."
        )
    if not lines:
        return f"There are no runs yet that {NAMES[JOINT]} could be compared with."
    opening = {
        BETTER: "ends with more success than",
        WORSE: "ends with less success than",
        ALIKE: "shows no difference from",
        OPEN: "cannot be judged yet against",
    }
    told = "; ".join(
        f"{words} {', '.join(by_verdict[verdict])}" for verdict, words in opening.items() if verdict in by_verdict
    )
    chance = filled(
        "P is the chance that a run of (a) is better than one of the other on the same task, p that of a P so far from a "
        "half if it made no difference which variant a run is of (two-sided permutation test within tasks). Below "
        f"{CERTAIN:g} a difference is claimed. The comparisons are not corrected for their number:"
    )
    where = ", ".join(task.name for task in results.tasks)
    return "\n".join([f"**On {where}: joint training (a) {told}.**\n", f"{chance}\n", *lines])


def _verdict(found: Improvement) -> str:
    if found.chance is None:
        return OPEN
    if found.chance >= CERTAIN:
        return ALIKE
    return BETTER if found.probability.value > 0.5 else WORSE


def _figures(found: Improvement) -> str:
    told = f"P = {found.probability.text()}"
    return told if found.chance is None else f"{told}, p = {found.chance:.2g}"


def _merging(results: Results) -> str:
    found = {task.name: relation(results, task) for task in results.tasks}
    shown = [name for name, each in found.items() if each.merging_hurts]
    failed, unexplained = (sum(getattr(each, key) for each in found.values()) for key in ("failed", "unexplained"))
    told = f"Runs that merge more succeed less on {len(shown)} of {len(found)} tasks{_brackets(shown)}."
    if failed:
        told += (
            " Failing runs that merge no more than some run of the same task that does not fail: "
            f"{unexplained} of {failed}."
        )
    return "\n".join([f"**{told}**\n", *(f"- **{name}**: {_explained(each)}" for name, each in found.items())])


def _brackets(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _explained(found: Relation) -> str:
    """A sentence on a task: the relation, and the failures that it leaves over."""
    if found.rank_correlation is None or found.chance is None:
        first = f"merging or success does not vary over the {found.runs} runs, so that neither can explain the other"
    else:
        told = "no relation of merging and success is shown"
        if found.chance < CERTAIN:
            told = f"runs that merge more succeed {'less' if found.rank_correlation < 0 else 'more'}"
        first = f"{told} (rank correlation {found.rank_correlation:.2f} over {found.runs} runs, p = {found.chance:.2g})"
    if not found.failed:
        return f"{first}. No run ends below {FAILED:g}."
    return (
        f"{first}. Runs that end below {FAILED:g} although a run that merges as much or more does not, so that merging is "
        f"not their reason: {found.unexplained} of {found.failed}."
    )


def _alike(results: Results) -> str:
    told = []
    for task in results.tasks:
        found = next(run for run in results.runs if run.cell["env_id"] == task.env_id).result["representation"]
        pairs = found["alike_pairs"] + found["separable_pairs"]
        told.append(f"{task.name}: {found['alike_pairs']:,} of {pairs:,}")
    return "; ".join(told)
