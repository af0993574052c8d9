"""Commands whose first argument names a study, each in a package of its own."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence

Studies = Mapping[str, tuple[str, str]]
"""Each study's package under jepa_rl.scripts, whose module ``command`` has its ``main``, and a line about it."""


def run_study(command: str, studies: Studies, arguments: Sequence[str]) -> None:
    """Run the study that the first argument names, or show the list; ValueError with near names for an unknown one."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(command, studies))
        return
    name, *rest = arguments
    if name not in studies:
        near = difflib.get_close_matches(name, studies) or sorted(studies)
        raise ValueError(f"unknown study {name!r}; did you mean {' or '.join(near)}?")
    package, _ = studies[name]
    importlib.import_module(f"jepa_rl.scripts.{package}.command").main(rest)


def _usage(command: str, studies: Studies) -> str:
    width = max(map(len, studies))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in studies.items()]
    head = f"usage: jepa-rl {command} STUDY [OPTIONS]"
    return "\n".join([head, "", *lines, "", f"jepa-rl {command} STUDY --help explains one."])
