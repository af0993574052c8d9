"""The statements of docs/noise.md about results, computed from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jepa_rl.scripts.noise_study.drawings import FOLLOWED, NOISE, OBJECTIVES, noisy_levels, sooner
from jepa_rl.scripts.noise_study.rows import REWARD_FREE, REWARD_ROWS, Level, Row, Task, row
from jepa_rl.scripts.noise_study.summary import (
    Reader,
    Results,
    bit_in_noise,
    first_time,
    probe,
    share,
    shares_ratio,
    success,
)
from jepa_rl.scripts.reporting.paragraphs import filled, listed
from jepa_rl.scripts.reporting.tables import Estimate, estimate

KEPT = 0.1  # share of the latents from which on the distractor counts as kept
HELD = 0.9  # of the success that a row has over random actions without a distractor
LEARNED = 0.1  # success over that of random actions from which on a row has something to lose
NEAR_CHANCE = 0.6  # accuracy of the bit's probe, where chance is 0.5
READ = 0.95  # accuracy of the bit's probe from which on the bit counts as kept


def in_short(results: Results) -> str:
    """The page's answers in a few sentences."""
    told = []
    for chosen in results.tasks():
        if chosen.slug == "bit":
            told += _bit_in_short(results, chosen)
            continue
        level = results.levels(chosen)[-1]
        found = {each: results.estimate(share("distractor"), chosen, level, each) for each in results.rows(chosen)}
        kept = [each.name for each, one in found.items() if one.seeds and _kept_in(one) == one.seeds]
        at_times = [each.name for each, one in found.items() if 0 < _kept_in(one) < one.seeds]
        text = f"{chosen.name[0].upper()}{chosen.name[1:]}, at *{level.name}*: the latents keep the distractor in "
        text += "all rows" if len(kept) == len(found) else f"{len(kept)} of {len(found)} rows"
        text += f" ({listed(kept)})" if 0 < len(kept) < len(found) else ""
        text += f", and in some seeds of {listed(at_times)}" if at_times else ""
        parts = [
            f"{row(slug).name} has {found[row(slug)].mean:.2f} of it and success "
            f"{results.estimate(success, chosen, level, row(slug)).mean:.2f}"
            for slug in ("reward", "dynamics", "ema")
            if row(slug) in found and found[row(slug)].seeds
        ]
        told.append(text + (f"; {listed(parts)}" if parts else "") + ".")
        if noisy_levels(results, chosen):
            told += _theory_in_short(results, chosen)
    told.append("Every row draws part of its windows for a reward, see below; what fewer labels do is mixed with that.")
    return filled(f"**In short.** {' '.join(told)}")


def _theory_in_short(results: Results, chosen: Task) -> list[str]:
    """At how many levels which rows follow the linear theory's JEPA."""
    parts = []
    for slug in ("reward", "ema"):
        agreed, open_, against = _followed(results, chosen, slug)
        if total := agreed + open_ + len(against):
            parts.append(f"at {agreed} of {total} levels with {row(slug).name}")
    return [f"The linear theory's order of distractor and signal is found {listed(parts)}."] if parts else []


def _bit_in_short(results: Results, chosen: Task) -> list[str]:
    """What becomes of the claim about the bit, by the linear probe."""
    told = []
    for level in results.levels(chosen):
        read = probe("bit_linear")
        found = {slug: results.estimate(read, chosen, level, row(slug)) for slug in (*REWARD_FREE, "reward", "reward-2")}
        free = [found[slug].mean for slug in REWARD_FREE if found[slug].seeds]
        parts = [f"near chance in {sum(map(_is_near_chance, free))} of {len(free)} rows without a reward in the encoder"]
        parts += [f"{found[slug].mean:.2f} in {row(slug).name}" for slug in ("reward", "reward-2") if found[slug].seeds]
        told.append(f"The exogenous bit, {level.name}: a linear probe of it is {listed(parts)}.")
    return told


def who_keeps(results: Results, chosen: Task) -> str:
    """By level, the rows whose latents the distractor has a share of, and the others."""
    lines = []
    for level in results.levels(chosen):
        if level.slug == "none":
            continue
        above: list[str] = []
        between: list[str] = []
        below: list[str] = []
        for each in results.rows(chosen):
            found = results.estimate(share("distractor"), chosen, level, each)
            if found.seeds:
                kept = _kept_in(found)
                group = above if kept == found.seeds else between if kept else below
                group.append(f"{each.name} ({found.mean:.2f}{f', {kept} of {found.seeds}' if group is between else ''})")
        told = f"kept by {listed(above)}" if above else "kept by no row"
        told += f"; in some seeds by {listed(between)}" if between else ""
        told += f"; not by {listed(below)}" if below else ""
        lines.append(filled(f"- **{level.name}**: {told}", "  "))
    rule = f"The distractor's share of the latents, mean over seeds; where it is {KEPT:g} or more in every seed it is kept:"
    return f"{rule}\n\n" + "\n".join(lines)


def _kept_in(found: Estimate) -> int:
    """In how many seeds the distractor has a share that counts."""
    return sum(value >= KEPT for value in found.values)


def where_it_breaks(results: Results, chosen: Task) -> str:
    """By row, the levels at which success is lost; empty without runs that have no distractor."""
    clean = next((level for level in results.levels(chosen) if level.slug == "none"), None)
    reference = None if clean is None else results.reference(chosen, clean)
    if clean is None or reference is None:
        return ""
    lines = []
    for each in results.rows(chosen):
        best = results.estimate(success, chosen, clean, each)
        if not best.seeds:
            continue
        gain = best.mean - reference["success"]
        lost, open_ = _losses(results, chosen, each, clean, reference["success"] + HELD * gain)
        if gain < LEARNED:
            told = "not clearly better than random actions"
        else:
            parts = [f"lost at {listed(lost)}"] if lost else []
            parts += [f"lower by the mean, not shown, at {listed(open_)}"] if open_ else []
            told = "; ".join(parts) or "held at every level"
        lines.append(filled(f"- {each.name}: {best.mean:.2f} without a distractor, {told}", "  "))
    rule = (
        f"Success, lost where less than {HELD:g} of what the row has over random actions ({reference['success']:.2f}) "
        "without a distractor is left, if the 95 % interval of the difference, seed by seed, shows that it is lower:"
    )
    return f"{filled(rule)}\n\n" + "\n".join(lines)


def _losses(results: Results, chosen: Task, each: Row, clean: Level, needed: float) -> tuple[list[str], list[str]]:
    """The levels at which success is below ``needed``: where it is shown to be lower than at ``clean``, and the others."""
    shown: list[str] = []
    others: list[str] = []
    best = _by_seed(results, chosen, clean, each)
    for level in results.levels(chosen):
        found = results.estimate(success, chosen, level, each)
        if not found.seeds or found.mean >= needed:
            continue
        difference = estimate(
            [value - best[seed] for seed, value in _by_seed(results, chosen, level, each).items() if seed in best]
        )
        lower = difference.mean + difference.half_width < 0  # False where there are too few seeds in common
        (shown if lower else others).append(f"{level.name} ({found.mean:.2f})")
    return shown, others


def _by_seed(results: Results, chosen: Task, level: Level, each: Row) -> dict[int, float]:
    return {run["cell"]["seed"]: success(run) for run in results.of(chosen, level, each)}


def fewer_labels(results: Results, chosen: Task) -> str:
    """What fewer labels do at the last level, the loudest predictable distractor; empty for fewer than two rows."""
    level, signal = results.levels(chosen)[-1], chosen.signals[0]
    told = []
    for slug in (*REWARD_ROWS, "dynamics"):
        found = results.estimate(probe(f"{signal}_linear"), chosen, level, row(slug))
        if found.seeds:
            control = results.estimate(success, chosen, level, row(slug)).mean
            told.append(f"{row(slug).name.removeprefix('reward ')}: {found.mean:.2f} and {control:.2f}")
    if len(told) < 2:
        return ""
    text = (
        f"Fewer labels at *{level.name}*, linear probe of the {signal} and success: {'; '.join(told)}. In the row without "
        "labels for the encoder the planner's head reads all of them, in the others as many as the encoder. The fewer "
        "rewards are known, the oftener the same windows are drawn: a difference between these rows need not come from the "
        "labels."
    )
    return filled(text)


def agreement(results: Results, chosen: Task) -> str:
    """In how many cases a row's latents hold more of what the theory learns first."""
    levels = noisy_levels(results, chosen)
    first = [level.name for level in levels if sooner(results, chosen, level, "jepa") > 0]
    lines = []
    for slug in FOLLOWED:
        agreed, open_, against = _followed(results, chosen, slug)
        if agreed or against or open_:
            total, rest = agreed + len(against) + open_, f", not at {listed(against)}" if against else ""
            rest += f", open at {open_}, whose interval holds 0.5 or that has too few seeds" if open_ else ""
            lines.append(
                filled(
                    f"- {row(slug).name}, by the {OBJECTIVES[_objective(slug)]}: at {agreed} of {total} levels{rest}", "  "
                )
            )
    head = filled(
        f"The theory's JEPA learns the distractor before the signal at {listed(first) if first else 'no level'}. Do "
        "the latents hold more of the distractor than of the signal where the theory learns it first, and less where "
        "it does not?"
    )
    return f"{head}\n\n" + "\n".join(lines)


def _objective(slug: str) -> str:
    return "autoencoder" if slug == "reconstruction" else "jepa"


def _followed(results: Results, chosen: Task, slug: str) -> tuple[int, int, list[str]]:
    """The number of levels at which a row follows the theory and that of open ones; and those at which it does not."""
    agreed, open_, against = 0, 0, []
    for level in noisy_levels(results, chosen):
        found = results.estimate(shares_ratio, chosen, level, row(slug))
        predicted = sooner(results, chosen, level, _objective(slug))
        if not found.seeds or not predicted:
            continue
        if not abs(found.mean - 0.5) > found.half_width:  # NaN for fewer than three seeds
            open_ += 1
        elif (found.mean > 0.5) == (predicted > 0):
            agreed += 1
        else:
            against.append(f"{level.name} ({found.mean:.2f})")
    return agreed, open_, against


def verdict(results: Results, chosen: Task) -> str:
    """The claim of arXiv:2606.30068 at each kind of bit: shown or denied, part by part, for the probe and in noise."""
    parts = [
        filled(
            "The claim of [arXiv:2606.30068](https://arxiv.org/abs/2606.30068): predictive objectives without a reward "
            "leave a probe of the bit near chance, the reward brings it close to 1, and 2 % of the labels are enough. Near "
            f"chance is read as at most {NEAR_CHANCE:g}, kept as at least {READ:g}, for the mean over seeds of the linear "
            "probe. Latents have no noise of their own, so that a probe finds even a faint bit in them; hence "
            f"also a probe of latents with white noise of {NOISE:g} of their spread in every dimension. Every row here "
            "draws part of its windows for a reward, and with 2 % of the labels from very few transitions: *shown* and "
            "*denied* are of this setting, not of the paper's."
        )
    ]
    for level in results.levels(chosen):
        parts.append(f"**{level.name[0].upper()}{level.name[1:]}.** {_theory_of_bit(results, chosen, level)}")
        for title, read in (("Linear probe", probe("bit_linear")), (f"In noise of {NOISE:g}", bit_in_noise(NOISE))):
            claims = (
                _claim(results, chosen, level, "near chance without a reward", REWARD_FREE, read, _is_near_chance),
                _claim(results, chosen, level, "kept with all rewards", ("reward",), read, _is_kept),
                _claim(results, chosen, level, "kept with 2 % of them", ("reward-2",), read, _is_kept),
                _untrained(results, chosen, level, read),
            )
            if any(claims):
                parts.append(f"{title}:\n\n" + "\n".join(claim for claim in claims if claim))
        parts.append(_bit_shares(results, chosen, level))
    return "\n\n".join(parts)


def _is_near_chance(score: float) -> bool:
    return score <= NEAR_CHANCE


def _is_kept(score: float) -> bool:
    return score >= READ


def _theory_of_bit(results: Results, chosen: Task, level: Level) -> str:
    reference = results.reference(chosen, level)
    if reference is None:
        return ""
    bit, count = (first_time(reference, "jepa", (name,)) for name in ("bit", "count"))
    if math.isinf(bit):
        return "The linear theory's JEPA never learns the bit."
    return f"The linear theory's JEPA learns the bit {'before' if bit < count else 'after'} the count."


def _untrained(results: Results, chosen: Task, level: Level, read: Reader) -> str:
    """What a probe reads without any learning."""
    found = results.estimate(read, chosen, level, row("untrained"))
    return f"- an untrained encoder: {found.mean:.3f}" if found.seeds else ""


def _bit_shares(results: Results, chosen: Task, level: Level) -> str:
    """How much of the latents is the bit, which a probe does not say."""
    found = {each.name: results.estimate(share("bit"), chosen, level, each) for each in results.rows(chosen)}
    told = ", ".join(f"{who} {one.mean:.3f}" for who, one in found.items() if one.seeds)
    return filled(f"The bit's share of the latents: {told}.")


def _claim(
    results: Results,
    chosen: Task,
    level: Level,
    name: str,
    slugs: Sequence[str],
    read: Reader,
    holds: Callable[[float], bool],
) -> str:
    """One part of the claim with what was measured; empty where nothing was."""
    found = {row(slug).name: results.estimate(read, chosen, level, row(slug)) for slug in slugs}
    scores = {who: one.mean for who, one in found.items() if one.seeds}
    if not scores:
        return ""
    count = sum(map(holds, scores.values()))
    told = (
        "shown"
        if count == len(scores)
        else "denied"
        if not count
        else f"denied in {len(scores) - count} of {len(scores)} rows"
    )
    return filled(f"- {name}: {told} ({', '.join(f'{who} {score:.3f}' for who, score in scores.items())})", "  ")
