"""``jepa-rl paper masked``: what masked latent prediction keeps, whether it helps control, what an auxiliary repairs."""
