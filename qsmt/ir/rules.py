"""One table per consumer: op type -> rule. The tables generate the conformance matrix and the docs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from qsmt.errors import UnsupportedOp
from qsmt.ir.ops import Op

R = TypeVar("R")


class Rules(Generic[R]):
    """The rules of one consumer (an interpreter, an abstract domain, an encoding)."""

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer
        self._table: dict[type[Op], R] = {}

    def register(self, *ops: type[Op]) -> Callable[[R], R]:
        """Decorator: this rule is for these ops."""

        def add(rule: R) -> R:
            for op in ops:
                if op in self._table:
                    raise ValueError(f"{self.consumer}: {op.__name__} registered twice")
                self._table[op] = rule
            return rule

        return add

    def __getitem__(self, op: type[Op]) -> R:
        try:
            return self._table[op]
        except KeyError:
            raise UnsupportedOp(f"has no rule for {op.__name__}", where=self.consumer) from None

    @property
    def supported(self) -> frozenset[type[Op]]:
        return frozenset(self._table)
