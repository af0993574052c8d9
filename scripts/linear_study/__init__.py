"""``jepa-rl paper linear``: experiments, figures and the page of deep linear JEPA and MAE."""
