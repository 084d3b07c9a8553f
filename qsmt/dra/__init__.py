"""Differential reachability analysis: bounds of two networks and of their difference."""
