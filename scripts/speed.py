"""``jepa-rl speed``: the update against the bare forward and backward pass of the same networks, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from jepa_rl.agent import JEPAAgent
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.world_model import Batch, WorldModel
from jepa_rl.world_model.auxiliaries import AuxiliaryTask

ROUNDS = 15


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
        bare_forward(agent.model, batch).backward()
        agent.optimizer.zero_grad(set_to_none=True)

    update_seconds, bare_seconds = [], []
    for _ in range(ROUNDS):
        update_seconds.append(_seconds(lambda: agent.train(1)))
        bare_seconds.append(_seconds(bare))
    return UpdateSpeed(update_ms=1000 * statistics.median(update_seconds), bare_ms=1000 * statistics.median(bare_seconds))


def bare_forward(model: WorldModel, batch: Batch) -> torch.Tensor:
    """Every network once on the batch, summed to a number: encoder, dynamics over the window, heads on the latents.

    Masked prediction has the encoder read the batch a second time, as in the update.
    """
    encoded = model.encode(batch.observation.flatten(0, 1)).unflatten(0, batch.observation.shape[:2])
    imagined = model.rollout(encoded[:, 0], batch.action)
    total = encoded.mean() + imagined.mean()
    for name in ("reward", "termination"):
        if name in model.heads and (name != "reward" or model.reward_input == "observation"):
            total = total + model.heads[name](encoded).mean() + model.heads[name](imagined).mean()
    for head in model.heads.values():
        if isinstance(head, AuxiliaryTask):
            taken = model.actions(batch.action.flatten(0, 1)).unflatten(0, batch.alive.shape)
            continued = torch.cat([encoded[:, :1], imagined], dim=1)
            total = total + head(encoded, taken).mean() + head(continued, taken).mean()
    if "value" in model.heads:
        total = total + model.action_value_logits(encoded[:, :-1].flatten(0, 1), batch.action.flatten(0, 1)).mean()
    if model.policy is not None:
        total = total + model.policy.sample(encoded.flatten(0, 1), torch.Generator().manual_seed(0))[1].mean()
    if "masked" in model.heads:
        patches = model.encode_patches(batch.observation.flatten(0, 1))
        nothing_hidden = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
        total = total + model.heads["masked"](patches, nothing_hidden).mean()
    if "reward" in model.heads and model.reward_input == "transition":
        action = batch.action.flatten(0, 1)
        total = total + model.reward_logits(encoded[:, :-1].flatten(0, 1), action, imagined.flatten(0, 1)).mean()
    return total


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True, kw_only=True)
class SpeedArgs:
    """Time a run's update against the bare forward and backward pass of the same networks, alternating in one process."""

    run: tyro.conf.Positional[Path]
    """The run's folder; nothing in it is changed."""
    threads: int = 0
    """Threads of torch; 0 leaves its choice."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    args = tyro.cli(SpeedArgs, prog="jepa-rl speed", args=arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    agent = RunFolder.open(args.run).load_agent(env=True)
    found = measure_update(agent)
    print(f"update  {found.update_ms:.2f} ms\nbare    {found.bare_ms:.2f} ms\nratio   {found.ratio:.2f}")
