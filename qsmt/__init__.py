"""qsmt: proves how far a quantized neural network can be from its float original, or breaks the bound."""

__all__: list[str] = []
