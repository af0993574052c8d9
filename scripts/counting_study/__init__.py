"""The counting study: what anchors a JEPA representation."""
