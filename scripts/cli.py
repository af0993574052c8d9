"""The ``jepa-rl`` command: finds the subcommand, runs it, and turns its errors into one readable line."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym

from jepa_rl.agent import CheckpointError
from jepa_rl.scripts.doctor import DoctorError
from jepa_rl.scripts.grid import GridError
from jepa_rl.scripts.run_folder import RunStoppedError

COMMANDS = {
    "demo": "begin here: train, evaluate and report the counting preset, about 3 minutes",
    "doctor": "check an environment before training: jepa-rl doctor CartPole-v1",
    "train": "train an agent: jepa-rl train counting --out runs/first",
    "evaluate": "measure a trained agent on held-out seeds",
    "resume": "go on with a run that was stopped",
    "report": "figures and an HTML page of one or more runs",
    "advise": "how each loss of a run pulls the encoder, and what to try: jepa-rl advise runs/demo",
    "speed": "what a run's update and decisions take",
    "paper": "remake the experiments of the papers: jepa-rl paper counting --quick",
    "benchmark": "the agent beside PPO, DQN and SAC, and what its parts buy: jepa-rl benchmark control --quick",
    "ablate": "what each choice of the counting preset buys, by switching it off",
}
FOR_FIGURES = ("matplotlib", "imageio", "PIL")  # packages of the "report" extra that are imported
EXPECTED_ERRORS = (
    *(ValueError, TypeError, OSError, ImportError, FloatingPointError),
    *(CheckpointError, RunStoppedError, GridError, DoctorError, gym.error.Error),
)


def main() -> None:
    """Entry point of the console command."""
    # A console script leaves out the folder that it is called in, where a user's own module:Id is. Installed modules win.
    sys.path.append(str(Path.cwd()))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; 0 if it went well, 1 if cells of a grid or checks failed, 2 otherwise; stderr says why."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS)
        print(
            f"error: unknown command {name!r}{f'; did you mean {near[0]}?' if near else ''}\n\n{_usage()}", file=sys.stderr
        )
        return 2
    try:
        importlib.import_module(f"jepa_rl.scripts.{name}").main(rest)
    except EXPECTED_ERRORS as error:
        if os.environ.get("JEPA_RL_TRACEBACK"):
            raise
        print(f"error: {_explained(error)}", file=sys.stderr)
        return 1 if isinstance(error, GridError | DoctorError) else 2
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "interrupted", file=sys.stderr)
        return 130
    return 0


def _explained(error: BaseException) -> str:
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in FOR_FIGURES:
        return f"figures need {package}: pip install 'jepa-rl[report]'"
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            "usage: jepa-rl COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "jepa-rl COMMAND --help explains one. JEPA_RL_TRACEBACK=1 shows where an error came from.",
        ]
    )
