"""Encode an observation, plan, imagine what the plan leads to, and compare with what the environment does.

python examples/plan_by_hand.py --timesteps 20000
"""

import gymnasium as gym
import torch
import tyro

import jepa_rl.envs  # noqa: F401  # registers jepa_rl/Counting-v0
from jepa_rl.agent import JEPAAgent


@torch.no_grad()
def compare(agent: JEPAAgent, env_id: str, seed: int) -> None:
    env, model = gym.make(env_id), agent.acting_model  # the weights that plans are made with, which need not be the trained
    observation, _ = env.reset(seed=seed)
    plan = agent.plan(observation[None], generator=torch.Generator(agent.device).manual_seed(seed))
    real = latent = model.encode(torch.as_tensor(observation[None], device=agent.device))
    print(f"expected return of the plan: {plan.value.item():.3f}")
    for step, action in enumerate(plan.actions.unbind(1)):
        latent, reward, continuation = model.step(latent, action)
        taken = agent.action_adapter.to_env(action.cpu().numpy())[0]
        observation, paid, terminated, truncated, _ = env.step(taken)
        before, real = real, model.encode(torch.as_tensor(observation[None], device=agent.device))
        print(
            f"step {step}  action {taken}  reward {reward.item():.2f} imagined, {paid:.2f} paid  "
            f"end {1 - continuation.item():.2f} imagined, {float(terminated):.0f} seen  "
            f"latent off by {(latent - real).norm():.2f}, moved by {(real - before).norm():.2f}"
        )
        if terminated or truncated:
            break


def main(env_id: str = "jepa_rl/Counting-v0", preset: str = "counting", timesteps: int = 20_000, seed: int = 0) -> None:
    compare(JEPAAgent(preset, env_id, seed=seed).learn(timesteps, progress_bar=True), env_id, seed)


if __name__ == "__main__":
    tyro.cli(main)
