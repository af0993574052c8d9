"""The MiniGrid benchmark: our agent, PPO and n-step DQN in one harness; resumable, with raw curves and a page."""
