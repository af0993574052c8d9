"""Raw results as CSV files: a table is a dict of columns, text or numbers."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

Table = dict[str, np.ndarray]
"""Columns of one length, by name."""


def table(**columns: ArrayLike) -> Table:
    """A table of columns that are broadcast against each other and flattened."""
    arrays = np.broadcast_arrays(*map(np.asarray, columns.values()))
    return {name: array.ravel() for name, array in zip(columns, arrays, strict=True)}


def joined(parts: Sequence[Table]) -> Table:
    """Tables of the same columns, one below the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_where(source: Mapping[str, np.ndarray], **wanted: str | float) -> Table:
    """The rows whose columns have the wanted values. Raises ValueError where there are none."""
    chosen = np.logical_and.reduce([source[name] == value for name, value in wanted.items()])
    if not chosen.any():
        raise ValueError(f"no row with {wanted}")
    return {name: column[chosen] for name, column in source.items()}


def write_table(path: Path, source: Table) -> None:
    """As CSV, numbers to ten digits."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(source)
        for row in zip(*source.values(), strict=True):
            writer.writerow([str(value) if isinstance(value, str) else f"{value:.10g}" for value in row])


def read_table(path: Path) -> Table:
    """What ``write_table`` wrote; a column is numbers if all of its entries are."""
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    return {name: _numbers_if_possible([row[index] for row in rows]) for index, name in enumerate(names)}


def _numbers_if_possible(entries: list[str]) -> np.ndarray:
    try:
        return np.array([float(entry) for entry in entries])
    except ValueError:
        return np.array(entries)
