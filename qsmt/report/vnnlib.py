"""The answer to a VNN-LIB query, as the standard has it (section 5.3.1), and VNN-COMP for files of version 1.0.

Inputs are printed exactly: a decimal that a witness was replayed at, not one near it. Outputs are the nearest doubles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

from qsmt.engine.vnnlib import Answer, Found
from qsmt.frontend.onnx_assignment import tensor_bytes
from qsmt.frontend.vnnlib_query import QueryFile, Tensor

MAX_DIGITS = 1200


def render(file: QueryFile, found: Found, *, assignment: bool = True) -> str:
    """The first line, and the assignment behind `sat` if it is wanted."""
    lines = [found.answer.value]
    if assignment and found.answer is Answer.SAT and found.inputs is not None:
        lines += _pairs(found) if file.version == 1 else _blocks(file, found)
    return "".join(f"{line}\n" for line in lines)


def serialised(file: QueryFile, found: Found) -> dict[str, bytes]:
    """Each variable of the assignment by file name, as a serialised ONNX tensor of the declared type and shape."""
    if found.inputs is None:
        return {}
    made = dict[str, bytes]()
    for network, outputs in zip(file.networks, found.outputs, strict=True):
        for tensor, values in ((network.input, found.inputs), (network.output, outputs)):
            made[f"{tensor.name}.pb"] = tensor_bytes(tensor, values)
    return made


def _blocks(file: QueryFile, found: Found) -> Iterator[str]:
    """Name, type and shape of each variable as declared, then its values, row by row."""
    assert found.inputs is not None
    for network, outputs in zip(file.networks, found.outputs, strict=True):
        yield _header(network.input)
        yield from map(decimal, found.inputs)
        yield _header(network.output)
        yield from (repr(float(v)) for v in outputs)


def _header(tensor: Tensor) -> str:
    return f"{tensor.name} {tensor.element} [{','.join(map(str, tensor.shape))}]"


def _pairs(found: Found) -> list[str]:
    assert found.inputs is not None
    values = [f"(X_{i} {decimal(v)})" for i, v in enumerate(found.inputs)]
    values += [f"(Y_{i} {float(v)!r})" for i, v in enumerate(found.outputs[0])]
    return _bracketed(values)


def _bracketed(values: Sequence[str]) -> list[str]:
    lines = [f" {value}" for value in values]
    lines[0] = f"({values[0]}"
    lines[-1] += ")"
    return lines


def decimal(value: Fraction) -> str:
    """The number itself, if it is a decimal that can be written down; else the nearest double."""
    with localcontext() as context:
        context.prec = MAX_DIGITS
        quotient = Decimal(value.numerator) / Decimal(value.denominator)
        text = format(quotient, "f")
    if Fraction(text) != value:
        return repr(float(value))
    return text if "." in text else f"{text}.0"
