"""What the benchmark's page says, with the measured figures filled in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jepa_rl.agent import preset
from jepa_rl.scripts.benchmark_results import HOLD, SEEDS_OVERLAP, CurveRun, budgets_text, holders, state_of
from jepa_rl.scripts.kept_cells import changed_settings
from jepa_rl.scripts.minigrid_benchmark.baselines import DQN_SETTINGS, PPO_SETTINGS
from jepa_rl.scripts.minigrid_benchmark.drawings import NAMES
from jepa_rl.scripts.minigrid_benchmark.summary import LEVELS, MIN_SEEDS, RESAMPLES, Results
from jepa_rl.scripts.minigrid_benchmark.tasks import ALGORITHMS, EPISODES, ONE_START, SEEDS, TASKS, UNSEEN_TASKS, Task
from jepa_rl.scripts.minigrid_benchmark.template import (
    BASELINES,
    BEFORE,
    BUDGETS,
    CHANCE,
    CHOSEN_ELSEWHERE,
    CHOSEN_HERE,
    OVER_TASKS,
    PIXELS,
    SAMPLED,
    SAMPLED_ALONE,
    SYMBOLS,
    TEMPLATE,
    THEIR_SYMBOLS,
)
from jepa_rl.scripts.reporting.paragraphs import listed, reflowed

LEVEL = LEVELS[-1]
BEFORE_SUFFIX = "_before"  # of the folder with an earlier preset's results

# Of the 50 held-out episodes of seed 0, those that begin with a grid, a place and a direction with which one of 2,000
# training episodes began, 500 in each of four environments.
MET_BEFORE = {
    "MiniGrid-Empty-8x8-v0": 50,
    "MiniGrid-DoorKey-5x5-v0": 50,
    "MiniGrid-DoorKey-6x6-v0": 42,
    "MiniGrid-DoorKey-8x8-v0": 11,
    "MiniGrid-SimpleCrossingS9N1-v0": 50,
    "MiniGrid-Dynamic-Obstacles-5x5-v0": 50,
    "MiniGrid-FourRooms-v0": 0,
    "MiniGrid-Empty-Random-6x6-v0": 50,
    "MiniGrid-DistShift1-v0": 50,
    "MiniGrid-LavaGapS7-v0": 50,
    "MiniGrid-LavaCrossingS9N1-v0": 50,
    "MiniGrid-MultiRoom-N2-S4-v0": 0,
    "MiniGrid-Unlock-v0": 4,
    "MiniGrid-UnlockPickup-v0": 0,
    "MiniGrid-RedBlueDoors-6x6-v0": 42,
    "MiniGrid-KeyCorridorS3R1-v0": 49,
    "MiniGrid-MemoryS7-v0": 50,
}
SINGLE = "Wilson's 95 % interval of the episodes"
FEW_TASKS = 3  # as many the title names
UNLIKE_PACE = (
    2  # times the seconds per step of another seed, above which their mean says more of machines than of algorithms
)


def compose(
    results: Results, tables: dict[str, str], *, page: str, raw: str, before: Results | None = None, machines: str = ""
) -> str:
    """The page named ``page``, in Markdown; ``raw`` is the path of the results relative to it.

    ``before`` are results of an earlier preset on some of the tasks, which lie beside the results; ``machines`` says which
    runs were made where, if that matters.
    """
    beside = any(name != "jepa" for name in results.algorithms)
    episodes = sorted({run.cell["episodes"] for run in results.runs})
    command = _command(results)
    text = TEMPLATE.format(
        page=page,
        raw=raw,
        title=_title(results, beside=beside),
        observation=PIXELS if _from_pixels(results) else SYMBOLS.format(theirs=THEIR_SYMBOLS if beside else ""),
        state=_state(results),
        before="" if before is None else _before(results, before, f"{raw}{BEFORE_SUFFIX}"),
        quick=", `--quick` runs one short task" if command == "jepa-rl benchmark minigrid" else "",
        findings=_findings(results),
        bands=_bands(results),
        over_tasks=_over_tasks(results, tables["overall"], CHANCE if beside else ""),
        single=f"; a single seed has {SINGLE}" if _lone(results) else "",
        layouts=_layouts(results),
        clock=f"{_clock(results)} {machines}",
        compared="every algorithm" if beside else "our agent",
        choice=(CHOSEN_ELSEWHERE if _is_unseen(results) else CHOSEN_HERE).format(
            known=", by no run on these" if before is None else "; what had been seen of these is said above",
            theirs="; the\n  baselines' settings are one choice for all tasks" if beside else "",
        ),
        hold=HOLD,
        intervals=_intervals(results),
        episodes=" or ".join(map(str, episodes)),
        command=command,
        budgets=BUDGETS if beside else "",
        seeds=SEEDS_OVERLAP,
        sampled=SAMPLED.format(epsilon=100 * DQN_SETTINGS["epsilon_end"]) if beside else SAMPLED_ALONE,
        baselines=BASELINES.format(n_steps=DQN_SETTINGS["n_steps"], ppo=_listed(PPO_SETTINGS), dqn=_listed(DQN_SETTINGS))
        if beside
        else "",
        jepa=_jepa(results),
        **tables,
    )
    return reflowed(text) + "\n"


def _title(results: Results, *, beside: bool) -> str:
    """With the tasks where they are pictures and few, which sets the page apart from that of the symbols."""
    if _is_unseen(results):
        return "MiniGrid: tasks on which no setting was chosen"
    if not _from_pixels(results):
        return f"MiniGrid: sample efficiency{' beside PPO and DQN' if beside else ''}"
    names = [task.name for task in results.tasks]
    return f"MiniGrid from pixels: sample efficiency{f' on {listed(names)}' if len(names) <= FEW_TASKS else ''}"


def _intervals(results: Results) -> str:
    """How often each task was evaluated on; once where that is the same for several."""
    found = {task.name: task.interval(NAMES["jepa"]) for task in results.tasks}
    same = len(found) > 1 and len({*found.values()}) == 1
    return next(iter(found.values())) if same else ", ".join(f"{name} {often}" for name, often in found.items())


def _over_tasks(results: Results, overall: str, chance: str) -> str:
    """The section on all tasks, where there are several, and seeds: of single runs the mean's quarters would be tasks."""
    if len(results.tasks) < 2 or all(len(results.of(task, name)) == 1 for task, name in results.pairs):
        return ""
    return OVER_TASKS.format(overall=overall, hold=HOLD, resamples=RESAMPLES, min_seeds=MIN_SEEDS, chance=chance)


def _lone(results: Results) -> bool:
    """Whether some algorithm has one seed of some task."""
    return any(len(results.of(task, name)) == 1 for task, name in results.pairs)


def _layouts(results: Results) -> str:
    """Which tasks ask for layouts that were not met in training; nothing where that was not counted for all."""
    if any(task.env_id not in MET_BEFORE for task in results.tasks):
        return ""
    met = {task.name: MET_BEFORE[task.env_id] for task in results.tasks}
    few = [name for name, number in met.items() if number >= EPISODES / 2]
    new = sorted((name for name in met if name not in few), key=met.__getitem__)
    new += [f"in part {name}" for name in few if met[name] < EPISODES]
    if not few:
        return ""
    who = "Most tasks have" if len(few) > FEW_TASKS else f"{listed(few)} {'has' if len(few) == 1 else 'have'}"
    tested = f"only {listed(new)} {'tests' if len(new) == 1 else 'test'}" if new else "nothing here tests"
    told = f"{who} few layouts, so that a held-out seed is mostly a layout that was met before: {tested} generalisation"
    alone = [task.name for task in results.tasks if task.env_id in ONE_START]
    starts = f" All episodes of {listed(alone)} begin alike, so that its interval says little." if alone else ""
    return f"\n{told} to new layouts.{starts}"


def _clock(results: Results) -> str:
    """What seconds mean, how much the pace differs between runs, and which rows should be read with that in mind."""
    text = (
        "Wall time of one process without the evaluations, to compare runs of one machine. "
        '"never" gives the budget in environment steps.'
    )
    spread = {
        NAMES[name]: _spread(run for task in results.tasks for run in results.of(task, name)) for name in results.algorithms
    }
    if told := ", ".join(f"{name} {ratio:.1f}" for name, ratio in spread.items() if ratio > 1):
        text += (
            " Machines differ, and so does what else ran on them: a step of one run took up to so many times one of "
            f"another: {told}."
        )
    unlike = [
        f"{task.name} with {NAMES[name]}" for task, name in results.pairs if _spread(results.of(task, name)) > UNLIKE_PACE
    ]
    if unlike:
        rows = listed(unlike)
        text += f" Between the seeds of {rows} it is more than {UNLIKE_PACE}: there the fastest compares, not the mean."
    return text


def _spread(runs: Iterable[CurveRun]) -> float:
    """How many times the fastest run's seconds per step the slowest took; 1 for a single run."""
    paces = [run.last("wall_seconds") / run.last("env_steps") for run in runs]
    return max(paces) / min(paces) if paces else 1.0


def _command(results: Results) -> str:
    """What trains these runs."""
    words = ["jepa-rl benchmark minigrid"]
    if _is_unseen(results):
        words += ["--unseen", *(["--algos jepa"] if results.algorithms == ["jepa"] else [])]
    if _from_pixels(results):
        settings = results.runs[0].cell["settings"]
        words += [f"--preset {settings['preset']} --tasks", *(task.name for task in results.tasks)]
        words += [f"--device {settings['device']}"] if "device" in settings else []
    return " ".join([*words, *_changed(results)])


def _changed(results: Results) -> list[str]:
    """The options that make of our preset what these runs had."""
    ours = [run.cell["settings"] for run in results.runs if run.cell["algo"] == "jepa"]
    options = (
        option for settings in ours for option in changed_settings(settings["agent"], preset(settings["preset"]).agent)
    )
    return [f"--agent.{option.removeprefix('--')}" for option in dict.fromkeys(options)]


def _before(results: Results, before: Results, raw: str) -> str:
    """What an earlier preset did on some of the tasks, and so which were new to today's."""
    success = {task.name: float(np.mean([run.final for run in before.of(task, name)])) for task, name in before.pairs}
    new = [task.name for task in results.tasks if task.name not in success]
    return BEFORE.format(
        these=listed(list(success)),
        options=" ".join(_changed(before)),
        raw=raw,
        hold=HOLD,
        success=listed([f"{value:.2f} on {name}" for name, value in success.items()]),
        others=f"New to today's preset {'was' if len(new) == 1 else 'were'} {listed(new)}." if new else "",
    )


def _from_pixels(results: Results) -> bool:
    return any(run.cell["settings"].get("env", {}).get("pixels") for run in results.runs)


def _is_unseen(results: Results) -> bool:
    return {task.env_id for task in results.tasks} <= {task.env_id for task in UNSEEN_TASKS}


def _state(results: Results) -> str:
    """What the page rests on."""
    if _is_unseen(results):
        run = {task.env_id for task in results.tasks}
        missing = [task.name for task in UNSEEN_TASKS if task.env_id not in run]
        state = f"{len(results.runs)} runs on {len(run)} of {len(UNSEEN_TASKS)} tasks."
        return f"{state} Not run: {listed(missing)}." if missing else state
    if _from_pixels(results):
        return f"{len(results.runs)} runs of our agent on pictures, which the baselines do not read."
    grid = {
        (task.env_id, task.budget(name).env_steps, str(name), seed)
        for task in TASKS
        for name in ALGORITHMS
        for seed in range(SEEDS)
    }
    state = state_of(grid, results.runs, results.unfinished)
    if "jepa" not in results.algorithms:
        state += " **There are no results of our agent yet**: this page compares the baselines only."
    return state


def _findings(results: Results) -> str:
    """One line per task: who holds the highest level, and from when."""
    return "\n".join(f"- **{task.name}**: {_finding(results, task)}" for task in results.tasks)


def _finding(results: Results, task: Task) -> str:
    runs = {name: results.of(task, name) for name in results.algorithms if results.of(task, name)}
    found = {name: [run.when_held(LEVEL, "env_steps") for run in these] for name, these in runs.items()}
    if not any(step is not None for steps in found.values() for step in steps):
        final = {name: float(np.mean([run.final for run in these])) for name, these in runs.items()}
        best = max(final, key=final.__getitem__)
        if len(runs) == 1:
            within = f"{task.budget(best).env_steps:,} steps"
            return f"{NAMES[best]} does not hold {LEVEL:g} within {within}; at the end {final[best]:.2f}."
        within = budgets_text({NAMES[name]: task.budget(name).env_steps for name in runs})
        end = f"best at the end: {NAMES[best]} with {final[best]:.2f}"
        return f"nobody holds {LEVEL:g} within {within} steps; {end}."
    return f"{LEVEL:g} held by {holders({NAMES[name]: steps for name, steps in found.items()})}."


def _bands(results: Results) -> str:
    single = f"{SINGLE}, which knows nothing of other seeds"
    if all(run.cell["seed"] == 0 for run in results.runs):
        return f"One seed; bands are {single}."
    bands = "Means over seeds; bands reach from the lowest seed to the highest."
    return f"{bands} Where there is one seed, they are {single}." if _lone(results) else bands


def _listed(settings: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _jepa(results: Results) -> str:
    ours = [run.cell["settings"] for run in results.runs if run.cell["algo"] == "jepa"]
    presets = sorted({settings["preset"] for settings in ours})
    if not presets:
        return ""
    named = " and ".join(f"`{name}`" for name in presets)
    gpu = any(run.cell["settings"].get("device") == "cuda" for run in results.runs)
    where = ", trained and acting on a GPU" if gpu else ""
    told = " ".join(_changed(results))
    but = f", but for the options `{told}`" if told else ""
    return (
        f"- **JEPA**: the preset {named}{but}, one setting for all tasks{where}; every setting is in the raw JSON files.\n"
    )
