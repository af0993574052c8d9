"""The JEPA world model: encoder, latent dynamics, auxiliary heads, their losses, and what can be said of its latents."""

from jepa_rl.world_model.alignment import encoder_pulls
from jepa_rl.world_model.batch import Batch
from jepa_rl.world_model.bisimulation import empirical_relation, refine, separation_depth
from jepa_rl.world_model.build import build_world_model
from jepa_rl.world_model.certificate import certify
from jepa_rl.world_model.config import DynamicsConfig, ModelConfig, RegularizerConfig
from jepa_rl.world_model.encoder_config import EncoderConfig, MaskedConfig, PatchConfig
from jepa_rl.world_model.merging import Pairs
from jepa_rl.world_model.model import WorldModel
from jepa_rl.world_model.objective import loss_terms, loss_weights
from jepa_rl.world_model.own_encoders import register_encoder
from jepa_rl.world_model.spec import ObservationSpec
from jepa_rl.world_model.targets import register_auxiliary
from jepa_rl.world_model.task_config import (
    AuxiliaryConfig,
    PolicyConfig,
    RewardConfig,
    TaskConfig,
    TerminationConfig,
    ValueConfig,
)

__all__ = [
    "AuxiliaryConfig",
    "Batch",
    "DynamicsConfig",
    "EncoderConfig",
    "MaskedConfig",
    "ModelConfig",
    "ObservationSpec",
    "Pairs",
    "PatchConfig",
    "PolicyConfig",
    "RegularizerConfig",
    "RewardConfig",
    "TaskConfig",
    "TerminationConfig",
    "ValueConfig",
    "WorldModel",
    "build_world_model",
    "certify",
    "empirical_relation",
    "encoder_pulls",
    "loss_terms",
    "loss_weights",
    "refine",
    "register_auxiliary",
    "register_encoder",
    "separation_depth",
]
