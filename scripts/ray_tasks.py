"""joblib's jobs as Ray tasks, on this machine or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joblib import ParallelBackendBase

try:
    import ray
except ImportError as missing:
    raise ImportError("Ray is not installed; `pip install 'jepa-rl[ray]'` brings it") from missing


@contextmanager
def ray_cluster() -> Iterator[None]:
    """The cluster of RAY_ADDRESS, else one that runs here, else a local Ray for as long as it is needed."""
    if ray.is_initialized():
        yield
        return
    ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()


class RayTasks(ParallelBackendBase):
    """Every job is a task with one core, and a worker's death is the job's result.

    Ray's own joblib backend hands jobs to its actors in turn, busy or not, cannot yield results as they come, and a killed
    actor ends the whole call; here Ray starts a job wherever a core is free and the others never hear of a death.
    """

    supports_retrieve_callback = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._running: set[Any] = set()
        self._task = ray.remote(num_cpus=1, max_retries=0)(_call)

    def effective_n_jobs(self, n_jobs: int) -> int:
        """As many as asked for: Ray queues those that find no free core."""
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None]) -> Any:
        """Start a job; ``callback`` gets its future when it is over."""
        job = self._task.remote(func)
        self._running.add(job)
        future = job.future()
        future.add_done_callback(lambda _: self._running.discard(job))
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: Any) -> list[Any]:
        """A job's results, or the error of the worker or node that was lost with it."""
        try:
            results: list[Any] = future.result()
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as death:
            return [death]
        return results

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Kill what runs."""
        for job in list(self._running):
            ray.cancel(job, force=True)


def _call(func: Callable[[], Any]) -> Any:
    return func()
