"""What the benchmark's page says, with the measured figures filled in."""

from __future__ import annotations

import numpy as np

from jepa_rl.scripts.benchmark_results import HOLD, budgets_text, holders, state_of
from jepa_rl.scripts.control_benchmark.drawings import NAMES
from jepa_rl.scripts.control_benchmark.summary import Results, Run
from jepa_rl.scripts.control_benchmark.tasks import ALGORITHMS, SEEDS, TASKS, Task
from jepa_rl.scripts.reporting.paragraphs import filled, listed

DECISION_LIMIT = 10.0  # milliseconds that the preset was chosen to stay within on one core with nothing beside it

TEMPLATE = """\
# Control from vectors: sample efficiency beside SAC, PPO and DQN

`jepa-rl benchmark control` trains every algorithm on every task that it serves, with every seed, evaluates it along the
way and writes this page; `--render` remakes the page and its figure from the [raw curves]({raw}), `--quick` runs one
short task. A run that is finished is not run again.

{state}

{findings}{again}

![Return against environment steps](figures/control/returns.png)

{bands}

## Until the threshold is held

{solved}

A threshold is held from the first of {hold} evaluations in a row whose mean return reaches it; a return is known only
where an evaluation was ({intervals}). Means over seeds, the seeds in brackets; "2 of 3" is how many of them got there,
and the mean is theirs; "never" gives the budget. Seconds are wall time of one process without the evaluations, on the
machine that ran the grid, beside other work for a part of it: to compare algorithms, not machines. PPO's weights change
with each rollout, every 4,096 steps on Acrobot and Pendulum and every 16,384 on LunarLander, so that three evaluations
in a row may be of the same ones, which favours it.

## At the end of the budget

{end}

Mean of the last {hold} evaluations; the best evaluation of each seed, mean over seeds.

## What it costs

{cost}

{decision}Peak MB is the largest resident memory of the process, with Python and PyTorch in it; in
these runs it may be that of the process which started it, where that was larger: algorithms that have the same figure do
not differ in it by that.

## How it is measured

- **Tasks**: as Gymnasium has them, with default step limits and rewards; no shaping.
- **Budgets**: those of the algorithms may differ, since a step of JEPA takes as long as many of theirs: see the seconds
  above. A threshold that was reached late in the baselines' budgets was out of reach in ours; and where ours ends a few
  evaluations after the threshold, nobody has seen whether the return would have stayed there.
- **Choice of settings**: the preset was chosen by runs on these tasks and seeds, so that its figures flatter it as the
  Zoo's settings for each task flatter the baselines.
- **Evaluation**: {episodes} episodes per point without exploration. Their seeds are never training's; they are the same
  for every algorithm and at every point of a run.
- **JEPA**: {jepa}
- **SAC, PPO, DQN** are Stable-Baselines3's, with the settings that RL Baselines3 Zoo tuned for each task; they are in
  the raw JSON files, and its defaults serve where there are none. Some of them were tuned for longer runs than these.
"""


AGAIN_SUFFIX = "_rerun"  # of the folder with these


def compose(results: Results, tables: dict[str, str], raw: str, again: Results | None = None) -> str:
    """The page, in Markdown; ``raw`` is the path of the results relative to it.

    ``again`` are results of our agent that were measured once more, which lie beside the results.
    """
    episodes = sorted({run.cell["episodes"] for run in results.runs})
    return TEMPLATE.format(
        raw=raw,
        state=_state(results),
        findings="\n".join(f"- **{task.name}**: {_finding(results, task)}" for task in results.tasks),
        again="" if again is None else _again(results, again, raw),
        bands=_bands(results),
        hold=HOLD,
        intervals=", ".join(f"{task.name} {task.interval(NAMES['jepa'])}" for task in results.tasks),
        decision=_decision(results),
        episodes=" or ".join(map(str, episodes)),
        jepa=_jepa(results),
        **tables,
    )


def _state(results: Results) -> str:
    """What the page rests on."""
    grid = {
        (task.env_id, task.budget(name).env_steps, str(name), seed)
        for task in TASKS
        for name in ALGORITHMS
        if task.admits(name)
        for seed in range(SEEDS)
    }
    state = state_of(grid, results.runs, results.unfinished)
    if "jepa" not in results.algorithms:
        state += " **There are no results of our agent yet**: this page compares the baselines only."
    return state


def _finding(results: Results, task: Task) -> str:
    """Who holds the threshold, and from when; those who all do first, then by steps."""
    runs = {name: these for name in results.algorithms if (these := results.of(task, name))}
    final = {name: float(np.mean([run.final for run in these])) for name, these in runs.items()}
    found = {name: [run.when_solved("env_steps") for run in these] for name, these in runs.items()}
    ranked = ", ".join(f"{NAMES[name]} {final[name]:.0f}" for name in sorted(final, key=final.__getitem__, reverse=True))
    within = budgets_text({NAMES[name]: task.budget(name).env_steps for name in runs})
    if task.threshold is None:
        return f"return after {within} steps: {ranked}."
    if not any(step is not None for steps in found.values() for step in steps):
        return f"nobody holds {task.threshold:g} within {within} steps; return at the end: {ranked}."
    return f"{task.threshold:g} held by {holders({NAMES[name]: steps for name, steps in found.items()})}."


def _again(results: Results, again: Results, raw: str) -> str:
    """From when the threshold was held when runs were repeated, and the first time."""
    told = []
    for task in again.tasks:
        (new,) = again.of(task, "jepa")
        old = next(run for run in results.of(task, "jepa") if run.cell["seed"] == new.cell["seed"])
        steps, before = (
            "never" if (step := run.when_solved("env_steps")) is None else f"{step:,.0f}" for run in (new, old)
        )
        told.append(f"{task.name} is held from {steps} steps on (before: {before})")
    text = (
        "Our seed 0 of some tasks was measured once more, with later code and on another machine ([raw "
        f"curves]({raw}{AGAIN_SUFFIX})), which moves a run by as much as seeds differ, or by more: {listed(told)}."
    )
    return f"\n\n{filled(text)}"


def _bands(results: Results) -> str:
    told = (
        f"A point is the mean of the last {HOLD} evaluations, so that a line ends with a run's return in *At the end of "
        "the budget*. "
    )
    if all(run.cell["seed"] == 0 for run in results.runs):
        told += "One seed."
    else:
        told += "Lines are medians over seeds, bands hold the middle half of them: of five, from the second to the fourth."
    return filled(f"{told} The dashed line is the threshold. A logarithmic axis says so.")


def _ours(results: Results) -> list[Run]:
    return [run for run in results.runs if run.cell["algo"] == "jepa"]


def _decision(results: Results) -> str:
    ours = _ours(results)
    if not ours:
        return ""
    slowest = max(run.decision_ms for run in ours)
    return (
        f"Our slowest decision takes {slowest:.1f} ms; the preset was made to stay within {DECISION_LIMIT:g} ms on one "
        "quiet core ([results/speed](results/speed)). "
    )


def _jepa(results: Results) -> str:
    presets = sorted({run.cell["settings"]["preset"] for run in _ours(results)})
    if not presets:
        return "no results yet."
    named = " and ".join(f"`{name}`" for name in presets)
    return f"the preset {named}, one setting for all tasks and both kinds of actions; it is in the raw JSON files."
