"""The numbers of docs/linear.md, all taken from the raw tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jepa_rl.scripts.linear_study.settings import (
    COVARYING,
    DESCENT_DEPTH,
    DESCENT_SCALE,
    FRACTION,
    INFLUENTIAL,
    PROCESSES,
)
from jepa_rl.scripts.linear_study.tables import Table, rows_where
from jepa_rl.scripts.linear_study.template import TEMPLATE
from jepa_rl.scripts.reporting.page import Picture
from jepa_rl.scripts.reporting.paragraphs import listed, reflowed
from jepa_rl.scripts.reporting.tables import markdown
from jepa_rl.world_model.linear import SMALL


def page(
    tables: Mapping[str, Table], facts: Mapping[str, Any], pictures: Sequence[Picture], *, figures: str, raw: str, root: str
) -> str:
    """The page as Markdown; ``figures``, ``raw`` and ``root`` are paths relative to it, ``root`` ending in a slash."""
    numbers = {
        "figures": figures,
        "raw": raw,
        "root": root,
        "command": "`jepa-rl paper linear --quick`" if facts["quick"] else "`jepa-rl paper linear`",
        "seconds": f"{facts['seconds']:.0f}",
        "fraction": FRACTION,
        "small": SMALL,
        "c": COVARYING,
        "i": INFLUENTIAL,
        **{f"{picture.name.removesuffix('.png')}_alt": picture.alt for picture in pictures},
    }
    for section in (_flow, _curves, _times, _gap, _order, _descent, _unaligned):
        numbers |= section(tables, facts["study"])
    return reflowed(TEMPLATE.format(**numbers)) + "\n"


def _flow(tables: Mapping[str, Table], study: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "flow_depths": listed(list(map(str, study["flow_depths"]))),
        "flow_error": f"{tables['flow']['largest_error'].max():.0e}",
    }


def _curves(tables: Mapping[str, Table], study: Mapping[str, Any]) -> dict[str, Any]:
    numbers: dict[str, Any] = {"panel_depth": study["panel_depth"], "panel_scale": f"{study['panel_scale']:g}"}
    for objective in ("jepa", "mae"):
        learned = rows_where(tables["curves"], objective=objective, panel="rho varies")["learned"]
        numbers[f"{objective}_spread"] = learned.max() / learned.min()
        conflict = rows_where(tables["curves"], objective=objective, panel="lambda against rho")
        influences, first = np.unique(conflict["influence"], return_index=True)
        order = np.argsort(conflict["learned"][first])
        rank = len(influences) - order  # 1 is the highest influence
        numbers[f"{objective}_order"] = ", ".join(map(str, rank))
    return numbers


def _times(tables: Mapping[str, Table], study: Mapping[str, Any]) -> dict[str, Any]:
    times = tables["times"]
    error = np.abs(times["leading"] / times["measured"] - 1)
    inside, mae = times["smallness"] <= SMALL, times["objective"] == "mae"
    worst = np.argmax(np.where(inside & mae, error, 0))
    example = tables["example"]
    rows = [
        [
            {"jepa": "JEPA", "mae": "MAE"}[str(example["objective"][row])],
            "{:g} | {:g} | {:g} | {:g}".format(
                *(example[name][row] for name in ("covariance", "influence", "depth", "scale"))
            ),
            *(f"{example[name][row]:,.2f}" for name in ("measured", "exact", "leading")),
        ]
        for row in range(len(example["scale"]))
    ]
    header = ["objective", "lambda", "rho", "L", "eps", "integrated ODE", "closed form", "the paper's formula"]
    return {
        "inside": f"{inside.sum():,}",
        "total": f"{len(error):,}",
        "jepa_error": error[inside & ~mae].max(),
        "mae_error": error[worst],
        "mae_worst_depth": times["depth"][worst],
        "mae_small_error": error[mae & (times["smallness"] <= 1e-4)].max(),
        "exact_error": f"{np.abs(times['exact'] / times['measured'] - 1).max():.0e}",
        "example": markdown(header, rows),
    }


def _gap(tables: Mapping[str, Table], study: Mapping[str, Any]) -> dict[str, Any]:
    gap = tables["gap"]
    small, large = (int(np.argmin(np.abs(np.log(gap["scale"] / scale)))) for scale in (1e-6, 1e-2))
    return {
        "gap_formula": f"{gap['jepa_formula'][small]:,.0f}",
        "gap_jepa": f"{gap['jepa'][small]:,.0f}",
        "gap_formula_large": f"{gap['jepa_formula'][large]:,.0f}",
        "gap_jepa_large": f"{gap['jepa'][large]:,.0f}",
        "gap_mae_low": gap["mae"].min(),
        "gap_mae_high": gap["mae"].max(),
    }


def _order(tables: Mapping[str, Table], study: Mapping[str, Any]) -> dict[str, Any]:
    mae = rows_where(tables["order"], objective="mae")
    possible = np.isfinite(mae["covarying"]) & np.isfinite(mae["influential"])
    covarying = (mae["covarying"] < mae["influential"])[possible]
    edge = tables["boundary"]
    rows = [
        [
            f"{edge['depth'][row]:g}",
            *(f"{edge[name][row]:.3g}" for name in ("leading", "lowest", "highest", "starts_learned")),
        ]
        for row in range(len(edge["depth"]))
    ]
    header = [
        "depth",
        "lower edge by the paper's times",
        "lower edge",
        "upper edge",
        "covarying one starts as learned",
    ]
    deep = edge["depth"] > 2
    return {
        "mae_covarying": f"{covarying.sum():,} of {possible.sum():,} cells",
        "boundary": markdown(header, rows),
        "edge_factor": edge["lowest"][-2] / edge["lowest"][-1],
        "boundary_error": np.ceil(100 * np.abs(edge["leading"] / edge["lowest"] - 1)[deep].max()) / 100,
    }


def _descent(tables: Mapping[str, Table], study: Mapping[str, Any]) -> dict[str, Any]:
    runs = tables["descent"]
    rows, kept, total = [], 0, 0
    for objective in ("jepa", "mae"):
        for process in ("static", "dynamic"):
            for batch in np.unique(runs["batch"]):
                setting = rows_where(runs, objective=objective, process=process, batch=batch)
                row = [f"{objective.upper()}, {process}", f"{batch:g}"]
                pair = []
                for influence in np.unique(setting["influence"]):
                    some = rows_where(setting, influence=influence)
                    learned = some["learned"]
                    row += [f"{some['flow'][0]:.4g}", f"{learned.mean():.4g} ({learned.min():.4g} to {learned.max():.4g})"]
                    pair.append(some)
                one, other = pair
                kept += int(((one["learned"] < other["learned"]) == (one["flow"] < other["flow"])).sum())
                total += len(one["learned"])
                rows.append(row)
    low, high = np.unique(runs["influence"])
    header = ["", "batch", f"rho {low:g}: flow", "runs, mean (range)", f"rho {high:g}: flow", "runs, mean (range)"]
    numbers: dict[str, Any] = {}
    for objective in ("jepa", "mae"):
        for name, batch in (("drift", runs["batch"].min()), ("still", runs["batch"].max())):
            curves = rows_where(tables["descent_curves"], objective=objective, process="static", batch=batch)
            last = rows_where(curves, time=curves["time"].max())
            numbers[f"{objective}_{name}"] = " and ".join(f"{share:.2f}" for share in last["mean"])
        numbers[f"{objective}_flow"] = " and ".join(f"{share:.2f}" for share in last["flow"])
    return {
        **numbers,
        "small_batch": runs["batch"].min(),
        "large_batch": runs["batch"].max(),
        "descent_depth": DESCENT_DEPTH,
        "descent_scale": DESCENT_SCALE,
        "persistence": PROCESSES["dynamic"].persistence,
        "copies": study["descent_copies"],
        "descent": markdown(header, rows),
        "order_kept": f"{kept} of {total} runs",
    }


def _unaligned(tables: Mapping[str, Table], study: Mapping[str, Any]) -> dict[str, Any]:
    source = tables["unaligned"]
    deepest = source["depth"].max()
    angles = np.unique(source["angle"])
    near = angles[np.argmin(np.abs(angles - 90))]
    numbers: dict[str, Any] = {
        "angle_depths": listed(list(map(str, study["angle_depths"]))),
        "horizon": study["horizons"][-1],
        "near": near,
    }
    for objective in ("jepa", "mae"):
        rows = rows_where(source, objective=objective, depth=deepest, angle=near)
        late = np.sort(rows["learned"] / rows["aligned"])
        numbers[f"{objective}_late"] = " to ".join(f"{value:.2f}" for value in late)
        numbers[f"{objective}_cosine"] = rows["largest_cosine"].max()
    jepa = rows_where(source, objective="jepa", depth=deepest)
    numbers["jepa_last"] = jepa["angle"][np.isfinite(jepa["learned"])].max()
    learned, aligned = source["learned"].reshape(-1, 2), source["aligned"].reshape(-1, 2)
    both = np.isfinite(learned).all(1)
    same = (np.diff(learned[both]) > 0) == (np.diff(aligned[both]) > 0)
    numbers["same_order"] = f"{same.sum()} of {both.sum()} settings"
    return numbers
