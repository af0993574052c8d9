"""Grids of runs: finished cells are skipped, results kept as they come, failed cells and killed workers survived."""

from __future__ import annotations

import difflib
import json
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from joblib import Parallel, ParallelBackendBase, cpu_count, delayed
from tqdm.auto import tqdm

from jepa_rl.scripts.claims import claimed
from jepa_rl.scripts.kept_cells import todays_form
from jepa_rl.scripts.run_folder import write_json

Cell = dict[str, Any]
"""What distinguishes one run from the others: JSON-able, with a "name" and a "seed"."""

Measure = Callable[[Cell], dict[str, Any]]

Backend = Literal["local", "ray"]


class GridError(RuntimeError):
    """Cells failed. All others have their results; the failed ones have an error file and run again next time."""


def run_grid(
    cells: Sequence[Cell],
    measure: Measure,
    out: Path,
    jobs: int,
    backend: Backend = "local",
    version: int = 1,
) -> list[dict[str, Any]]:
    """The results of ``measure`` for every cell, in order; each is ``out``/NAME-seedN.json from when it is done.

    ``jobs`` processes run side by side, each with its share of the cores; a single local job runs in this process. With
    ``backend`` "ray" they are tasks with one core each on a Ray cluster, where every machine must see ``out``.
    ``version`` is the study's: it goes up when the same settings no longer give the same entries. A setting of an agent
    that did not exist when a result was kept counts as one at its default.

    A cell whose file exists is not run again. A cell that raises leaves its traceback in NAME-seedN.error.txt; one whose
    worker is killed runs once more; either way the others go on. Two calls can share a grid, also on two machines that both
    see ``out``: a cell that one of them is running counts as failed in the other, unless its result is there by the end.
    Raises GridError at the end if cells failed, and ValueError if ``out`` holds results of another version, other settings
    or another grid: before anything runs, or at the end where another call kept them there meanwhile.
    """
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}")
    if backend not in get_args(Backend):
        raise ValueError(f"--backend must be one of {get_args(Backend)}, got {backend!r}")
    _check_cells(cells)
    out.mkdir(parents=True, exist_ok=True)
    check_folder(out, cells, version)
    if missing := [cell for cell in cells if not result_file(out, cell).exists()]:
        on_ray = backend == "ray"
        with (
            _workers(backend) as workers,
            # On Ray beside the results: workers on other machines see only what is shared.
            tempfile.TemporaryDirectory(prefix=".grid-", dir=out.resolve() if on_ray else None) as marks,
            tqdm(total=len(cells), initial=len(cells) - len(missing), unit="run") as bar,
        ):
            threads = 1 if on_ray else max(1, cpu_count() // jobs)
            task = _Task(measure=measure, out=out.resolve(), version=version, threads=threads, marks=Path(marks))
            _run_all(missing, task, jobs, workers, bar)
    _raise_failures(out, cells)
    check_folder(out, cells, version)  # again: another call may have kept its own there
    return [json.loads(result_file(out, cell).read_text()) for cell in cells]


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What a worker does with a cell. Empty files in ``marks`` tell which cells were begun and settled in this call."""

    measure: Measure
    out: Path
    version: int
    threads: int
    marks: Path

    def __call__(self, cell: Cell) -> None:
        before = torch.get_num_threads()  # a single job runs in the caller's process
        torch.set_num_threads(self.threads)
        self._mark(cell, "begun").touch()
        try:
            with claimed(_lock(self.out, cell), "another process is running it; its result is taken once it is there"):
                if not result_file(self.out, cell).exists():  # another call may have run it since this one began
                    write_json(result_file(self.out, cell), self._result(cell))
                    checkpoint_file(self.out, cell).unlink(missing_ok=True)
                _error(self.out, cell).unlink(missing_ok=True)
        except (Exception, SystemExit):  # an environment may call sys.exit
            _error(self.out, cell).write_text(traceback.format_exc())
        finally:
            torch.set_num_threads(before)
        self._mark(cell, "settled").touch()

    def _result(self, cell: Cell) -> dict[str, Any]:
        kept = {"cell": cell, "version": self.version}
        measured = self.measure(cell)
        if taken := kept.keys() & measured.keys():
            raise ValueError(f"a result's entries {sorted(taken)} are the grid's own; rename them")
        return kept | measured

    def begun(self, cell: Cell) -> bool:
        return self._mark(cell, "begun").exists()

    def settled(self, cell: Cell) -> bool:
        """True when it has its result, or its error from this call."""
        return self._mark(cell, "settled").exists() or result_file(self.out, cell).exists()

    def _mark(self, cell: Cell, state: str) -> Path:
        return self.marks / f"{_stem(cell)}.{state}"


@contextmanager
def _workers(backend: Backend) -> Iterator[ParallelBackendBase | None]:
    """Where joblib runs the cells; None is its own processes."""
    if backend == "local":
        yield None
        return
    from jepa_rl.scripts.ray_tasks import RayTasks, ray_cluster

    with ray_cluster():
        yield RayTasks()


def _run_all(missing: Sequence[Cell], task: _Task, jobs: int, workers: ParallelBackendBase | None, bar: tqdm[Any]) -> None:
    """Settle every cell; those whose worker died run a second time.

    A death takes all local workers with it, so there the second time is one by one and each cell answers for itself.
    """

    def run(cells: Sequence[Cell], own_process: bool) -> Exception | None:
        last_death = None
        for death in _deaths(cells, task, _parallel(jobs, workers, own_process)):
            last_death = death or last_death
            bar.update(bar.total - sum(not task.settled(cell) for cell in missing) - bar.n)
        return last_death

    waiting, again = list(missing), list[Cell]()
    while waiting:
        death = run(waiting, own_process=workers is not None)
        left = [cell for cell in waiting if not task.settled(cell)]
        if len(left) == len(waiting) and not any(map(task.begun, left)):
            raise GridError(f"the workers die before they begin a cell: {death}")
        again += [cell for cell in left if task.begun(cell)]
        waiting = [cell for cell in left if not task.begun(cell)]
    for cells in [[cell] for cell in again] if workers is None else [again]:
        death = run(cells, own_process=True)
        for cell in cells:
            if not task.settled(cell):
                _lock(task.out, cell).unlink(missing_ok=True)
                _error(task.out, cell).write_text(f"{death}\nIts worker was killed twice (out of memory?)\n")


def _parallel(jobs: int, workers: ParallelBackendBase | None, own_process: bool) -> Parallel:
    return Parallel(
        # joblib runs a single job in this process; with two, of which pre_dispatch lets one run at a time, it does not.
        n_jobs=max(jobs, 2) if own_process else jobs,
        pre_dispatch=jobs,
        batch_size=1,
        return_as="generator_unordered",
        backend=workers,
    )


def _deaths(cells: Sequence[Cell], task: _Task, parallel: Parallel) -> Iterator[Exception | None]:
    """Run cells side by side and yield, for each that is through, what killed its worker, or None.

    The death of a local worker ends it: all others die with it.
    """
    try:
        yield from parallel(delayed(task)(cell) for cell in cells)
    except BrokenProcessPool as death:
        yield death


def _raise_failures(out: Path, cells: Sequence[Cell]) -> None:
    lines = []
    for cell in cells:
        with suppress(FileNotFoundError):  # another call may finish the cell at this very moment
            if not result_file(out, cell).exists():
                error = _error(out, cell)
                lines.append(f"  {error}: {error.read_text().strip().splitlines()[-1]}")
    if lines:
        raise GridError(
            "\n".join([f"{len(lines)} of {len(cells)} cells failed; the same command runs only them again:", *lines])
        )


def _stem(cell: Cell) -> str:
    return f"{cell['name']}-seed{cell['seed']}"


def result_file(out: Path, cell: Cell) -> Path:
    """Where ``run_grid`` keeps the result of a cell."""
    return out / f"{_stem(cell)}.json"


def checkpoint_file(out: Path, cell: Cell) -> Path:
    """Where a cell's measure may keep how far it has come; ``run_grid`` deletes it once the result is there."""
    return out / f"{_stem(cell)}.checkpoint.zip"


def _error(out: Path, cell: Cell) -> Path:
    return out / f"{_stem(cell)}.error.txt"


def _lock(out: Path, cell: Cell) -> Path:
    return out / f".{_stem(cell)}.lock"


def _check_cells(cells: Sequence[Cell]) -> None:
    seen = set()
    for cell in cells:
        name, seed = cell["name"], cell["seed"]
        if not (isinstance(name, str) and name and Path(name).name == name):
            raise ValueError(f"a cell's name must be usable as a file's name, got {name!r}")
        if not isinstance(seed, int):
            raise TypeError(f"the seed of cell {name!r} must be an int, got {seed!r}")
        if (name, seed) in seen:
            raise ValueError(f"two cells have the name {name!r} and the seed {seed}")
        seen.add((name, seed))


def check_folder(out: Path, cells: Sequence[Cell], version: int) -> None:
    """Refuse results that must not mix with this grid's; those of its other seeds and other names may lie beside them.

    ``run_grid`` does it before it runs anything.
    """
    grid: list[Cell] = json.loads(json.dumps(list(cells)))
    own = {result_file(out, cell): cell for cell in grid}
    for file in sorted({*out.glob("*-seed*.json"), *filter(Path.exists, own)}):
        kept = _read(file)
        if "cell" in kept:
            found = todays_form(kept["cell"])
            reason = _other_settings(found, own[file]) if file in own else _other_grid(found, grid)
            if not reason and kept.get("version", 1) != version:
                reason = f"version {kept.get('version', 1)}, expected version {version}"
        else:
            reason = "something else than a grid" if file in own else ""
        if reason:
            raise ValueError(f"{file} holds the result of {reason}; choose another --out or move it away")


def _other_settings(found: Cell, expected: Cell) -> str:
    return f"other settings ({'; '.join(_differences(found, expected)[:5])})" if found != expected else ""


def _other_grid(found: Cell, grid: Sequence[Cell]) -> str:
    """Why a result of no cell in ``grid`` cannot be of a larger grid of the same study: empty if it can."""
    same = [cell for cell in grid if cell["name"] == found["name"]]
    if same:
        # What seeds have in common; of one alone, all but the seed.
        shared = {key: value for key, value in same[0].items() if all(cell.get(key) == value for cell in same)}
        shared.pop("seed", None)
        return _other_settings({key: found[key] for key in shared if key in found}, shared)
    if grid and all(found.keys() != cell.keys() for cell in grid):
        return f"another grid (its cells have {sorted(found)}, these have {sorted(grid[0])})"
    return ""


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is not readable JSON ({error}); move it away") from error
    return data if isinstance(data, dict) else {}


def _differences(found: Any, expected: Any, name: str = "") -> list[str]:
    if not (isinstance(found, dict) and isinstance(expected, dict)):
        return [] if found == expected else [f"{name or 'cell'} is {found!r} there, {expected!r} here"]
    keys = sorted(found.keys() | expected.keys())
    return [
        line
        for key in keys
        for line in _differences(found.get(key, "missing"), expected.get(key, "missing"), f"{name}.{key}" if name else key)
    ]


def require_known(what: str, slugs: Sequence[str], known: Sequence[str]) -> None:
    """ValueError with the nearest names where one of ``slugs`` is not ``known``."""
    if unknown := [slug for slug in slugs if slug not in known]:
        near = difflib.get_close_matches(unknown[0], known) or list(known)
        raise ValueError(f"unknown {what} {unknown[0]!r}; did you mean {' or '.join(near)}?")
