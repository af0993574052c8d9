"""``jepa-rl paper``: the experiments of the papers behind the project, each remade by one command."""

from __future__ import annotations

from collections.abc import Sequence

from jepa_rl.scripts.studies import run_study

STUDIES = {
    "alignment": ("alignment_study", "which auxiliary tasks help or harm, and whether the angle of gradients foretells it"),
    "counting": ("counting_study", "arXiv:2509.12249: what anchors a JEPA representation, on the counting environment"),
    "masked": ("masked_study", "arXiv:2301.08243: what masked latent prediction keeps, and what an auxiliary repairs"),
    "noise": ("noise_study", "arXiv:2407.03475, arXiv:2606.30068: who keeps signal, distractor and an exogenous bit"),
    "linear": ("linear_study", "arXiv:2407.03475: which features deep linear JEPA and MAE learn first"),
}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    run_study("paper", STUDIES, arguments)
