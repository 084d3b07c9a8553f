"""The solvers behind the bit-vector encoding, one per module."""
