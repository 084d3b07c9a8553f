"""The bit-vector encoding: exact formulas in QF_BV, built with pysmt, decided by bitwuzla or z3."""

from qsmt_bitvector.encoding import BitVectorEncoding

__all__ = ["BitVectorEncoding"]
