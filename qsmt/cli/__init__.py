"""The command line: one command per module, and no logic."""
