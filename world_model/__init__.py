"""The JEPA world model: encoder, latent dynamics, auxiliary heads, their losses, and what can be said of its latents."""

from jepa_rl.world_model.batch import Batch
from jepa_rl.world_model.config import (
    AuxiliaryConfig,
    DynamicsConfig,
    EncoderConfig,
    MaskedConfig,
    ModelConfig,
    PatchConfig,
    PlaceboConfig,
    RegularizerConfig,
    RewardConfig,
    TerminationConfig,
    ValueConfig,
)
from jepa_rl.world_model.model import ObservationSpec, WorldModel, build_world_model
from jepa_rl.world_model.objective import loss_terms, loss_weights

__all__ = [
    "AuxiliaryConfig",
    "Batch",
    "DynamicsConfig",
    "EncoderConfig",
    "MaskedConfig",
    "ModelConfig",
    "ObservationSpec",
    "PatchConfig",
    "PlaceboConfig",
    "RegularizerConfig",
    "RewardConfig",
    "TerminationConfig",
    "ValueConfig",
    "WorldModel",
    "build_world_model",
    "loss_terms",
    "loss_weights",
]
