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
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.scripts.train import TrainArgs, execute, require_lengths, require_pictures


@dataclass(frozen=True, kw_only=True)
class ResumeArgs:
    """Go on with a run from its last checkpoint, up to its planned length or a new one.

    Up to its planned length it equals a run that never stopped, bit for bit; up to another one too, unless the learning
    rate follows the length (training.schedule cosine).

    Example: jepa-rl resume runs/first --total-timesteps 100000
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    total_timesteps: int | None = None
    """Environment steps in total; by default what the run was started with."""
    log_interval: int = 1_000
    """As given to train."""
    checkpoint_interval: int = 10_000
    """As given to train."""
    video_every: int = 0
    """As given to train."""
    episodes: int = 200
    """Held-out episodes of the final evaluation."""
    wandb: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    device: str = "auto"


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(ResumeArgs, prog="jepa-rl resume", args=arguments)
    run = RunFolder.open(args.run)
    if args.wandb:
        require_wandb()
    config = run.config()
    total = config.total_timesteps if args.total_timesteps is None else args.total_timesteps
    options = TrainArgs(
        preset=config.preset,
        agent=config.agent,
        seed=config.seed,
        total_timesteps=total,
        env_id=config.env_id,
        log_interval=args.log_interval,
        checkpoint_interval=args.checkpoint_interval,
        video_every=args.video_every,
        episodes=args.episodes,
        wandb=args.wandb,
        quiet=args.quiet,
        device=args.device,
    )
    require_lengths(options)
    if run.checkpoint.is_file():
        agent = run.load_agent(env=True, device=args.device)
    else:
        # The same seed gives the same run.
        print(f"{run.path} was stopped before its first checkpoint: it begins again at step 0", file=sys.stderr)
        agent = JEPAAgent(config.agent, config.factory(), seed=config.seed, device=args.device)
    if agent.num_timesteps >= total and run.result.is_file():
        raise ValueError(f"{run.path} is complete at {agent.num_timesteps} steps; give a larger --total-timesteps to go on")
    beyond = agent.n_envs - 1 if total == config.total_timesteps else 0  # the last step of all environments may go there
    if agent.num_timesteps > total + beyond:
        raise ValueError(f"{run.path} is at {agent.num_timesteps} steps; --total-timesteps must be no less, got {total}")
    require_pictures(agent, config, args.video_every)
    if total != config.total_timesteps:
        if config.agent.training.schedule != "constant":
            warnings.warn(
                f"the learning rate follows the length of the run (training.schedule {config.agent.training.schedule}): it "
                f"goes on as if {total} steps had been planned, which is not the run that was begun with that plan",
                stacklevel=2,
            )
        config = dataclasses.replace(config, total_timesteps=total)
        run.result.unlink(missing_ok=True)  # that of the shorter run
        run.write_config(config)
    execute(run, agent, options)
