"""Pairs of observations refuse what would pass for "nothing merged"."""

import numpy as np
import pytest

from jepa_rl.world_model.merging import Pairs

DEPTH = np.array([[-1, 0], [0, -1]])
LATENT, STATE = np.array([[0.0, 0.0], [0.0, 1.0], [5.0, 0.0]]), np.array([0, 0, 1])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"latent": np.full((3, 2), np.nan)}, FloatingPointError, "not finite"),
        ({"state": STATE[:2]}, ValueError, r"got \[3, 2\] and \[2\]"),
        ({"latent": LATENT[:1], "state": STATE[:1]}, ValueError, "latent .N > 1, D."),
        ({"state": np.array([0, 0, 2])}, ValueError, r"state must lie in 0\.\.1, got 0\.\.2"),
        ({"state": np.array([0, -1, 1])}, ValueError, r"state must lie in 0\.\.1, got -1\.\.1"),
        ({"depth": DEPTH[:1]}, ValueError, r"depth must be int\[S, S\], got \[1, 2\]"),
    ],
)
def test_pairs_refuse_data_that_do_not_fit(changed, error, message):
    fitting = {"latent": LATENT, "state": STATE, "depth": DEPTH}
    assert Pairs(**fitting).merged_states(0.1) == ()
    with pytest.raises(error, match=message):
        Pairs(**(fitting | changed))
