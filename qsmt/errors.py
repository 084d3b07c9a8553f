"""Every error qsmt raises on purpose. One line each: where, what, and what to do about it."""

from __future__ import annotations


class QsmtError(Exception):
    """The root of all errors that qsmt raises on purpose."""


class InputError(QsmtError):
    """The user's input cannot be used. The message is one line: `where: what; hint`."""

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        self.what = what
        self.where = where
        self.hint = hint
        place = f"{where}: " if where is not None else ""
        advice = f"; {hint}" if hint else ""
        super().__init__(" ".join(f"{place}{what}{advice}".split()))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (
            type(self),
            self.what,
            str(self.where) if self.where is not None else None,
            self.hint,
        )


def _rebuild(kind: type[InputError], what: str, where: str | None, hint: str | None) -> InputError:
    return kind(what, where=where, hint=hint)


class MalformedModel(InputError):
    """A network file that is damaged, contradicts itself, or holds values no network can have."""


class MalformedProblem(InputError):
    """A problem file or a flag that does not say what is to be decided."""


class UnsupportedOp(InputError):
    """A network uses an operator, or a form of one, that qsmt does not model."""


class BackendError(QsmtError):
    """A solver was asked for that is not there, or that cannot take this kind of query."""


class SoundnessError(QsmtError):
    """Two answers that must agree do not: one part of qsmt is wrong, so nothing it says may be trusted."""
