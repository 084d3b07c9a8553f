"""Decides problems: the stages, in the order of `check.py`."""
