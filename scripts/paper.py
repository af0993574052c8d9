"""``jepa-rl paper``: the experiments of the papers behind the project, each remade by one command."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence

STUDIES = {
    "counting": ("counting_study", "arXiv:2509.12249: what anchors a JEPA representation, on the counting environment"),
    "linear": ("linear_study", "arXiv:2407.03475: which features deep linear JEPA and MAE learn first"),
}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return
    name, *rest = arguments
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES) or sorted(STUDIES)
        raise ValueError(f"unknown study {name!r}; did you mean {' or '.join(near)}?")
    package, _ = STUDIES[name]
    importlib.import_module(f"jepa_rl.scripts.{package}.command").main(rest)


def _usage() -> str:
    lines = [f"  {name:<9} {about}" for name, (_, about) in STUDIES.items()]
    return "\n".join(["usage: jepa-rl paper STUDY [OPTIONS]", "", *lines, "", "jepa-rl paper STUDY --help explains one."])
