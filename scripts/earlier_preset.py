"""The ``minigrid`` preset as it was while its values counted rewards alone, for studies that were measured then."""

BEFORE_NOVELTY = (
    *("--model.value.novelty", "0", "--exploration.epsilon-start", "0.8"),
    *("--replay.prioritised-fraction", "0.25"),
)
"""Options on top of the preset."""

BEFORE_NOVELTY_NOTE = (
    f"The `minigrid` preset here is that of before its values counted what is new (`{' '.join(BEFORE_NOVELTY)}`); the runs "
    "have not been repeated with what it has now."
)
