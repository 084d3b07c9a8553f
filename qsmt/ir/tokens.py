"""The tokens of the IR's text, and the numbers and words among them."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NoReturn, TypeVar

from qsmt.errors import MalformedModel

T = TypeVar("T")

MAX_DIGITS = 2000
"""No token that is a number is longer: Python refuses to print integers of more than 4300 digits."""

_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"[^\"\n]*\")|(?P<name>[@%][\w.:/-]+)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<number>-?0x[01]\.?[0-9a-f]*p[+-]?\d+|-?\d+(?:/\d+)?)|(?P<mark>[{}\[\]<>:=,]))"
)


class Tokens:
    """A text that is read from left to right; `where` is said of it in errors."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._at, self._last = 0, 0  # where the next token is looked for, and where the last one began

    # --- numbers and words ---

    def _enum(self, kind: Callable[[str], T]) -> T:
        word = self._take("word")
        return self._checked(lambda: kind(word))

    def _checked(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except ValueError as error:
            self._fail(str(error))

    def _number(self) -> Fraction:
        token = self._take("number")
        if len(token) > MAX_DIGITS:
            self._fail(f"a number has at most {MAX_DIGITS} digits")
        if "x" in token:
            return self._hexadecimal(token)
        numerator, _, denominator = token.partition("/")
        if int(denominator or 1) == 0:
            self._fail(f"{token} is not a number")
        return Fraction(int(numerator), int(denominator or 1))

    def _hexadecimal(self, token: str) -> Fraction:
        """Exactly what a hexadecimal float spells, also where a double would round it."""
        digits, exponent = token.split("p")
        whole, _, places = digits.replace("0x", "").partition(".")
        if not -1100 <= int(exponent) <= 1100:
            self._fail(f"{token} is beyond the range of doubles")
        return int(whole + places, 16) * Fraction(2) ** (int(exponent) - 4 * len(places))

    def _integer(self) -> int:
        number = self._number()
        return int(number) if number.denominator == 1 else self._fail(f"{number} is not an integer")

    def _integers(self, count: int) -> list[int]:
        found = [self._integer()]
        while len(found) < count:
            self._expect(",")
            found.append(self._integer())
        return found

    def _double(self) -> float:
        number = self._number()
        try:
            exact = Fraction(float(number)) == number
        except OverflowError:
            exact = False
        return float(number) if exact else self._fail(f"{number} is not a double")

    # --- tokens ---

    def _list(self, item: Callable[[], T], end: str) -> list[T]:
        items: list[T] = []
        while not self._accept(end):
            if items:
                self._expect(",")
            items.append(item())
        return items

    def _name(self, sigil: str) -> str:
        token = self._take("name")
        return token[1:] if token[0] == sigil else self._fail(f"expected a name with {sigil}, not {token}")

    def _take(self, kind: str) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match[kind] is None:
            found = repr(match[0].strip()) if match else self._ahead()
            self._fail_next(f"expected a {kind}, not {found}")
        self._at, self._last = match.end(), match.start(kind)
        return match[kind]

    def _accept(self, token: str) -> bool:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match[0].strip() != token:
            return False
        self._at, self._last = match.end(), match.end() - len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            self._fail_next(f"expected {token!r} before {self._ahead()}")

    def _ahead(self) -> str:
        """What comes next, for an error message."""
        rest = self._text[self._at :].split(maxsplit=1)
        return repr(rest[0][:20]) if rest else "the end"

    def _end(self) -> None:
        if self._text[self._at :].strip():
            self._fail_next("there is text after the network")

    def _fail_next(self, what: str) -> NoReturn:
        """Of the token that comes next."""
        self._last = len(self._text) - len(self._text[self._at :].lstrip())
        self._fail(what)

    def _fail(self, what: str) -> NoReturn:
        """Of the last token that was read."""
        line = self._text.count("\n", 0, self._last) + 1
        raise MalformedModel(what, where=f"{self._where}, line {line}")
