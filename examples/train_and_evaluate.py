"""Train an agent in a Gymnasium environment, evaluate it and keep it in a file.

python examples/train_and_evaluate.py --env-id CartPole-v1 --timesteps 20000
"""

import gymnasium as gym
import tyro
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import jepa_rl.envs  # noqa: F401  # registers jepa_rl/Counting-v0
from jepa_rl.agent import CollapseMonitor, JEPAAgent


def main(
    env_id: str = "CartPole-v1", preset: str = "control", timesteps: int = 20_000, seed: int = 0, out: str = "agent.zip"
) -> None:
    agent = JEPAAgent(preset, env_id, seed=seed)
    agent.learn(timesteps, callback=CollapseMonitor(), progress_bar=True)
    agent.save(out)

    trained = JEPAAgent.load(out)
    mean, std = evaluate_policy(trained, Monitor(gym.make(env_id)), n_eval_episodes=10)
    print(f"{env_id}: return {mean:.1f} +/- {std:.1f} after {trained.num_timesteps} steps; the agent is in {out}")


if __name__ == "__main__":
    tyro.cli(main)
