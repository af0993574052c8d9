"""The most memory that this process has held."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MB; NaN where the system does not tell."""
    if _STATUS.is_file():
        # Not getrusage: its figure begins with what the process was started from, which may have been larger.
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource  # which Windows does not have
    except ImportError:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def forget_peak_memory() -> None:
    """Let the peak begin here, where the system can: a worker process runs one cell after the other."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
