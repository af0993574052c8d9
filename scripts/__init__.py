"""The command line: ``jepa-rl NAME`` runs the module of that name."""
