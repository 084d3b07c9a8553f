"""Exact numbers: formats, roundings, requantization, and the outward rounding of floats."""
