"""The anchors benchmark: one agent whose encoder is trained by different losses, on tasks whose exact tables are known."""
