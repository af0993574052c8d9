"""What the experiments vary, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepa_rl.world_model.linear_flow import LinearProcess

FRACTION = 0.5  # p: a feature counts as learned when its weight is this share of its fixed point
COVARYING, INFLUENTIAL = (1.0, 0.4), (0.8, 1.0)  # (lambda, rho) of two features on which covariance and influence disagree
PANELS: dict[str, tuple[np.ndarray, np.ndarray]] = {  # (lambda, rho) of five features each, as in the paper's Figure 2
    "lambda varies": (np.linspace(0.6, 1, 5), np.ones(5)),
    "rho varies": (np.ones(5), np.array([0.4, 0.47, 0.57, 0.73, 1])),
    "lambda against rho": (np.linspace(0.88, 1, 5), np.array([1, 0.73, 0.57, 0.47, 0.4])),
}
PROCESSES = {
    "static": LinearProcess(kind="static", covariance=np.array([1, 0.8]), influence=np.array([0.4, 0.9])),
    "dynamic": LinearProcess(
        kind="dynamic", covariance=np.array([1, 0.8]), influence=np.array([0.4, 0.9]), persistence=0.95
    ),
}
DESCENT_DEPTH, DESCENT_SCALE = 3, 1e-2


@dataclass(frozen=True, kw_only=True)
class Study:
    """Sizes of the experiments; the defaults are the page's."""

    panel_depth: int = 5
    panel_scale: float = 1e-4
    time_depths: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    time_scales: int = 36  # initial scales from 1e-8 to 1e-1
    flow_depths: tuple[int, ...] = (1, 2, 3)
    map_depths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    map_scales: int = 97  # initial scales from 1e-9 to 1e-1
    descent_copies: int = 8
    descent_batches: tuple[int, ...] = (32, 256)
    descent_steps: int = 20_000  # of JEPA; MAE makes a tenth
    angles: tuple[int, ...] = (0, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180)  # degrees
    angle_depths: tuple[int, ...] = (2, 3)
    horizons: tuple[float, ...] = (1.5, 3, 6, 12, 24)  # tried in turn until an unaligned flow has learned both features


QUICK = Study(
    time_depths=(1, 2, 3),
    time_scales=8,
    flow_depths=(1, 2),
    map_depths=(1, 2, 3),
    map_scales=25,
    descent_copies=2,
    descent_batches=(16,),
    descent_steps=12_000,
    angles=(0, 60, 180),
    angle_depths=(2,),
    horizons=(1.5, 3),
)
