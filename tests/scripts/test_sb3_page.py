"""What the SB3 benchmark's raw results say: differences with intervals, steps on two clocks, and the page's sentences."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from jepa_rl.scripts.minigrid_benchmark.summary import Interval
from jepa_rl.scripts.sb3_benchmark.drawings import imagination
from jepa_rl.scripts.sb3_benchmark.measure import COLUMNS
from jepa_rl.scripts.sb3_benchmark.page import held_table, render, steps_table
from jepa_rl.scripts.sb3_benchmark.prose import GAIN, LOSS, OPEN, TIE, told, verdict
from jepa_rl.scripts.sb3_benchmark.summary import Results, Run, difference, over_the_same, reaches
from jepa_rl.scripts.sb3_benchmark.tasks import TASKS

COUNTING = TASKS[1]


def test_a_difference_has_welchs_interval():
    ours, theirs = [0.9, 0.8, 1.0, 0.7], [0.5, 0.1, 0.6]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    found = difference(ours, theirs)
    assert found.value == pytest.approx(0.85 - 0.4)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert difference([1.0] * 3, [0.5] * 3) == Interval(value=0.5, low=0.5, high=0.5)
    assert difference([1.0] * 2, [0.5] * 3) == Interval(value=0.5)


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert told(Interval(value=-1e-4, low=-0.3, high=0.3)) == f"{TIE} (+0.00, -0.30 to +0.30)"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.3, GAIN), (-0.3, -0.1, LOSS), (-0.1, 0.2, TIE), (0.0, 0.0, TIE), (1e-17, 1e-17, TIE), (None, None, OPEN)],
)
def test_a_verdict_needs_an_interval_off_zero(low, high, expected):
    assert verdict(Interval(value=0.1, low=low, high=high)) == expected


def a_run(rates, every=10, before=0, seed=0, slug="plain", imagined=False):
    """A run of the counting environment with an evaluation every ``every`` steps of PPO."""
    own = np.arange(1, len(rates) + 1) * float(every)
    clocks = {"own_steps": 0 * own if imagined else own, "imagined_steps": own if imagined else 0 * own}
    figures = {"env_steps": before, "updates": 2, "wall_seconds": 30.0, "success_sampled": 1.0, "success_greedy": 0.5}
    settings = {"horizon": 4} if imagined else {}
    cell = {
        **{"name": f"Counting-{slug}", "seed": seed, "env_id": COUNTING.env_id, "algo": slug, "eval_every": every},
        **{"env_steps": before + (0 if imagined else int(own[-1])), "own_steps": int(own[-1]), "episodes": 50},
        "settings": settings,
    }
    values = {"env_steps": before + clocks["own_steps"], **clocks, "success_sampled": np.array(rates)}
    values |= {"success_greedy": np.array(rates) / 2, "looped_share": 0 * own, "wall_seconds": own}
    result = {
        "cell": cell,
        "version": 1,
        "points": len(rates),
        "auxiliary_updates": 0,
        "pretraining": figures if before else None,
    }
    return Run(result, {column: values.get(column, own) for column in COLUMNS})


def test_success_is_compared_where_both_have_been_evaluated():
    plain = [a_run([0.0, 0.2, 0.4, 0.6])]
    ours = [a_run([0.5, 0.9], before=20)]
    # At 30 and 40 environment steps; or at 10 and 20 steps of PPO.
    assert over_the_same(ours, plain, "env_steps").value == pytest.approx(0.7 - 0.5)
    assert over_the_same(ours, plain, "own_steps").value == pytest.approx(0.7 - 0.1)
    assert over_the_same([a_run([1.0], before=50)], plain, "env_steps") is None


def test_success_at_a_step_is_that_of_the_evaluation_there():
    ours = a_run([0.5, 0.9], before=20)
    assert [ours.at(step) for step in (10, 20, 30, 35, 40, 41)] == [None, None, 0.5, 0.9, 0.9, None]
    assert [ours.at(step, "own_steps") for step in (0, 10, 20, 30)] == [None, 0.5, 0.9, None]
    assert ours.at(40, column="success_greedy") == 0.45


def test_the_mean_curve_says_when_as_much_is_reached():
    plain = [a_run([0.0, 0.4, 0.8]), a_run([0.0, 0.8, 0.8], seed=1)]
    assert [reaches(plain, success) for success in (0.0, 0.6, 0.8, 0.9)] == [10, 20, 30, None]


def test_tables_have_a_column_with_the_pretraining_and_one_without():
    runs = (*(a_run([0.2, 1.0, 1.0, 1.0, 1.0]),), a_run([0.95, 0.95, 0.95], before=20, slug="frozen"))
    results = Results(runs, unfinished=0)
    table = steps_table(results, COUNTING.env_id).splitlines()
    assert table[0] == "| encoder | all: 10 | all: 20 | all: 40 | all: 50 | own: 10 | own: 20 |"
    assert table[2] == "| plain | 0.20 | 1.00 | 1.00 | 1.00 | 0.20 | 1.00 |"
    assert table[3] == "| frozen | - | - | 0.95 | 0.95 | 0.95 | 0.95 |"
    held = held_table(results).splitlines()
    assert held[2] == "| Counting | plain | 1 | 20 | 20 |"
    assert held[3] == "| Counting | frozen | 1 | 30 | 10 |"


def write(folder, each):
    """A run's files."""
    stem = f"{each.cell['name']}-seed{each.cell['seed']}"
    (folder / f"{stem}.json").write_text(json.dumps(each.result))
    with (folder / f"{stem}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for point in range(len(each.curve["own_steps"])):
            row = {column: float(values[point]) for column, values in each.curve.items()}
            writer.writerow(row | {"task": COUNTING.env_id, "algo": each.cell["algo"], "seed": each.cell["seed"]})


def page_of(tmp_path, ours, plain, imagined):
    """The page of three seeds, whose rates are shifted by 0.01 from each other; those of the variants begin after 20."""
    for seed in range(3):
        shift = 0.01 * (seed - 1)
        write(tmp_path, a_run(np.array(plain) + shift, seed=seed))
        write(tmp_path, a_run(np.array(ours) + shift, before=20, seed=seed, slug="frozen"))
        write(tmp_path, a_run(np.array(imagined) + shift, before=20, seed=seed, slug="imagined", imagined=True))
    return render(tmp_path, tmp_path / "page.md").read_text()


PLAIN = [0.1, 0.3, 0.5, 0.9]


def test_the_page_tells_a_gain(tmp_path):
    page = page_of(tmp_path, ours=[0.9, 0.9], plain=PLAIN, imagined=[0.2, 0.9])
    assert "**Every environment step counted, against plain PPO. Counting: more success (frozen).**" in page
    assert (
        "- Counting, **frozen**: all steps more success (+0.20, +0.18 to +0.22); own steps more success (+0.70, +0.68 to "
        "+0.72); end no difference shown (+0.00, -0.02 to +0.02)." in page
    )
    assert (
        "after 20 real steps PPO trained in imagination has 0.90 ± 0.02, PPO trained on as many real steps 0.30 ± 0.02: "
        "more success (+0.60, +0.58 to +0.62). On real steps PPO's mean curve first has as much at 40." in page
    )
    assert "| Counting | PPO, trained in the environment | 20 | 0.30 ± 0.02 | 0.15 ± 0.01 |" in page
    assert "| Counting | the agent itself, planning | 20 | 1.00 ± 0.00 | 0.50 ± 0.00 |" in page
    assert "20 environment steps, after which its own planner has 1.00 ± 0.00 sampled success" in page
    assert "Not the benchmark itself: 9 runs" in page
    assert (tmp_path / "figures" / "sb3" / "success.png").stat().st_size > 5_000


def test_the_page_tells_a_loss(tmp_path):
    page = page_of(tmp_path, ours=[0.1, 0.2], plain=PLAIN, imagined=[0.2, 0.1])
    assert "**Every environment step counted, against plain PPO. Counting: less success (frozen).**" in page
    assert "own steps less success (-0.05, -0.07 to -0.03); end less success (-0.70" in page
    assert "0.30 ± 0.02: less success (-0.20" in page
    assert "On real steps PPO's mean curve first has as much at 10." in page


def test_the_page_tells_a_tie_and_what_is_never_reached(tmp_path):
    page = page_of(tmp_path, ours=[0.5, 0.9], plain=PLAIN, imagined=[0.3, 0.3])
    assert "**Every environment step counted, against plain PPO. Counting: no difference shown (frozen).**" in page
    assert "0.30 ± 0.02: no difference shown (+0.00" in page
    page = page_of(tmp_path, ours=[0.5, 0.9], plain=PLAIN, imagined=[0.9, 0.95])
    assert "On real steps PPO's mean curve has at most 0.900 in 40." in page


def test_the_answer_of_a_task_has_its_verdicts_side_by_side(tmp_path):
    for seed in range(3):
        worse = np.array(PLAIN) - 0.1 + 0.01 * (seed - 1)
        write(tmp_path, a_run(worse, seed=seed, slug="auxiliary"))
    page = page_of(tmp_path, ours=[0.9, 0.9], plain=PLAIN, imagined=[0.2, 0.9])
    assert "against plain PPO. Counting: more success (frozen); less success (auxiliary).**" in page


def test_a_page_of_few_runs_claims_nothing(tmp_path):
    write(tmp_path, a_run(PLAIN, slug="auxiliary"))
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "There is nothing to compare yet." in page
    assert "No runs in imagination yet." in page
    write(tmp_path, a_run(PLAIN))
    page = render(tmp_path, tmp_path / "page.md").read_text()
    assert "against plain PPO. Counting: too few seeds for a verdict (auxiliary).**" in page
    assert "own steps" not in page.split("## What imagination buys")[0].split("Differences of mean")[0]


def test_the_axis_of_imagination_is_fitted_and_plain_ppo_has_its_interval():
    runs = [a_run([0.85, 0.95], before=20, seed=seed, slug="imagined", imagined=True) for seed in range(3)]
    plain = [a_run([0.5, 0.88 + 0.01 * seed], seed=seed) for seed in range(3)]
    (axes,) = imagination(Results((*runs, *plain), unfinished=0), COUNTING.env_id).axes
    assert 0.79 < axes.get_ylim()[0] < 0.85
    assert axes.get_ylabel() == "sampled success (from 0.8)"
    low, high = axes.patches[0].get_y(), axes.patches[0].get_y() + axes.patches[0].get_height()
    assert (low + high) / 2 == pytest.approx(0.89)
