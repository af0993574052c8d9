"""The SB3 benchmark: what the encoder, its co-training and the imagined environment buy Stable-Baselines3's PPO."""
