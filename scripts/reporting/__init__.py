"""What ``jepa-rl report`` is made of: measuring, drawing, and the page."""

try:
    import imageio  # noqa: F401
    import matplotlib  # noqa: F401
    import PIL  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("imageio", "matplotlib", "PIL"):
        raise
    raise ImportError("figures need matplotlib, imageio and pillow: pip install 'jepa-rl[report]'") from error
