"""The bit-vector encoding: exact formulas in QF_BV, built with pysmt, decided by bitwuzla, z3 or cvc5."""

from qsmt_bitvector.encoding import BitVectorEncoding

__all__ = ["BitVectorEncoding"]
