"""What ``jepa-rl report`` is made of: measuring, drawing, and the page."""
