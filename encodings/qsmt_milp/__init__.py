"""The mixed-integer linear encoding of qsmt, with HiGHS and Gurobi behind it."""

from qsmt_milp.encoding import MilpEncoding

__all__ = ["MilpEncoding"]
