"""Renders what was found: one renderer per module."""
