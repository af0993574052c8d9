"""``jepa-rl paper linear`` computes its tables once, and draws and explains them as often as one likes."""

import csv
import json
import re

import numpy as np
import pytest

from jepa_rl.scripts.linear_study.command import main
from jepa_rl.scripts.linear_study.tables import joined, read_table, rows_where, table, write_table


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "linear"
    main(["--quick", "--out", str(out)])
    return out


def test_every_table_and_figure_is_there_and_linked(results):
    text = (results / "linear.md").read_text()
    figures = re.findall(r"\]\((figures/\w+\.png)\)", text)
    assert len(figures) == len(set(figures)) == 5
    for name in figures:
        assert (results / name).read_bytes().startswith(b"\x89PNG")
    named = set(re.findall(r"\w+\.csv", text))
    assert named == {path.name for path in results.glob("*.csv")}
    assert json.loads((results / "study.json").read_text())["quick"] is True


def test_flow_agrees_with_the_ode_and_closed_form_with_the_measurement(results):
    assert read_table(results / "flow.csv")["largest_error"].max() <= 1e-9
    times = read_table(results / "times.csv")
    assert times["measured"] == pytest.approx(times["exact"], rel=1e-8)


def test_the_map_has_both_orders_for_jepa_and_one_for_mae(results):
    order = read_table(results / "order.csv")
    first = {
        objective: set((rows["influential"] < rows["covarying"])[np.isfinite(rows["covarying"])].tolist())
        for objective in ("jepa", "mae")
        for rows in [rows_where(order, objective=objective)]
    }
    assert first == {"jepa": {True, False}, "mae": {False}}


def test_render_takes_its_numbers_from_the_raw_tables(results, tmp_path):
    copied = tmp_path / "copy"
    copied.mkdir()
    for path in [*results.glob("*.csv"), results / "study.json"]:
        (copied / path.name).write_bytes(path.read_bytes())
    with (copied / "gap.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    (row,) = (row for row in rows if float(row[header.index("scale")]) == 1e-6)
    row[header.index("jepa")] = "1234567"
    with (copied / "gap.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    main(["--render", "--out", str(copied)])
    changed, original = ((folder / "linear.md").read_text() for folder in (copied, results))
    assert "measured 1,234,567;" in changed
    assert changed.replace("1,234,567", "1,510,601").split("## ")[2:] == original.split("## ")[2:]
    assert (copied / "figures" / "learning.png").read_bytes() == (results / "figures" / "learning.png").read_bytes()


def test_options_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"study\.json is missing\): run without --render first"):
        main(["--render", "--out", str(tmp_path)])
    with pytest.raises(ValueError, match="--quick needs an --out other than"):
        main(["--quick", "--out", "docs/results/linear"])
    with pytest.raises(ValueError, match="give one of them"):
        main(["--quick", "--render", "--out", str(tmp_path)])


def test_tables_survive_the_disk(tmp_path):
    written = joined([table(name="a", value=[1.5, np.inf]), table(name="b", value=[np.nan, 1e-20])])
    write_table(tmp_path / "x.csv", written)
    read = read_table(tmp_path / "x.csv")
    assert read["name"].tolist() == ["a", "a", "b", "b"]
    np.testing.assert_array_equal(read["value"], [1.5, np.inf, np.nan, 1e-20])
    assert rows_where(read, name="b", value=1e-20)["value"].tolist() == [1e-20]
    with pytest.raises(ValueError, match="no row with"):
        rows_where(read, name="c")
