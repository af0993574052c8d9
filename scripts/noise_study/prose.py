"""What docs/noise.md is composed of."""

from __future__ import annotations

from collections.abc import Callable, Collection

from jepa_rl.scripts.noise_study.drawings import OBJECTIVES, noisy_levels, sooner
from jepa_rl.scripts.noise_study.findings import (
    agreement,
    fewer_labels,
    in_short,
    verdict,
    where_it_breaks,
    who_keeps,
)
from jepa_rl.scripts.noise_study.measure import OBSERVATIONS, OTHER_SCALES, SCALE
from jepa_rl.scripts.noise_study.rows import (
    QUICK_SHARE,
    REFERENCE,
    REWARD_ROWS,
    ROWS,
    SEEDS,
    TASKS,
    Task,
    agent_config,
    cells,
    row,
)
from jepa_rl.scripts.noise_study.summary import Results
from jepa_rl.scripts.noise_study.template import INTRODUCTION, LIMITS
from jepa_rl.scripts.reporting.paragraphs import completeness, filled, listed, reflowed

Link = Callable[[str], str]


def compose(results: Results, tables: dict[str, str], drawn: Collection[str], link: Link) -> str:
    """The page, in Markdown; ``tables`` and ``drawn`` by task, as page.py makes them.

    ``link`` gives the path from the page to a file of the repository, and for "" that to the raw results.
    """
    parts = [_introduction(results, link)]
    for chosen in results.tasks():
        parts.append(f"## {chosen.name[0].upper()}{chosen.name[1:]}")
        parts += _bit(results, chosen, drawn) if chosen.slug == "bit" else _distractor(results, chosen, tables, drawn)
        parts.append(tables[chosen.slug])
    parts.append(_limits(results, link))
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _distractor(results: Results, chosen: Task, tables: dict[str, str], drawn: Collection[str]) -> list[str]:
    parts = [
        who_keeps(results, chosen),
        where_it_breaks(results, chosen),
        fewer_labels(results, chosen),
        _figure(f"{chosen.slug}-keeps", "Rows against levels: what the latents keep, and success", drawn),
    ]
    if f"{chosen.slug}-theory" in tables:
        parts += [
            "### Against the linear theory",
            agreement(results, chosen),
            _figure(f"{chosen.slug}-theory", "The theory's order above the measured shares", drawn),
            filled(
                "Learning times of signal / distractor in the theory, the sooner in bold, and the distractor's part of "
                "what the two explain of the latents:"
            ),
            tables[f"{chosen.slug}-theory"],
        ]
    return [*parts, "### All figures"]


def _bit(results: Results, chosen: Task, drawn: Collection[str]) -> list[str]:
    lines = filled("Dots are seeds. Dashed: chance of the probes, and what random actions reach, in the colour of the bit.")
    return [verdict(results, chosen), _figure("bit", "Probe of the bit and success of every run", drawn), lines]


def _introduction(results: Results, link: Link) -> str:
    chances, random = [], []
    for each in results.tasks():
        run = next(run for run in results.runs if run["cell"]["task"] == each.slug)
        chances += [f"{name} {run['probes'][f'{name}_linear']['chance']:.2f}" for name in each.signals]
        if found := [reference["success"] for level in each.levels if (reference := results.reference(each, level))]:
            low, high = f"{min(found):.2f}", f"{max(found):.2f}"
            random.append(f"{low if low == high else f'{low} to {high}'} ({each.name})")
    whole = INTRODUCTION.format(
        raw=link(""),
        linear=link("docs/linear.md"),
        short=in_short(results),
        drawn=100 * _drawn(results),
        oftener=_oftener(),
        state=_state(results),
        observations=OBSERVATIONS,
        tasks="\n".join(f"- **{each.name}**: {_about(each, link)}" for each in results.tasks()),
        rows="\n".join(f"- **{each.name}**: {each.about}" for each in ROWS),
        chance=", ".join(dict.fromkeys(chances)),
        random=", ".join(random) or "what is not measured here",
    )
    return reflowed(whole)


def _drawn(results: Results) -> float:
    """The share of windows that are drawn for a reward, which is the same in all runs."""
    (share,) = {float(run["cell"]["agent"]["replay"]["prioritised_fraction"]) for run in results.runs}
    return share


def _oftener() -> str:
    """How much oftener a row with a label fraction draws each reward that it knows."""
    config = agent_config(TASKS[0].preset, (*TASKS[0].options, *row("reward").options))
    told = []
    for slug in REWARD_ROWS:
        less = agent_config(TASKS[0].preset, (*TASKS[0].options, *row(slug).options))
        times = config.model.reward.label_fraction / less.model.reward.label_fraction
        if times > 1:
            told.append(f"about {times:.0f} times as often in *{row(slug).name}*")
    return listed(told)


def _about(chosen: Task, link: Link) -> str:
    levels = "; ".join(level.name for level in chosen.levels)
    counting = f"[counting environment]({link('docs/counting.md')})"
    match chosen.slug:
        case "counting":
            told = (
                f"the {counting} with at most {chosen.env['max_objects']} objects, reach {chosen.env['target']}; the "
                "distractor is a grey band of eight fields below the image"
            )
        case "minigrid":
            told = (
                f"{chosen.env_id} as symbols, reach the goal from anywhere within {chosen.env['max_steps']} steps; the "
                "distractor is one more plane of symbols. What control needs is the agent's cell and direction"
            )
        case _:
            other = chosen.levels[0].env["bit_other_target"]
            told = (
                f"the {counting} with at most {chosen.env['max_objects']} objects, where a bit that no action influences "
                f"says whether {chosen.env['target']} or {other} of them pay"
            )
    return f"{told}. Levels, by kind and variance: {levels}." if chosen.distractor else f"{told}. Levels: {levels}."


def _state(results: Results) -> str:
    """What the page rests on."""
    if results.quick:
        runs = f"{len(results.runs)} runs of `--quick`, one seed, {100 * QUICK_SHARE:g} % of the steps"
        return f"**These are {runs}.** They show the way, not a result."
    seeds = max(run["cell"]["seed"] for run in results.runs) + 1
    grid = {(each["name"], each["seed"]) for each in cells(max(seeds, SEEDS)) if each["row"] != REFERENCE}
    return completeness({(run["cell"]["name"], run["cell"]["seed"]) for run in results.runs}, grid)


def _limits(results: Results, link: Link) -> str:
    told = []
    for chosen in results.tasks():
        same = [
            (sooner(results, chosen, level, objective, f"{scale:g}") > 0) == (sooner(results, chosen, level, objective) > 0)
            for level in (noisy_levels(results, chosen) if chosen.distractor else [])
            for scale in OTHER_SCALES
            for objective in OBJECTIVES
        ]
        if same:
            told.append(f"{sum(same)} of {len(same)} cases ({chosen.name})")
    seeds = max(run["cell"]["seed"] for run in results.runs) + 1
    whole = LIMITS.format(
        drawn=100 * _drawn(results),
        seeds="one seed" if seeds == 1 else f"{seeds} seeds",
        prediction=link("scripts/noise_study/prediction.py"),
        scale=SCALE,
        others=" and ".join(f"{scale:g}" for scale in OTHER_SCALES),
        scales=f"the same in {listed(told)}" if told else "not compared here",
    )
    return reflowed(whole)


def _figure(name: str, alt: str, drawn: Collection[str]) -> str:
    return f"![{alt}](figures/noise/{name}.png)" if name in drawn else ""
