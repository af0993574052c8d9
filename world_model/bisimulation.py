"""Which observations a well-trained JEPA must keep apart: exact answers on tables and on finite data.

Theory: "Why and How Auxiliary Tasks Improve JEPA Representations" (arXiv:2509.12249). With transitions o' = f(o, a) and an
auxiliary function p(o), two observations are bisimilar if p never tells them apart after any common action sequence. A
model that fits transitions and p exactly must give different latents to observations that are not bisimilar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Refinement:
    """The largest bisimulation of a table of S states, and how the refinement reached it."""

    classes: np.ndarray  # int64[S], class of each state, numbered from 0 in order of first appearance
    counts: tuple[int, ...]  # number of classes after 0, 1, ... refinement steps; the last is the fixed point's

    def __post_init__(self) -> None:
        if self.counts[-1] != self.classes.max() + 1:
            raise ValueError(f"counts must end with the number of classes, {self.classes.max() + 1}, got {self.counts}")

    @property
    def depth(self) -> int:
        """Refinement steps until the fixed point: the longest action sequence needed to tell two states apart."""
        return len(self.counts) - 1


def refine(transition: np.ndarray, label: np.ndarray, *, action_labels: bool = True) -> Refinement:
    """Partition refinement: start from equal labels, split by the classes of the successors until nothing splits.

    ``transition`` is int[S, A], the next state; ``label`` is [S] or [S, m], the value of p, compared exactly. Transitions
    are deterministic. A terminal state needs a row like any other: absorbing (every action leads back to it) says that
    nothing after the end distinguishes states.

    Without ``action_labels`` a state is known by the *set* of its successors' classes, not by which action leads where: the
    control that shows what conditioning the dynamics on actions buys.

    Raises ValueError for tables of the wrong shape, successors outside of 0..S-1, and labels that are not finite.
    """
    transition, label = _checked_table(transition, label)
    counts = []
    for classes in _refinements(transition, label, action_labels):
        counts.append(int(classes.max()) + 1)
    _, first, inverse = np.unique(classes, return_index=True, return_inverse=True)
    return Refinement(classes=np.argsort(np.argsort(first))[inverse], counts=tuple(counts))


def separation_depth(transition: np.ndarray, label: np.ndarray, *, action_labels: bool = True) -> np.ndarray:
    """Refinement step at which each pair of states separates, int64[S, S]: 0 by label, -1 never. Arguments as ``refine``.

    With action labels it is the length of the shortest action sequence after which the labels of the two differ.
    """
    transition, label = _checked_table(transition, label)
    depth = np.full((len(label), len(label)), -1)
    for step, classes in enumerate(_refinements(transition, label, action_labels)):
        depth[(depth < 0) & (classes[:, None] != classes)] = step
    return depth


def empirical_relation(
    observation: np.ndarray,
    action: np.ndarray,
    next_observation: np.ndarray,
    label: np.ndarray,
    *,
    labelled: np.ndarray | None = None,
) -> np.ndarray:
    """Pairs of N observations that finite data force apart, bool[N, N]: the least fixed point of

        F_D(R) = {(o1, o2): both labelled, labels differ}
               + {(o1, o2): some (o1, a, o1'), (o2, a, o2') in the data with (o1', o2') in R}.

    ``observation``, ``action`` and ``next_observation`` are int[T]: transition t leads from one observation (an index in
    0..N-1) to another by an action (any integer). ``label`` is [N] or [N, m]; ``labelled`` is bool[N], all by default. What
    ``label`` holds where not labelled is not read, and may be NaN.

    Zero loss on the data implies different latents for every pair in the relation. The complement is NOT an equivalence:
    (o1, o2) and (o2, o3) may be free to merge while (o1, o3) is not, because a gap in the data about o2 frees both. Count
    classes only under full coverage, where the complement is the largest bisimulation. A true diagonal entry says that
    the same action led to successors that must differ, so no deterministic model fits the data.

    Memory is O(N^2); time is O(T^2) per step of the fixed point. Raises ValueError for shapes and indices that do not fit.
    """
    label = np.asarray(label)
    mask = np.ones(len(label), bool) if labelled is None else np.asarray(labelled)
    if mask.shape != (len(label),) or mask.dtype != bool:
        raise ValueError(f"labelled must be bool[{len(label)}] like label, got {mask.dtype}{list(mask.shape)}")
    if label.dtype.kind == "f":
        label = np.where(mask.reshape(-1, *(1,) * (label.ndim - 1)), label, 0)
    label = _checked_label(label)
    transitions = _checked_transitions(observation, action, next_observation, size=len(label))
    groups = _group_rows(label)
    apart: np.ndarray = (groups[:, None] != groups) & mask[:, None] & mask
    while True:
        before = np.count_nonzero(apart)
        for sources, starts, targets in transitions:
            led_apart = apart[np.ix_(targets, targets)]
            # An observation may have several transitions with one action: any pair of them counts.
            led_apart = np.logical_or.reduceat(np.logical_or.reduceat(led_apart, starts, axis=0), starts, axis=1)
            apart[np.ix_(sources, sources)] |= led_apart
        if np.count_nonzero(apart) == before:
            return apart


def _refinements(transition: np.ndarray, label: np.ndarray, action_labels: bool) -> Iterator[np.ndarray]:
    """Class numbers int[S], without gaps, at the start and after each step that split a class; the array is reused.

    When a class splits, one part keeps its number and only the predecessors of the others are looked at again: a state
    whose successors all kept their numbers stays with its like, and one that has a freshly numbered successor leaves them.
    """
    states, actions = transition.shape
    predecessors = np.argsort(transition, axis=None, kind="stable") // actions  # ordered by the state that they lead to
    indegree = np.bincount(transition.ravel(), minlength=states)
    start = np.cumsum(indegree) - indegree
    classes = _group_rows(label)
    changed = np.arange(states)
    while len(changed):
        yield classes
        length = indegree[changed]
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        touched = np.unique(predecessors[np.repeat(start[changed], length) + within])
        successors = classes[transition[touched]]
        changed = _split(classes, touched, successors if action_labels else _as_sets(successors))


def _split(classes: np.ndarray, touched: np.ndarray, signature: np.ndarray) -> np.ndarray:
    """Give the touched states of each class a number per signature, in place; return the states whose number changed."""
    old = classes[touched]
    part = _group_rows(np.column_stack([old, signature]))
    size = np.bincount(part)
    parent = np.empty_like(size)
    parent[part] = old
    untouched = np.bincount(classes)
    number_of_classes = len(untouched)
    untouched -= np.bincount(old, minlength=number_of_classes)
    # The old number stays with the untouched states, or else with the largest part: assigning in order of size, it is last.
    by_size = np.argsort(size, kind="stable")
    heir = np.full(number_of_classes, -1)
    heir[parent[by_size]] = by_size
    keeps = (untouched[parent] == 0) & (heir[parent] == np.arange(len(parent)))
    number = np.where(keeps, parent, number_of_classes - 1 + np.cumsum(~keeps))[part]
    classes[touched] = number
    changed: np.ndarray = touched[number != old]
    return changed


def _as_sets(rows: np.ndarray) -> np.ndarray:
    """Rows that are equal if and only if the given rows are equal as sets of non-negative numbers."""
    rows = np.sort(rows, axis=1)
    repeated = rows[:, 1:] == rows[:, :-1]
    rows[:, 1:][repeated] = -1
    return np.sort(rows, axis=1)


def _group_rows(rows: np.ndarray) -> np.ndarray:
    """Number the rows of [n] or [n, m], m >= 1, from 0 without gaps: equal numbers for equal rows."""
    columns = np.atleast_2d(rows.T)
    # Column by column: np.unique(axis=0) compares whole rows and takes many times as long.
    order = np.lexsort(columns)
    ordered = columns[:, order]
    groups = np.zeros(len(rows), np.int64)
    groups[order[1:]] = np.cumsum((ordered[:, 1:] != ordered[:, :-1]).any(axis=0))
    return groups


def _checked_label(label: np.ndarray) -> np.ndarray:
    label = np.asarray(label)
    if label.ndim not in (1, 2) or label.size == 0 or label.dtype.kind not in "biuf":
        raise ValueError(f"label must be numbers [S] or [S, m], not empty, got {label.dtype}{list(label.shape)}")
    if not np.isfinite(label).all():
        raise ValueError("label must be finite, got NaN or infinity")
    return label


def _checked_table(transition: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label = _checked_label(label)
    transition = np.asarray(transition)
    if transition.ndim != 2 or len(transition) != len(label) or transition.size == 0 or transition.dtype.kind not in "iu":
        raise ValueError(f"transition must be int[S={len(label)}, A], got {transition.dtype}{list(transition.shape)}")
    _check_range("transition", transition, len(label))
    return transition.astype(np.int64), label


def _checked_transitions(
    observation: np.ndarray, action: np.ndarray, next_observation: np.ndarray, *, size: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per action: its sources, the offset of each source's first transition, and the targets ordered by source."""
    named = {"observation": observation, "action": action, "next_observation": next_observation}
    arrays = [np.asarray(array) for array in named.values()]
    for name, array in zip(named, arrays, strict=True):
        if array.shape != arrays[0].shape or array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"{name} must be int[T], equally long as the others, got {array.dtype}{list(array.shape)}")
    _check_range("observation", arrays[0], size)
    _check_range("next_observation", arrays[2], size)
    distinct = np.unique(np.column_stack([array.astype(np.int64) for array in arrays]), axis=0)
    by_action = [distinct[distinct[:, 1] == a] for a in np.unique(distinct[:, 1])]
    return [(*np.unique(rows[:, 0], return_index=True), rows[:, 2]) for rows in by_action]


def _check_range(name: str, index: np.ndarray, size: int) -> None:
    if index.size and not 0 <= index.min() <= index.max() < size:
        raise ValueError(f"{name} must lie in 0..{size - 1}, got {index.min()}..{index.max()}")
