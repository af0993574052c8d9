"""The agent: a world model trained online, a planner in its latent space, in Stable-Baselines3's shape."""

from jepa_rl.agent.checkpoint import CheckpointError
from jepa_rl.agent.config import AgentConfig, ExplorationConfig, ReplayConfig, TrainingConfig
from jepa_rl.agent.episodes import SeededEpisodes, vectorize
from jepa_rl.agent.jepa_agent import JEPAAgent
from jepa_rl.agent.latent_env import LatentEnv, LatentObservation
from jepa_rl.agent.monitor import CollapseMonitor
from jepa_rl.agent.presets import PRESETS, Preset, preset
from jepa_rl.agent.sb3 import JEPAFeaturesExtractor
from jepa_rl.agent.sb3_auxiliary import JEPAAuxiliaryCallback
from jepa_rl.world_model import AuxiliaryConfig, register_auxiliary, register_encoder

__all__ = [
    "PRESETS",
    "AgentConfig",
    "AuxiliaryConfig",
    "CheckpointError",
    "CollapseMonitor",
    "ExplorationConfig",
    "JEPAAgent",
    "JEPAAuxiliaryCallback",
    "JEPAFeaturesExtractor",
    "LatentEnv",
    "LatentObservation",
    "Preset",
    "ReplayConfig",
    "SeededEpisodes",
    "TrainingConfig",
    "preset",
    "register_auxiliary",
    "register_encoder",
    "vectorize",
]
