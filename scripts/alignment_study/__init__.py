"""Which auxiliary tasks help the latent dynamics, which harm, and whether the angle of their gradients foretells it."""
