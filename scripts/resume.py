"""``jepa-rl resume``: go on with a run as if it had never stopped."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.logs import require_wandb
from jepa_rl.scripts.options import parse_options, run_named_first
from jepa_rl.scripts.run_folder import Recording, RunFolder
from jepa_rl.scripts.train import execute, require_lengths, require_pictures


@dataclass(frozen=True, kw_only=True)
class ResumeArgs:
    """Go on with a run from its last checkpoint, up to its planned length or a new one.

    Up to its planned length it equals a run that never stopped, bit for bit. Up to another one its weights do, unless the
    learning rate follows the length (training.schedule cosine), and progress.csv has a row more, where it ended at first.
    It is recorded as before unless an option says otherwise.

    Example: jepa-rl resume runs/first --total-timesteps 100000
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    total_timesteps: int | None = None
    """Environment steps in total; by default what the run was started with."""
    recording: Annotated[Recording, tyro.conf.arg(name="")]
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """No progress bar and no closing table."""
    device: str = "auto"
    """auto takes a GPU where torch finds one; cpu, cuda."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = parse_options(ResumeArgs, arguments, default=_defaults(arguments), prog="jepa-rl resume")
    run = RunFolder.open(args.run)
    with run.claimed():
        _go_on(run, args)


def _go_on(run: RunFolder, args: ResumeArgs) -> None:
    """Train the run up to its length, from its last checkpoint on."""
    kept = run.config()
    total = kept.total_timesteps if args.total_timesteps is None else args.total_timesteps
    config = dataclasses.replace(kept, total_timesteps=total, recording=args.recording)
    require_lengths(config)
    if config.recording.wandb:
        require_wandb()
    if run.checkpoint.is_file():
        agent = run.load_agent(env=True, device=args.device)
    elif run.result.is_file():
        raise ValueError(f"{run.path} is complete, and its checkpoint is gone: there is nothing to go on from")
    else:
        # The same seed gives the same run.
        print(f"{run.path} was stopped before its first checkpoint: it begins again at step 0", file=sys.stderr)
        agent = JEPAAgent(config.agent, config.factory(), seed=config.seed, device=args.device)
    if agent.num_timesteps >= total and run.result.is_file():
        raise ValueError(f"{run.path} is complete at {agent.num_timesteps} steps; give a larger --total-timesteps to go on")
    beyond = agent.n_envs - 1 if total == kept.total_timesteps else 0  # the last step of all environments may go there
    if agent.num_timesteps > total + beyond:
        raise ValueError(f"{run.path} is at {agent.num_timesteps} steps; --total-timesteps must be no less, got {total}")
    require_pictures(agent, config)
    if total != kept.total_timesteps:
        if config.agent.training.schedule != "constant":
            warnings.warn(
                f"the learning rate follows the length of the run (training.schedule {config.agent.training.schedule}): it "
                f"goes on as if {total} steps had been planned, which is not the run that was begun with that plan",
                stacklevel=2,
            )
        run.result.unlink(missing_ok=True)  # that of the shorter run
    run.write_config(config)
    execute(run, agent, quiet=args.quiet)


def _defaults(arguments: Sequence[str]) -> ResumeArgs:
    """How the run has been recorded so far, which options change."""
    path = run_named_first(arguments, "resume")
    if path is None:
        return ResumeArgs(run=tyro.MISSING, recording=Recording())
    return ResumeArgs(run=path, recording=RunFolder.open(path).config().recording)
