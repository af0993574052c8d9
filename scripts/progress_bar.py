"""The progress bar of long work on one run."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm


def progress_bar(
    total: int, unit: str, *, initial: int = 0, description: str | None = None, shown: bool = True
) -> tqdm[Any]:
    """A bar on stderr; drawn rarely where that is a file."""
    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        desc=description,
        disable=not shown,
        dynamic_ncols=True,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )
