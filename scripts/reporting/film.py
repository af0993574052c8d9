"""A GIF of an agent at work: what it sees, what it does, and the reward that it imagines along its plan."""

from __future__ import annotations

import enum
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jepa_rl.agent import JEPAAgent
from jepa_rl.agent.acting import state_after
from jepa_rl.envs.counting import CountingEnv
from jepa_rl.scripts.reporting.drawing import BLUE, GREY, INK, blank, tidy
from jepa_rl.scripts.reporting.imagination import imagined_rewards
from jepa_rl.scripts.reporting.page import Picture
from jepa_rl.scripts.reporting.views import View
from jepa_rl.scripts.run_folder import RunConfig

ENOUGH_FRAMES = 24  # another episode begins only below that
MOST_FRAMES = 48  # of one episode, its last aside
MOST_STEPS = 500  # of one episode
SIZE = (5.4, 3.0)  # inches
DPI = 100
PACE = 900, 200  # ms per frame, of short episodes and of long ones
SHORT = 8  # frames per episode
LETTERS = 24  # that stand side by side below the bars
COUNTING_ACTIONS = {"discrete2": ("remove", "add"), "discrete3": ("remove", "nothing", "add")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One moment: an image, what is happening, and the plan made there (none where the episode is over)."""

    image: np.ndarray  # uint8[H, W, C]
    title: str
    actions: Sequence[str]  # H names
    rewards: np.ndarray  # [H], expected


def play(agent: JEPAAgent, config: RunConfig, *, seed: int) -> list[Frame]:
    """Best-plan episodes from ``seed`` on, several where they are short.

    Raises NoPicturesError where the environment cannot be shown.
    """
    view = View(agent, config)
    generator = torch.Generator().manual_seed(seed)
    frames: list[Frame] = []
    episode = 0
    try:
        while len(frames) < ENOUGH_FRAMES:
            episode += 1
            frames += _episode(agent, view, generator, seed if episode == 1 else None, f"episode {episode}")
    finally:
        view.env.close()
    return frames


def still(agent: JEPAAgent, config: RunConfig, *, seed: int) -> np.ndarray:
    """The first picture uint8[H, W, C] that ``play`` would show; NoPicturesError as there."""
    view = View(agent, config)
    try:
        return view.picture(view.env.reset(seed=seed)[0])
    finally:
        view.env.close()


def _episode(agent: JEPAAgent, view: View, generator: torch.Generator, seed: int | None, title: str) -> list[Frame]:
    """One episode; of a long one every second moment, or fourth, and so on, so that its end is always there."""
    env, names = view.env, action_names(view.env)
    observation, info = env.reset(seed=seed)
    frames: list[Frame] = []
    total, state, ended, every = 0.0, None, False, 1
    for step in range(MOST_STEPS):
        packed = agent.observation_adapter.pack(observation)[None]
        memories = agent.recall(packed, state, np.array([step > 0]))
        previous = None if state is None else state[0]
        plan = agent.plan(packed, generator=generator, previous=previous, memories=memories)
        state = state_after(plan, memories)
        if step % every == 0:
            actions = agent.action_adapter.to_env(state[0][0])
            with torch.no_grad():
                latent = agent.acting_model.encode(torch.as_tensor(packed, device=agent.device))[0]
            frames.append(
                Frame(
                    image=view.picture(observation),
                    title=f"{title} · step {step}{_count(info)}",
                    actions=[name_action(action, names) for action in actions],
                    rewards=imagined_rewards(agent.acting_model, latent, plan.actions[0]),
                )
            )
        if len(frames) > MOST_FRAMES:
            frames, every = frames[::2], 2 * every
        observation, reward, terminated, truncated, info = env.step(agent.action_adapter.to_env(state[0][:, 0])[0])
        total += float(reward)
        ended = terminated or truncated
        if ended:
            break
    last = f"{title} · step {step + 1}, {_outcome(info) if ended else 'goes on'}, return {total:.4g}{_count(info)}"
    return [*frames, Frame(image=view.picture(observation), title=last, actions=(), rewards=np.zeros(0))]


def _outcome(info: dict[str, Any]) -> str:
    if "is_success" not in info:
        return "over"
    return "success" if info["is_success"] else "no success"


def _count(info: dict[str, Any]) -> str:
    return f" · count {info['count']}" if "count" in info else ""


def action_names(env: gym.Env[Any, Any]) -> dict[int, str]:
    """What the environment calls its numbered actions, as far as that is known."""
    base = env.unwrapped
    if isinstance(base, CountingEnv):
        return dict(enumerate(COUNTING_ACTIONS.get(base.action_mode, ())))
    listed = getattr(base, "actions", None)
    if isinstance(listed, type) and issubclass(listed, enum.IntEnum):
        return {int(action): action.name for action in listed}
    return {}


def name_action(action: np.ndarray, names: Mapping[int, str]) -> str:
    """One of the environment's actions in a few letters."""
    parts = np.asarray(action).reshape(-1)
    if len(parts) == 1 and parts[0] in names:
        return names[parts[0]]
    if len(parts) > 2:
        return ""
    return ", ".join(f"{part:.1f}" if parts.dtype.kind == "f" else str(part) for part in parts)


def film(frames: Sequence[Frame]) -> Picture:
    """Draw the frames, observations enlarged, at the pace of a reader where the episodes are short."""
    rewards = np.concatenate([frame.rewards for frame in frames])
    limits = min(0.0, 1.1 * rewards.min()), max(1.05, 1.1 * rewards.max())
    horizon = max(len(frame.rewards) for frame in frames)
    drawn = [_draw(frame, horizon, limits) for frame in frames]
    episodes = sum(not len(frame.rewards) for frame in frames)
    slow, fast = PACE
    file = io.BytesIO()
    imageio.imwrite(file, drawn, extension=".gif", duration=slow if len(frames) < SHORT * episodes else fast, loop=0)
    alt = f"Animation of {len(frames)} moments: the observation at the left, bars of imagined reward at the right."
    return Picture(name="episode.gif", alt=alt, data=file.getvalue(), wide=True)


def _draw(frame: Frame, horizon: int, limits: tuple[float, float]) -> np.ndarray:
    figure = blank(SIZE, dpi=DPI, constrained=False)
    figure.text(0.03, 0.925, frame.title, fontsize=11, color=INK)
    seen = figure.add_axes((0.03, 0.05, 0.45, 0.82))
    image = frame.image.squeeze(-1) if frame.image.shape[-1] == 1 else frame.image
    seen.imshow(image, interpolation="nearest", cmap="gray", vmin=0, vmax=255)  # colours ignore the map
    seen.set_axis_off()
    bars = figure.add_axes((0.61, 0.28, 0.36, 0.49))
    tidy(bars)
    bars.set_title("imagined reward of the plan", fontsize=9.5, color=INK, loc="left")
    bars.set_ylabel("expected reward", fontsize=8.5, color=INK)
    bars.set_ylim(*limits)
    bars.set_xlim(-0.6, horizon - 0.4)
    long = max(map(len, frame.actions), default=0) * horizon > LETTERS
    bars.set_xticks(range(len(frame.actions)), frame.actions, rotation=35 if long else 0, fontsize=8.5)
    bars.grid(visible=False, axis="x")
    colours = [BLUE] + ["#a9c9e2"] * horizon
    bars.bar(range(len(frame.rewards)), frame.rewards, color=colours[: len(frame.rewards)], width=0.7)
    if frame.actions:
        bars.get_xticklabels()[0].set(color=BLUE, weight="bold")
    note = "blue: the action taken now" if len(frame.rewards) else "the last moment of the episode"
    figure.text(0.61, 0.03, note, fontsize=8.5, color=GREY)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
