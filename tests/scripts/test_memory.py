"""The peak of memory: of this process, since it was last forgotten."""

import subprocess
import sys

import numpy as np

from jepa_rl.scripts.memory import forget_peak_memory, peak_rss_mb

MEASURE = "from jepa_rl.scripts.memory import peak_rss_mb; print(peak_rss_mb())"


def test_a_peak_that_is_over_is_forgotten():
    forget_peak_memory()  # that of the tests before this one
    before = peak_rss_mb()
    large = np.ones(40_000_000)
    assert peak_rss_mb() > before + 250
    del large
    forget_peak_memory()
    assert peak_rss_mb() < before + 250


def test_a_process_does_not_begin_with_the_peak_of_the_one_that_started_it():
    large = np.ones(80_000_000)
    child = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    assert float(child.stdout) < large.nbytes / 1e6
