"""What docs/counting.md says, with the measured figures filled in."""

from __future__ import annotations

from jepa_rl.scripts.counting_study.summary import Results


def compose(results: Results, tables: dict[str, str]) -> str:
    """The page, in Markdown; ``tables`` by name."""
    figures = ("representations-1", "representations-2", "targets", "depths", "weights", "alignment")
    return "\n\n".join([*tables.values(), *(f"![{name}](figures/counting/{name}.png)" for name in figures)]) + "\n"
