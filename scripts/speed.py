"""``jepa-rl speed``: an update against the bare forward and backward pass of the same networks, and a decision."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.world_model import Batch, WorldModel
from jepa_rl.world_model.auxiliaries import AuxiliaryTask

ROUNDS = 15
PLANNED = (1, 8)  # environments at a time
DECISIONS = 50  # in a row


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateSpeed:
    """Medians over alternating rounds."""

    update_ms: float
    bare_ms: float

    @property
    def ratio(self) -> float:
        """How many times the bare pass one update takes."""
        return self.update_ms / self.bare_ms


def measure_update(agent: JEPAAgent) -> UpdateSpeed:
    """Time the agent's update and the bare pass in turn. Takes real gradient steps: the agent is changed."""
    training = agent.config.training
    batch = agent.replay.sample(training.batch_size, training.transitions, agent.streams.replay).to(agent.device)

    def bare() -> None:
        bare_forward(agent.model, batch, imagined_heads=agent.config.model.imagined_heads).backward()
        agent.optimizer.zero_grad(set_to_none=True)

    update_seconds, bare_seconds = [], []
    for _ in range(ROUNDS):
        update_seconds.append(_seconds(lambda: agent.train(1), agent.device))
        bare_seconds.append(_seconds(bare, agent.device))
    return UpdateSpeed(update_ms=1000 * statistics.median(update_seconds), bare_ms=1000 * statistics.median(bare_seconds))


def measure_decision(agent: JEPAAgent, n_envs: int) -> float:
    """Median milliseconds in which the agent decides for ``n_envs`` environments, from observation to action.

    It acts along windows of the replay, so that what it remembers of the episodes grows as it does in them.
    """
    windows = agent.replay.sample(n_envs, DECISIONS, agent.streams.replay).observation.numpy()
    seconds, state, starts = [], None, np.zeros(n_envs, bool)
    for observation in np.moveaxis(windows, 1, 0):
        began = time.perf_counter()
        _, state = agent.predict(observation, state=state, episode_start=starts, deterministic=False)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


def bare_forward(model: WorldModel, batch: Batch, *, imagined_heads: bool) -> torch.Tensor:
    """Every trained network once on what an update shows it, summed to a number: encoder, dynamics over the window, heads.

    What an update does besides is no part of it: the EMA copy that makes the targets, losses, optimiser, replay. Masked
    prediction has the encoder read the batch a second time, as in the update.
    """
    encoded = model.encode(batch.observation.flatten(0, 1)).unflatten(0, batch.observation.shape[:2])
    imagined = model.rollout(encoded[:, 0], batch.action)
    total = encoded.mean() + imagined.mean()
    # Windows of encoded latents and their imagined counterparts, where the heads learn from both.
    views = torch.cat([encoded, torch.cat([encoded[:, :1], imagined], dim=1)]) if imagined_heads else encoded
    action = batch.action.repeat(len(views) // len(encoded), *[1] * (batch.action.ndim - 1))
    before, taken, after = views[:, :-1].flatten(0, 1), action.flatten(0, 1), views[:, 1:].flatten(0, 1)
    for name, head in model.heads.items():
        if isinstance(head, AuxiliaryTask):
            total = total + head(views, model.actions(taken).unflatten(0, action.shape[:2])).mean()
        elif name == "value":
            total = total + model.action_value_logits(before, taken).mean()
        elif name == "policy" and model.policy is not None:
            total = total + model.policy.sample(views.flatten(0, 1), torch.Generator().manual_seed(0))[1].mean()
        elif name == "termination":
            total = total + head(after).mean()
        elif name == "reward" and model.reward_input == "observation":
            total = total + head(views).mean()
        elif name == "reward":
            total = total + model.reward_logits(before, taken, after).mean()
    if "masked" in model.heads:
        patches = model.encode_patches(batch.observation.flatten(0, 1))
        nothing_hidden = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
        total = total + model.heads["masked"](patches, nothing_hidden).mean()
    return total


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)  # what is queued on a GPU has not been done yet
    return time.perf_counter() - began


@dataclass(frozen=True, kw_only=True)
class SpeedArgs:
    """Time a run's update against the bare forward and backward pass of the same networks, alternating in one process, and
    one planning decision for one environment and for eight.

    The update is all of it: drawing a batch, the losses, the optimiser, the EMA copy. The bare pass is what no update of
    these networks could do without: each of them once on the batch, and the gradient.

    Example: jepa-rl speed runs/demo --threads 1
    """

    run: tyro.conf.Positional[Path]
    """The run's folder; nothing in it is changed."""
    device: str = "auto"
    """auto takes a GPU where torch finds one; cpu, cuda."""
    threads: int = 0
    """Threads of torch; 0 leaves its choice."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(SpeedArgs, prog="jepa-rl speed", args=arguments)
    if args.threads < 0:
        raise ValueError(f"--threads must be at least 0, got {args.threads}")
    if args.threads:
        torch.set_num_threads(args.threads)
    agent = RunFolder.open(args.run).load_agent(env=True, device=args.device)
    found = measure_update(agent)
    print(f"update    {found.update_ms:.2f} ms\nbare      {found.bare_ms:.2f} ms\nratio     {found.ratio:.2f}")
    for n_envs in PLANNED:
        print(f"decision  {measure_decision(agent, n_envs):.2f} ms for {n_envs} environment{'s' if n_envs > 1 else ''}")
