"""One cell of the counting study: train, then measure the final weights on images that training never saw."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from jepa_rl.agent import AgentConfig, JEPAAgent, preset
from jepa_rl.agent.config import from_dict
from jepa_rl.envs.make import make_env
from jepa_rl.envs.tabular import counting_table
from jepa_rl.scripts.counting_study.factors import counting_images, decoder_errors, kmeans_classes, probe_factors
from jepa_rl.scripts.counting_study.rows import DRAWN_SEED, Row, row
from jepa_rl.scripts.evaluate import HELDOUT_SEED, evaluate_agent
from jepa_rl.scripts.grid import Cell
from jepa_rl.scripts.trained_agents import kept_or_trained, latents_of
from jepa_rl.world_model import Batch, diagnostics, loss_terms
from jepa_rl.world_model.alignment import gradient_alignment
from jepa_rl.world_model.bisimulation import refine
from jepa_rl.world_model.certificate import certify
from jepa_rl.world_model.heads import expectation, loss_floor
from jepa_rl.world_model.losses import lambda_return, latent_variance

Factory = functools.partial[gym.Env[Any, Any]]

EPISODES = 200
IMAGES = 2_000
WINDOWS = 1_000  # held-out transitions, for the losses and the certificate
IN_SAMPLE = 256  # encodings of the reference's accuracy, which are both fitted and scored
LOOKS = 16  # at the gradients, evenly spaced over the logarithm of the updates
LOOK_WINDOWS = 256  # a training batch's gradients point anywhere
DRAWN = 600  # latents kept for the figures


def train_and_measure(cell: Cell, out: Path) -> dict[str, Any]:
    """Train the cell's agent, keep it in ``out``/agents, and return every figure of the study.

    An agent that is kept there is measured without being trained again. What drawings need goes to ``out``/drawings.
    """
    chosen = row(cell["row"])
    factory = functools.partial(make_env, preset("counting").env_id, cell["env"])
    agent = _trained(cell, factory, chosen, out / "agents" / f"{cell['name']}-seed{cell['seed']}.zip")
    seed = 2 * HELDOUT_SEED + cell["seed"]
    images = counting_images(factory, IMAGES, seed=seed)
    more = counting_images(factory, IMAGES, seed=seed + HELDOUT_SEED)
    latent, latent_more = latents_of(agent, images.observation), latents_of(agent, more.observation)
    decoded = decoder_errors(latent_more, more, latent, images, seed=cell["seed"])
    held = heldout_windows(factory, WINDOWS, seed)
    first, following = (torch.as_tensor(latents_of(agent, part.numpy())) for part in held.batch.observation.unbind(1))
    if cell["seed"] == DRAWN_SEED:
        np.savez_compressed(
            out / "drawings" / f"{cell['name']}.npz",
            latent=_principal(latent)[:DRAWN].astype(np.float32),
            count=images.count[:DRAWN],
            observation=decoded.observation,
            reconstruction=decoded.reconstruction,
        )
    return {
        "updates": agent._n_updates,
        "env_steps": agent.num_timesteps,
        "train_seconds": agent.wall_seconds,
        "success": evaluate_agent(agent, factory, episodes=EPISODES, seed=0).success_rate,
        **_clusters(latent, images.count, chosen, factory),
        **_distances(latent, images.count),
        **_losses(agent, held.batch, first, following, chosen),
        "certificate": _certificate(agent, factory, held, first, following),
        "probes": {name: dataclasses.asdict(probe) for name, probe in probe_factors(latent, images, cell["seed"]).items()},
        "decoder": decoded.errors,
        "alignment": agent.attachments["alignment"],
    }


def _trained(cell: Cell, factory: Factory, chosen: Row, kept: Path) -> JEPAAgent:
    config = from_dict(AgentConfig, cell["agent"])
    return kept_or_trained(cell, kept, lambda: _train(config, cell, factory, chosen))


def _train(config: AgentConfig, cell: Cell, factory: Factory, chosen: Row) -> JEPAAgent:
    steps = cell["steps"]
    look = AlignmentProbe(chosen.auxiliary, updates=int(steps * config.training.updates_per_step))
    agent = JEPAAgent(config, factory, seed=cell["seed"], device="cpu")
    if cell["first_half"] is None:
        agent.learn(steps, callback=look)
    else:
        first = JEPAAgent(from_dict(AgentConfig, cell["first_half"]), factory, seed=cell["seed"], device="cpu")
        first.learn(steps // 2, callback=look)
        agent.model.load_state_dict(first.model.state_dict())
        agent.learn(steps - steps // 2)
    agent.attachments["alignment"] = look.looks
    return agent


class AlignmentProbe(BaseCallback):
    """Compares the encoder's gradients of L_dyn and L_p a few times during training, without touching the run."""

    def __init__(self, auxiliary: str, updates: int) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.due = sorted({int(update) for update in np.geomspace(1, updates, LOOKS)})
        self.looks: list[dict[str, float]] = []

    def _on_step(self) -> bool:
        agent = self.model
        assert isinstance(agent, JEPAAgent)
        if self.due and agent._n_updates >= self.due[0]:
            self.due = [update for update in self.due if update > agent._n_updates]
            training = agent.config.training
            rng = np.random.default_rng((agent.seed or 0, agent._n_updates))
            found = gradient_alignment(
                agent.model,
                agent.learner.ema,
                agent.replay.sample(LOOK_WINDOWS, training.transitions, rng),
                agent.config.model,
                self.auxiliary,
                discount=agent.config.discount,
                generator=torch.Generator().manual_seed(agent._n_updates),
            )
            self.looks.append({"update": agent._n_updates, "windows": LOOK_WINDOWS, **dataclasses.asdict(found)})
        return True


def _principal(latent: np.ndarray) -> np.ndarray:
    """The latents in their first two principal directions."""
    centred = latent - latent.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


def predicted_classes(chosen: Row, factory: Factory) -> np.ndarray | None:
    """The class of each count that the row's label and dynamics force apart, int[9]; None where p is not of the count."""
    if chosen.label == "pixels":
        return None
    table = counting_table(factory())
    label = np.zeros(len(table.label)) if chosen.label == "constant" else table.label
    return refine(table.transition, label, action_labels=chosen.action_labels).classes


def _clusters(latent: np.ndarray, count: np.ndarray, chosen: Row, factory: Factory) -> dict[str, Any]:
    mirrored = np.abs(count - 4)
    found: dict[str, Any] = {
        "accuracy": diagnostics.heldout_accuracy(latent, count),
        "accuracy_mirrored": diagnostics.heldout_accuracy(latent, count, merged=np.abs(np.arange(9) - 4)),
        "accuracy_in_sample": _in_sample_accuracy(latent[:IN_SAMPLE], count[:IN_SAMPLE]),
        "ari": diagnostics.cluster_agreement(latent, count, 9),
        "ari_mirrored": diagnostics.cluster_agreement(latent, mirrored, 5),
        "clusters_found": kmeans_classes(latent, seed=0),
        "separation": diagnostics.separation(latent, count),
        "effective_rank": diagnostics.effective_rank(latent),
        "rankme": diagnostics.rankme(latent),
    }
    predicted = predicted_classes(chosen, factory)
    if predicted is not None:
        found["predicted_classes"] = int(predicted.max()) + 1
        found["ari_predicted"] = diagnostics.cluster_agreement(latent, predicted[count], found["predicted_classes"])
    return found


def _in_sample_accuracy(latent: np.ndarray, count: np.ndarray) -> float:
    """The reference's figure: the same encodings make the centroids and are classified by them."""
    classes, centre = diagnostics.centroids(latent, count)
    nearest = ((latent[:, None] - centre) ** 2).sum(-1).argmin(1)
    return float((classes[nearest] == count).mean())


def _distances(latent: np.ndarray, count: np.ndarray) -> dict[str, Any]:
    """Distances between the nine centroids, and the mean distance of a latent to its own."""
    _, centre = diagnostics.centroids(latent, count)
    radius = np.linalg.norm(latent - centre[count], axis=1).mean()
    between = np.linalg.norm(centre[:, None] - centre, axis=-1)
    return {"centroid_distance": between.tolist(), "radius": float(radius)}


@torch.no_grad()
def _losses(agent: JEPAAgent, batch: Batch, latent: Tensor, following: Tensor, chosen: Row) -> dict[str, Any]:
    """One-step L_dyn over the variance of the latents, and L_p beside the least that any head could reach."""
    config = dataclasses.replace(agent.config.model, imagined_heads=False)
    generator = torch.Generator().manual_seed(0)
    terms = loss_terms(agent.model, agent.learner.ema, batch, config, discount=agent.config.discount, generator=generator)
    variance = latent_variance(latent, torch.ones(len(latent), dtype=torch.bool)).item()
    # Against the encoder itself, whatever the row's target branch was.
    one_step = (agent.model.predict(latent, batch.action[:, 0]) - following).square().mean().item()
    return {
        "latent_variance": variance,
        "dynamics_loss": one_step,
        "dynamics_loss_over_variance": one_step / variance if variance else None,
        "auxiliary_loss": terms[chosen.auxiliary].item(),
        "auxiliary_floor": _auxiliary_floor(agent, batch, following, chosen),
    }


def _auxiliary_floor(agent: JEPAAgent, batch: Batch, following: Tensor, chosen: Row) -> float:
    """The L_p of a head that knows p exactly: cross-entropies of soft labels have a floor above 0."""
    model = agent.config.model
    if chosen.auxiliary == "reward":
        seen = batch.labelled & (batch.acted if model.reward.labels == "acted" else batch.valid)
        return loss_floor(batch.label[seen], model.reward.likelihood).mean().item()
    if chosen.auxiliary == "value":
        assert agent.learner.ema is not None
        bootstrap = agent.learner.ema.value(following)[:, None]
        target = lambda_return(batch.reward, batch.terminated, batch.alive, bootstrap, agent.config.discount, 1.0)
        return loss_floor(target.clamp(0, 1), model.value.likelihood).mean().item()
    for task in model.auxiliaries:
        if task.target == chosen.auxiliary == "shuffled_reward":
            return loss_floor(batch.label.mean(), task.number_likelihood).item()
    return 0.0


def _certificate(
    agent: JEPAAgent, factory: Factory, held: HeldoutWindows, latent: Tensor, following: Tensor
) -> dict[str, Any]:
    """The theorem's bound beside the measured distances, always in terms of the environment's reward."""
    table = counting_table(factory())
    model, reward = agent.model, agent.config.model.reward
    found = certify(
        latent=latent,
        state=held.count,
        action=held.batch.action[:, 0],
        next_latent=following,
        label=held.batch.label[:, 0].numpy(),
        transition=table.transition,
        state_label=table.label,
        predict=model.predict,
        read=lambda z: expectation(model.heads["reward"](z), reward.likelihood),
    )
    return dataclasses.asdict(found)


@dataclass(frozen=True, kw_only=True)
class HeldoutWindows:
    """First transitions of held-out episodes, under uniform actions."""

    batch: Batch  # of single transitions, T = 1
    count: np.ndarray  # int[N], of the first observations


def heldout_windows(factory: Factory, number: int, seed: int) -> HeldoutWindows:
    """Counts and actions are uniform and independent, so that every transition of the table occurs."""
    env = factory()
    rng = np.random.default_rng(seed)
    action = rng.integers(2, size=number)
    rows: list[tuple[np.ndarray, np.ndarray, float, bool, float, int]] = []
    for index in range(number):
        first, info = env.reset(seed=seed if index == 0 else None)
        count = info["count"]
        then, reward, terminated, _, info = env.step(int(action[index]))
        rows.append((first, then, float(reward), terminated, float(info["auxiliary"]), count))
    env.close()
    firsts, thens, rewards, ends, labels, counts = zip(*rows, strict=True)
    reward_tensor = torch.tensor(rewards)[:, None]
    batch = Batch(
        observation=torch.as_tensor(np.stack([np.stack(firsts), np.stack(thens)], axis=1)),
        action=torch.as_tensor(action)[:, None],
        reward=reward_tensor,
        terminated=torch.tensor(ends)[:, None],
        alive=torch.ones(number, 1, dtype=torch.bool),
        label=torch.cat([torch.tensor(labels)[:, None], reward_tensor], dim=1),
        labelled=torch.ones(number, 2, dtype=torch.bool),
        outcome=torch.full((number, 1), -torch.inf),
    )
    return HeldoutWindows(batch=batch, count=np.array(counts))
