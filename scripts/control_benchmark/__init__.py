"""The control benchmark: our agent, SAC, PPO and DQN on classic control, Box2D and MuJoCo; resumable, with a page."""
