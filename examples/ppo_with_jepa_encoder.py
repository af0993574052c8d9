"""PPO whose encoder is a world model's, trained by PPO's losses and by the world model's beside them.

python examples/ppo_with_jepa_encoder.py --env-id CartPole-v1 --timesteps 50000
"""

import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from jepa_rl.agent import JEPAAuxiliaryCallback, JEPAFeaturesExtractor, TrainingConfig
from jepa_rl.world_model import EncoderConfig, ModelConfig


def main(env_id: str = "CartPole-v1", timesteps: int = 50_000, seed: int = 0) -> None:
    config = ModelConfig(latent_dim=64, encoder=EncoderConfig(hidden=(64,)))
    ppo = PPO(
        "MlpPolicy",
        make_vec_env(env_id, n_envs=4, seed=seed),
        n_steps=128,
        policy_kwargs={
            "features_extractor_class": JEPAFeaturesExtractor,
            "features_extractor_kwargs": {"config": config},
        },
        seed=seed,
    )
    auxiliary = JEPAAuxiliaryCallback(training=TrainingConfig(starts=500, updates_per_step=0.1), seed=seed)
    ppo.learn(timesteps, callback=auxiliary, progress_bar=True)
    held_out = make_vec_env(env_id, seed=seed + 1_000_000)  # training has the seeds from ``seed`` on
    mean, std = evaluate_policy(ppo, held_out, n_eval_episodes=10)
    print(f"{env_id}: return {mean:.1f} +/- {std:.1f} after {auxiliary.updates} updates of the world model")


if __name__ == "__main__":
    tyro.cli(main)
