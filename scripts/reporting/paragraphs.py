"""Paragraphs of Markdown pages whose numbers and names come from results."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

WIDTH = 118


def filled(text: str, indent: str = "") -> str:
    """A paragraph's lines at one width; ``indent`` begins all but the first."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def completeness(done: AbstractSet[object], grid: AbstractSet[object]) -> str:
    """How far a grid of runs is, in a sentence or two; ``done`` may hold others."""
    if grid <= done:
        return f"The grid is complete: {len(grid)} runs."
    return f"**The grid is not complete: {len(grid & done)} of {len(grid)} runs.** What follows may still change."


def reflowed(text: str) -> str:
    """Markdown with its paragraphs and list entries at one width again, now that their numbers are in; code as it is."""

    def block(part: str) -> str:
        if part.startswith(("#", "|", "!", "    ")):
            return part
        if part.startswith("- "):
            return "\n".join(filled(" ".join(entry.split()), "  ") for entry in re.split(r"\n(?=- )", part))
        return filled(" ".join(part.split()))

    return "\n\n".join(map(block, text.strip().split("\n\n")))


def listed(parts: Sequence[str]) -> str:
    """Words in a row, the last after "and"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
