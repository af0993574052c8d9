"""``jepa-rl train``: from a preset to a run folder with a trained agent and its measured result."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jepa_rl.agent import PRESETS, AgentConfig, CollapseMonitor, JEPAAgent, preset
from jepa_rl.envs.make import import_module_of
from jepa_rl.scripts.callbacks import CheckpointEvery, TrainingProgress
from jepa_rl.scripts.evaluate import (
    HELDOUT_IMAGES,
    HELDOUT_SEED,
    evaluate_agent,
    heldout_latents,
    representation_figures,
    table,
)
from jepa_rl.scripts.interruption import Interruption
from jepa_rl.scripts.logs import make_logger, require_wandb
from jepa_rl.scripts.memory import peak_rss_mb
from jepa_rl.scripts.options import parse_options, split_env_options
from jepa_rl.scripts.run_folder import Recording, RunConfig, RunFolder, RunStoppedError
from jepa_rl.scripts.speed import measure_update
from jepa_rl.world_model import diagnostics


@dataclass(frozen=True, kw_only=True)
class TrainArgs:
    """Train an agent and measure it with its final weights.

    The defaults below are those of the preset that is named, of preset default where none is: jepa-rl train PRESET --help.
    Every setting of the preset can be changed: --model.reward.weight 0.5, --planner.kind cem, --training.batch-size 32.
    Keyword arguments of the environment are --env.NAME VALUE, as in --env.target 2.

    Example: jepa-rl train counting --seed 1 --out runs/seed1
    """

    preset: tyro.conf.Positional[str]
    """default (any environment), control (vectors, also with continuous actions), counting, minigrid or minigrid-pixels."""
    agent: Annotated[AgentConfig, tyro.conf.arg(name="")]
    out: Path | None = None
    """Folder for the run; it must not exist. By default runs/PRESET-seedN."""
    seed: int = 0
    """Decides every random choice: the same seed gives the same run."""
    total_timesteps: int
    """Environment steps, over all parallel environments."""
    env_id: str
    """A registered Gymnasium environment."""
    recording: Annotated[Recording, tyro.conf.arg(name="")]
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """No progress bar and no closing table."""
    device: str = "auto"
    """auto takes a GPU where torch finds one; cpu, cuda."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    rest, env_kwargs = split_env_options(arguments)
    import_module_of(_env_id(rest))  # which may register auxiliary tasks that the options name
    args = parse_options(TrainArgs, rest, default=_defaults(rest), prog="jepa-rl train")
    if not 0 <= args.seed < HELDOUT_SEED - args.agent.n_envs:
        raise ValueError(
            f"--seed must be at least 0 and so far below {HELDOUT_SEED:,} that no environment has a held-out seed, got "
            f"{args.seed}"
        )
    config = RunConfig(
        preset=args.preset,
        env_id=args.env_id,
        env={**preset(args.preset).env, **env_kwargs},
        seed=args.seed,
        total_timesteps=args.total_timesteps,
        agent=args.agent,
        recording=args.recording,
    )
    require_lengths(config)
    # The folder comes last: a wrong option or environment, or no access to wandb, must not leave one behind.
    if args.recording.wandb:
        require_wandb()
    agent = JEPAAgent(args.agent, config.factory(), seed=args.seed, device=args.device)
    require_pictures(agent, config)
    run = RunFolder.create(args.out or Path("runs") / f"{args.preset}-seed{args.seed}", config)
    with run.claimed():
        execute(run, agent, quiet=args.quiet)


def _env_id(arguments: Sequence[str]) -> str:
    """What ``--env-id`` says, before the options are read; "" where it says nothing."""
    for option, following in zip(arguments, (*arguments[1:], ""), strict=True):
        name, _, value = option.partition("=")
        if name in ("--env-id", "--env_id"):
            return value or following
    return ""


def require_lengths(config: RunConfig) -> None:
    """Raise ValueError for a length that is none."""
    recording = config.recording
    at_least_1 = {
        "total-timesteps": config.total_timesteps,
        "log-interval": recording.log_interval,
        "checkpoint-interval": recording.checkpoint_interval,
        "episodes": recording.episodes,
    }
    for name, given in at_least_1.items():
        if given < 1:
            raise ValueError(f"--{name} must be at least 1, got {given}")
    if recording.video_every < 0:
        raise ValueError(f"--video-every must be at least 0 environment steps, got {recording.video_every}")


def overridden(config: AgentConfig, options: Sequence[str]) -> AgentConfig:
    """``config`` with command-line options such as ``--training.batch-size 32`` applied."""
    return parse_options(AgentConfig, options, default=config)


def _defaults(arguments: Sequence[str]) -> TrainArgs:
    """The preset's settings, so that --help shows them and options change them."""
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name is None and not {"-h", "--help"} & set(arguments):
        raise ValueError(f"the preset comes first: jepa-rl train PRESET [OPTIONS], with PRESET one of {', '.join(PRESETS)}")
    chosen = preset(name) if name else PRESETS["default"]
    return TrainArgs(
        preset=name or tyro.MISSING,
        agent=chosen.agent,
        total_timesteps=chosen.total_timesteps,
        env_id=chosen.env_id,
        recording=Recording(),
    )


def require_pictures(agent: JEPAAgent, config: RunConfig) -> None:
    """Raise ValueError where the run is to be filmed and cannot be."""
    if config.recording.video_every:
        from jepa_rl.scripts import video  # needs packages of the "report" extra, which training does without

        video.require_pictures(agent, config)


def execute(run: RunFolder, agent: JEPAAgent, *, quiet: bool) -> None:
    """Train up to the run's length, going on where ``agent`` is; then evaluate and write result.json."""
    config = run.config()
    total, recording = config.total_timesteps, config.recording
    logger, progress = make_logger(
        run.path, agent.attachments.get("progress", []), dataclasses.asdict(config), wandb=recording.wandb
    )
    agent.set_logger(logger)
    interruption = Interruption()
    checkpoint = CheckpointEvery(run.checkpoint, recording.checkpoint_interval, progress, interruption)
    callbacks = [CollapseMonitor(), *([] if quiet else [TrainingProgress(total)]), checkpoint]
    if recording.video_every:
        from jepa_rl.scripts.video import FilmEvery

        callbacks.append(FilmEvery(run, recording.video_every))
    try:
        with interruption:
            agent.learn(
                total - agent.num_timesteps,
                callback=callbacks,
                log_interval=recording.log_interval,
                reset_num_timesteps=False,
            )
    except (Exception, SystemExit) as error:  # an environment may call sys.exit
        try:
            checkpoint.save(agent)
            end = _saved(run, agent)
        except Exception as failure:  # whatever it is, it must not hide what stopped the run
            end = f"and the run could not be saved: {failure}"
        raise RunStoppedError(f"{_told(error)}\n{end}") from error
    finally:
        logger.close()
    if interruption.asked and agent.num_timesteps < total:
        raise KeyboardInterrupt(f"interrupted; {_saved(run, agent)}")
    checkpoint.save(agent)
    complete = f"training is complete and saved; to evaluate it: jepa-rl resume {run.path}"
    try:
        finish(run, agent, quiet=quiet)
    except (Exception, SystemExit) as error:
        raise RunStoppedError(f"{_told(error)}\n{complete}") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {complete}") from None


def _saved(run: RunFolder, agent: JEPAAgent) -> str:
    return f"the run was saved at step {agent.num_timesteps}; go on with: jepa-rl resume {run.path}"


def _told(error: BaseException) -> str:
    """What went wrong, where the exception was raised, and what was noted on its way."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"in {last.filename}, line {last.lineno}, {last.name}"
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", []), place])


def finish(run: RunFolder, agent: JEPAAgent, *, quiet: bool) -> None:
    """Evaluate the final weights on held-out seeds and write result.json."""
    config = run.config()
    factory, began = config.factory(), time.perf_counter()
    found = evaluate_agent(agent, factory, episodes=config.recording.episodes, seed=0, progress=not quiet)
    held = heldout_latents(agent, factory, HELDOUT_IMAGES, seed=0)
    if held is not None:
        representation = representation_figures(held)
    else:
        stored = agent.replay.sample(1_000, 1, agent.streams.replay).observation[:, 0].numpy()
        representation = {"effective_rank": diagnostics.effective_rank(agent.encode(stored))}
    evaluation_seconds = time.perf_counter() - began
    result = {
        "preset": config.preset,
        "env_id": config.env_id,
        "env": config.env,
        "seed": config.seed,
        "env_steps": agent.num_timesteps,
        "updates": agent._n_updates,
        "wall_seconds": agent.wall_seconds,
        "updates_per_second": agent._n_updates / agent.wall_seconds,
        "evaluation_seconds": evaluation_seconds,
        "peak_rss_mb": peak_rss_mb(),
        **dataclasses.asdict(found),
        **representation,
        # The last act: it takes real gradient steps.
        "update_over_bare": measure_update(agent).ratio,
    }
    run.write_result(result)
    if not quiet:
        rows = table(found) | {name.replace("_", " "): f"{value:.3f}" for name, value in representation.items()}
        rows["training"] = (
            f"{result['updates']} updates in {agent.wall_seconds:.0f} s, {agent.num_timesteps} environment steps"
        )
        rows["update"] = f"{result['update_over_bare']:.2f} x the bare forward and backward pass of its networks"
        print("\n".join(f"{name:<16}  {value}" for name, value in rows.items()))
        print(f"\nrun folder: {run.path}")
