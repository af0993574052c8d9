"""What JEPA and MAE make of distractors, and what the deep linear theory of arXiv:2407.03475 expects."""
