"""The pieces benchmark: the minigrid preset with each of its pieces switched off once."""
