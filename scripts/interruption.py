"""Ctrl-C and SIGTERM as a wish that is granted between two steps."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

STDERR = 2  # its file descriptor


class Interruption:
    """While it is entered, SIGINT (Ctrl-C) and SIGTERM ask for an end of training instead of ending it in mid-step.

    A second one does what it did before. Signals reach the main thread alone: in another one nothing changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()
        # Not by print, which may be what was interrupted; and Ctrl-C may have ended what the output was piped to as well.
        with contextlib.suppress(OSError):
            os.write(STDERR, b"\ninterrupted: saving after this step; once more ends at once\n")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
