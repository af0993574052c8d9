"""What the benchmark's page says, with the measured figures filled in."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from jepa_rl.scripts.benchmark_results import HOLD, SEEDS_OVERLAP, state_of
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY_NOTE
from jepa_rl.scripts.minigrid_benchmark.summary import MIN_SEEDS, Interval
from jepa_rl.scripts.minigrid_benchmark.tasks import EPISODES
from jepa_rl.scripts.reporting.paragraphs import filled
from jepa_rl.scripts.reporting.tables import estimate
from jepa_rl.scripts.sb3_benchmark.summary import (
    LEVEL,
    ROUNDING,
    SUCCESS,
    Results,
    Run,
    at_the_end,
    budget,
    difference,
    figures_of,
    most,
    over_the_same,
    reaches,
)
from jepa_rl.scripts.sb3_benchmark.tasks import IMAGINED, OTHERS, PLAIN, PPO, SEEDS, SLUGS, TASKS, VARIANTS, cells, task

VERDICTS = GAIN, LOSS, TIE, OPEN = "more success", "less success", "no difference shown", "too few seeds for a verdict"

TEMPLATE = """\
# What the encoder, its co-training and the imagined environment buy PPO

`jepa-rl benchmark sb3` trains Stable-Baselines3's PPO with an encoder from five sources, evaluates it along the way and
writes this page; `--render` remakes the page and its figures from the [raw curves]({raw}), `--quick` runs a short one.
[sb3.md](sb3.md) shows how the parts are used.

{state}

## What the encoder buys

{answer}

{findings}

Differences of mean sampled success from *plain*, with 95 % intervals (Welch). *All steps* compares at the same number of
environment steps with those of the pre-training counted, over the evaluations after it; *own steps* leaves them out and
compares at the same number of PPO's steps; *end* is the final weights.

![Sampled success against environment steps](figures/sb3/success.png)

Means over seeds with their 95 % intervals (Student's t), which need {min_seeds} seeds. Environment steps are all that
were taken, by the pre-trained agent (grey) and by PPO.

{variants}

## What imagination buys

{imagined_findings}

{imagined}
{imagined_figures}
## Success at fixed steps

*all*: environment steps with those of the pre-training; "-" where PPO had not begun. *own*: PPO's steps alone. Sampled
success, mean over seeds ± half the 95 % interval.

{steps}

## Steps until {level:g} is held

Held from the first of {hold} evaluations in a row whose sampled success reaches {level:g}; a rate is known only where an
evaluation was ({intervals}). Means over seeds, the seeds in brackets; "2 of 3" is how many of them got there, and the
mean is theirs; "never" gives the budget.

{held}

## At the end of the budget

{end}

Final weights. A greedy episode *looped* if it ran into the step limit without reaching a new state in the second half of
it (looked for in MiniGrid only).

## What it costs

{cost}

Means over seeds. Seconds are wall time of one process, on the machine that ran the grid: to compare variants, not
machines. Pre-training's are those of the one agent that all variants of a seed share.

## How it is measured

- **Tasks**: {tasks}.
- **Pre-training**: one agent per task and seed, trained with the preset and no further. {agents}
{preset}
- **PPO**: {ppo}, on every task and in imagination; actor and critic share the encoder. Every encoder has the architecture
  of the task's preset; one layer of {layers} hidden units follows it for the policy and one for the value, where two are
  Stable-Baselines3's default, with which PPO on its own may learn sooner.
- **Auxiliary**: the preset's losses, batches and learning rate; windows come from PPO's own rollouts, with {pace}.
- **Imagined**: {imagined_steps} steps of PPO. Episodes begin at observations of the agent's replay and are cut after
  {horizon}. The world model learns nothing more, and PPO sees no real step.
- **Evaluation**: {episodes} episodes per point, sampled from PPO's distribution and with its most probable action. Their
  seeds are never training's; they are the same for every variant and at every point of a run. Nothing is selected: the
  last evaluation is that of the final weights.
- **Seeds**: {seeds_overlap}
"""


def compose(results: Results, tables: dict[str, str], raw: str) -> str:
    """The page, in Markdown; ``raw`` is the path of the results relative to it."""
    with_imagination = [env_id for env_id in results.env_ids if results.of(env_id, IMAGINED)]
    pictures = [
        f"\n![{task(env_id).name}: success against imagined steps](figures/sb3/imagined-{task(env_id).name}.png)\n\n"
        "Intervals as above; the vertical axis begins near the lowest run, not at 0.\n"
        for env_id in with_imagination
    ]
    return TEMPLATE.format(
        raw=raw,
        state=_state(results),
        preset=textwrap.indent(filled(BEFORE_NOVELTY_NOTE), "  "),
        answer=_answer(results),
        findings="\n".join(_findings(results)) or "There is nothing to compare yet.",
        min_seeds=MIN_SEEDS,
        seeds_overlap=SEEDS_OVERLAP,
        variants="\n".join(f"- **{variant.slug}**: {variant.about}." for variant in VARIANTS),
        imagined_findings="\n".join(_imagined(results, env_id) for env_id in with_imagination),
        imagined_figures="".join(pictures),
        level=LEVEL,
        hold=HOLD,
        intervals=", ".join(_interval(results, env_id) for env_id in results.env_ids),
        tasks="; ".join(_task(results, env_id) for env_id in results.env_ids),
        agents=_agents(results),
        ppo=", ".join(f"{name} {value}" for name, value in PPO.items() if name != "net_arch"),
        layers=", ".join(map(str, PPO["net_arch"])),
        pace=_settings(results, "updates_per_step", "{:g} updates per environment step"),
        imagined_steps=" or ".join(sorted({f"{run.cell['own_steps']:,}" for run in _dreamers(results)})) or "no",
        horizon=_settings(results, "horizon", "{} steps"),
        episodes=" or ".join(map(str, sorted({run.cell["episodes"] for run in results.runs}))),
        **tables,
    )


def _state(results: Results) -> str:
    """What the page rests on."""
    grid = cells(TASKS, SLUGS, SEEDS, episodes=EPISODES)
    planned = {(cell["env_id"], cell["env_steps"], cell["algo"], cell["seed"]) for cell in grid}
    return state_of(planned, results.runs, results.unfinished)


def verdict(found: Interval) -> str:
    """What an interval of a difference shows."""
    if found.low is None or found.high is None:
        return OPEN
    if found.low > ROUNDING:
        return GAIN
    return LOSS if found.high < -ROUNDING else TIE


def told(found: Interval) -> str:
    """A difference with its interval and what it shows."""
    between = "" if found.low is None or found.high is None else f", {_signed(found.low)} to {_signed(found.high)}"
    return f"{verdict(found)} ({_signed(found.value)}{between})"


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # never -0.00


def _compared(results: Results) -> list[tuple[str, str, list[Run], list[Run]]]:
    """Tasks, variants, their runs and plain's, where both have some."""
    return [
        (env_id, slug, results.of(env_id, slug), results.of(env_id, PLAIN))
        for env_id in results.env_ids
        for slug in OTHERS
        if results.of(env_id, slug) and results.of(env_id, PLAIN)
    ]


def _answer(results: Results) -> str:
    """Task by task, with all environment steps counted, which variants have which verdict."""
    by_task: dict[str, dict[str, list[str]]] = {}
    for env_id, slug, ours, plain in _compared(results):
        found = over_the_same(ours, plain, "env_steps")
        if found is not None:
            by_task.setdefault(task(env_id).name, {}).setdefault(verdict(found), []).append(slug)
    parts = [
        f"{name}: " + "; ".join(f"{words} ({', '.join(found[words])})" for words in VERDICTS if words in found)
        for name, found in by_task.items()
    ]
    return f"**Every environment step counted, against plain PPO. {'. '.join(parts)}.**" if parts else ""


def _findings(results: Results) -> list[str]:
    """A line per task and variant."""
    lines = []
    for env_id, slug, ours, plain in _compared(results):
        every, own = (over_the_same(ours, plain, clock) for clock in ("env_steps", "own_steps"))
        parts = [] if every is None else [f"all steps {told(every)}"]
        if own is not None and any(run.earlier_steps for run in ours):
            parts.append(f"own steps {told(own)}")
        parts.append(f"end {told(at_the_end(ours, plain))}")
        lines.append(f"- {task(env_id).name}, **{slug}**: {'; '.join(parts)}.")
    return lines


def _imagined(results: Results, env_id: str) -> str:
    """PPO from imagination against PPO with only the real steps."""
    ours, plain = results.of(env_id, IMAGINED), results.of(env_id, PLAIN)
    real = ours[0].earlier_steps
    rates = [run.last(SUCCESS) for run in ours]
    opening = f"- **{task(env_id).name}**: after {real:,} real steps PPO trained in imagination has {_rate(rates)}"
    same = figures_of(plain, lambda run: run.at(real))
    if not same:
        return f"{opening}; there is no PPO yet to compare it with."
    reached = reaches(plain, float(np.mean(rates)))
    if reached is None:
        catching = f"has at most {most(plain):.3f} in {budget(plain):,}"
    else:
        catching = f"first has as much at {reached:,.0f}"
    return (
        f"{opening}, PPO trained on as many real steps {_rate(same)}: {told(difference(rates, same))}. On real steps PPO's "
        f"mean curve {catching}."
    )


def _dreamers(results: Results) -> list[Run]:
    return [run for run in results.runs if run.cell["algo"] == IMAGINED]


def _rate(rates: Sequence[float]) -> str:
    return estimate(rates).text(2)


def _interval(results: Results, env_id: str) -> str:
    every = next(run.cell["eval_every"] for run in results.runs if run.cell["env_id"] == env_id)
    return f"{task(env_id).name} every {every:,}"


def _task(results: Results, env_id: str) -> str:
    steps = max(run.cell["env_steps"] for run in results.runs if run.cell["env_id"] == env_id)
    return f"{task(env_id).name}, {steps:,} environment steps"


def _agents(results: Results) -> str:
    """How long the agents were trained and what they achieve themselves."""
    parts = []
    for env_id in results.env_ids:
        runs = [run for run in results.runs if run.cell["env_id"] == env_id]
        figures = list({run.cell["seed"]: run.pretraining for run in runs if run.pretraining}.values())
        if figures:
            parts.append(
                f"{task(env_id).name}: {figures[0]['env_steps']:,} environment steps, after which its own planner has "
                f"{_rate([each[SUCCESS] for each in figures])} sampled success"
            )
    return f"{'; '.join(parts)}." if parts else "There is none yet."


def _settings(results: Results, name: str, text: str) -> str:
    values = sorted({run.cell["settings"][name] for run in results.runs if name in run.cell["settings"]})
    return " or ".join(text.format(value) for value in values) or "-"
