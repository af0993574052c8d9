"""What one process at a time may work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def claimed(lock: Path, busy: str) -> Iterator[None]:
    """Hold ``lock``, a file that is there only meanwhile; BlockingIOError, saying ``busy``, where another process does.

    A killed process holds it no longer.
    """
    claim = FileLock(lock, timeout=0)
    try:
        claim.acquire()
    except Timeout:
        raise BlockingIOError(busy) from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        claim.release()
