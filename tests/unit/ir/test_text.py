"""The textual form: what it looks like, what each construct means, and errors that name the line."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import RealTensor
from qsmt.arith.requantize import Rational, Shift
from qsmt.arith.rounding import Rounding
from qsmt.errors import MalformedModel
from qsmt.ir import text as module
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Relu, Requantize, Value
from qsmt.ir.text import parse, print_network
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real, TensorType

DEMO = """\
network @demo runtime "ideal" {
  const @w0 : [1, 2] fixed<s4, frac 2> = [3, -1]
  const @b0 : [1] fixed<s4, frac 2> = [0]
  %x : [2] fixed<s8, frac 5> = input
  %a0 : [1] acc<i14, scale 1/128, exact> = affine %x, @w0, @b0
  %h0 : [1] fixed<u4, frac 2> = requantize %a0 {shift 5, half_up, saturate}
}
"""

REAL = """\
network @n runtime "real" {
  const @w : [2, 1] real = [1, 1/3]
  const @b : [2] real = [0, 0]
  %x : [1] real = input
  %z : [2] real = affine %x, @w, @b
  %r : [2] real = relu %z
  %c : [2] real = clamp %r {none, 5/2}
}
"""


def test_the_example_of_the_documentation_is_what_it_says() -> None:
    assert module.__doc__ is not None
    assert "\n".join(f"    {line}" for line in DEMO.splitlines()) in module.__doc__


@pytest.mark.parametrize("text", [DEMO, REAL])
def test_a_printed_network_is_its_text(text: str) -> None:
    assert print_network(parse(text)) == text


def test_every_part_means_what_it_says() -> None:
    network = parse(DEMO)
    assert (network.name, network.runtime) == ("demo", "ideal")
    assert network.input == Value("x", TensorType((2,), Fixed(True, 8, 5)))
    affine, narrow = network.ops
    assert isinstance(affine, Affine)
    assert affine.out.type.element == Accumulator(14, Fraction(1, 128), AccumulatorOverflow.EXACT)
    assert affine.weight.codes.tolist() == [[3, -1]]
    out = Value("h0", TensorType((1,), Fixed(False, 4, 2)))
    assert narrow == Requantize(out, affine.out, Shift(5, Rounding.HALF_UP), Overflow.SATURATE)


def test_real_ops_mean_what_they_say() -> None:
    affine, relu, clamp = parse(REAL).ops
    assert isinstance(affine, Affine)
    assert affine.weight.reals.fractions.tolist() == [[1], [Fraction(1, 3)]]
    assert relu == Relu(Value("r", affine.out.type), affine.out)
    assert clamp == Clamp(Value("c", affine.out.type), relu.out, None, Fraction(5, 2))


def test_a_rational_requantization_is_read() -> None:
    text = DEMO.replace("scale 1/128", "scale 1/384").replace("i14", "i16")
    text = text.replace("{shift 5, half_up, saturate}", "{rational 1/96, half_even, wrap}")
    op = parse(text).ops[-1]
    assert isinstance(op, Requantize)
    assert (op.kind, op.overflow) == (Rational(Fraction(1, 96), Rounding.HALF_EVEN), Overflow.WRAP)


def with_weights(*numbers: str) -> Network:
    return parse(REAL.replace("[1, 1/3]", f"[{', '.join(numbers)}]"))


def weights(network: Network) -> RealTensor:
    (op,) = (op for op in network.ops if isinstance(op, Affine))
    return op.weight.reals


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("-3", Fraction(-3)),
        ("-22/7", Fraction(-22, 7)),
        ("6/4", Fraction(3, 2)),
        ("0x1.8p+1", Fraction(3)),
        ("-0x1.8p-3", Fraction(-3, 16)),
        ("0x0.0000000000001p-1022", Fraction(2) ** -1074),
        ("0x1.fffffffffffffp+1023", Fraction(float(np.finfo(np.float64).max))),
        ("0x1.00000000000001p0", 1 + Fraction(1, 2**56)),  # not a double: kept, not rounded
        ("0x1p-1100", Fraction(2) ** -1100),
    ],
)
def test_a_number_is_exactly_what_is_written(written: str, meant: Fraction) -> None:
    assert weights(with_weights(written, "0")).fractions[0, 0] == meant


def test_integers_and_floats_are_printed_without_loss_and_ratios_as_ratios() -> None:
    pair = [2.0**53 - 1, 0.1]
    printed = print_network(with_weights(*map(float.hex, pair)))
    assert f"[9007199254740991, {(0.1).hex()}]" in printed
    assert "[1/3, 1/10]" in print_network(with_weights("1/3", "1/10"))


def test_a_constant_that_is_used_twice_is_printed_once() -> None:
    square = (
        REAL.replace("[2, 1]", "[1, 1]")
        .replace("[1, 1/3]", "[2]")
        .replace("[0, 0]", "[0]")
        .replace("[2] real", "[1] real")
    )
    twice = square.replace("  %r : [1] real = relu %z", "  %r : [1] real = affine %z, @w, @b")
    network = parse(twice)
    assert print_network(network) == twice
    assert len(list(network.constants)) == 2


def test_spacing_is_free() -> None:
    squeezed = " ".join(DEMO.split()).replace(" = ", "=").replace(", ", ",\n\t")
    assert print_network(parse(squeezed)) == DEMO


# --- errors ------------------------------------------------------------------------------------------------

WRONG = {
    "no header": (DEMO.replace("network", "net"), 1, "expected 'network'"),
    "no name": (DEMO.replace("@demo", ""), 1, "expected a name"),
    "a value's name": (DEMO.replace("@demo", "%demo"), 1, "expected a name with @"),
    "runtime without quotes": (DEMO.replace('"ideal"', "ideal"), 1, "expected a string"),
    "runtime over two lines": (DEMO.replace('"ideal"', '"ide\nal"'), 1, "expected a string"),
    "constant without colon": (DEMO.replace("@w0 :", "@w0"), 2, "expected ':' before '[1,'"),
    "constant twice": (DEMO.replace("const @b0", "const @w0"), 3, "@w0 is defined twice"),
    "too few numbers": (DEMO.replace("[3, -1]", "[3]"), 2, "@w0 has 1 numbers for shape [1, 2]"),
    "a missing comma": (DEMO.replace("[3, -1]", "[3 -1]"), 2, "expected ','"),
    "a comma too many": (DEMO.replace("[3, -1]", "[3, -1,]"), 2, "expected a number"),
    "a code with a fraction": (DEMO.replace("[3, -1]", "[3, 1/2]"), 2, "a code is a 64-bit integer"),
    "a code too large": (DEMO.replace("[3, -1]", f"[3, {2**63}]"), 2, "a code is a 64-bit integer"),
    "an extent of a half": (DEMO.replace("[1, 2]", "[1, 3/2]"), 2, "3/2 is not an integer"),
    "an extent of zero": (DEMO.replace("[1, 2]", "[1, 0]"), 2, "an extent is 1 to"),
    "a negative extent": (DEMO.replace("[1, 2]", "[-1, -2]"), 2, "an extent is 1 to"),
    "a huge extent": (DEMO.replace("[1, 2]", f"[1, {10**30}]"), 2, "an extent is 1 to"),
    "an unknown type": (DEMO.replace("fixed<s8", "float<s8"), 4, "there is no type 'float'"),
    "an unknown sign": (DEMO.replace("<s8", "<i8"), 4, "'i8' is not a width"),
    "too many bits": (DEMO.replace("<s8", "<s65"), 4, "1 to 64 bits, not 65"),
    "no bits": (DEMO.replace("<s8", "<s0"), 4, "1 to 64 bits, not 0"),
    "a fraction of a bit": (DEMO.replace("frac 5", "frac 5/2"), 4, "5/2 is not an integer"),
    "too many fractional bits": (DEMO.replace("frac 5", "frac 2000"), 4, "fractional bits, not 2000"),
    "input is not said": (DEMO.replace("= input", "= %y"), 4, "expected 'input'"),
    "an accumulator without scale": (DEMO.replace("scale 1/128, ", ""), 5, "expected 'scale'"),
    "an accumulator without width": (DEMO.replace("i14", "i0"), 5, "no accumulator of width i0"),
    "a negative scale": (DEMO.replace("1/128", "-1/128"), 5, "no accumulator of width i14"),
    "an unknown promise": (DEMO.replace("exact", "maybe"), 5, "'maybe' is not a valid"),
    "an unknown op": (DEMO.replace("affine", "linear"), 5, "there is no op 'linear'"),
    "an unknown constant": (DEMO.replace("@w0, @b0", "@w0, @b1"), 5, "@b1 is not defined"),
    "an unknown value": (DEMO.replace("affine %x", "affine %y"), 5, "%y is not defined yet"),
    "itself": (DEMO.replace("affine %x", "affine %a0"), 5, "%a0 is not defined yet"),
    "an unknown kind": (DEMO.replace("{shift", "{f16mul"), 6, "no requantization f16mul"),
    "half a shift": (DEMO.replace("shift 5", "shift 5/2"), 6, "no requantization shift 5/2"),
    "a shift out of sight": (DEMO.replace("shift 5", f"shift {10**12}"), 6, "shifts by at most"),
    "a ratio of zero": (DEMO.replace("shift 5", "rational 0"), 6, "no requantization rational 0"),
    "an unknown rounding": (DEMO.replace("half_up", "stochastic"), 6, "'stochastic' is not a valid Rounding"),
    "an unknown overflow": (DEMO.replace("saturate}", "explode}"), 6, "'explode' is not a valid Overflow"),
    "no end": (DEMO.replace("}\n}", "}\n"), 8, "expected a name, not the end"),
    "something after the end": (DEMO + "\n\nnetwork", 10, "text after the network"),
    "a constant that nobody reads": (
        DEMO.replace("  %x", "  const @c : [1] real = [0]\n  %x"),
        8,
        "@c is never used",
    ),
    "nothing": ("", 1, "expected 'network' before the end"),
    "a division by zero": (REAL.replace("1/3", "1/0"), 2, "1/0 is not a number"),
    "a division by many zeros": (REAL.replace("1/3", "1/000"), 2, "1/000 is not a number"),
    "a number beyond doubles": (REAL.replace("1/3", "1" + 400 * "0"), 2, "beyond the range of doubles"),
    "an exponent beyond doubles": (REAL.replace("1/3", "0x1p999999999999"), 2, "beyond the range of doubles"),
    "a number of too many digits": (REAL.replace("1/3", 5000 * "9"), 2, "at most 2000 digits"),
    "a decimal point": (REAL.replace("1/3", "0.5"), 2, "expected ',' before '.5]'"),
    "an infinite number": (REAL.replace("1/3", "inf"), 2, "expected a number, not 'inf'"),
    "a limit that is no number": (REAL.replace("{none,", "{never,"), 7, "expected a number, not 'never'"),
    "one limit": (REAL.replace("{none, 5/2}", "{none}"), 7, "expected ','"),
}


@pytest.mark.parametrize(("text", "line", "message"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_line_and_what_is_wrong(text: str, line: int, message: str) -> None:
    with pytest.raises(MalformedModel) as refusal:
        parse(text, where="x.qir")
    assert str(refusal.value).startswith(f"x.qir, line {line}: ")
    assert message in str(refusal.value)


def test_an_ill_typed_network_is_refused_where_it_is_read() -> None:
    with pytest.raises(MalformedModel, match="network @demo, %h0: multiplies by 1/64"):
        parse(DEMO.replace("shift 5", "shift 6"))


def test_names_and_types_survive_that_are_not_identifiers() -> None:
    x = Value("3:in/put.0-x", TensorType((1,), Real()))
    one = RealTensor.of_floats(np.ones((1, 1)))
    weight = Const("w-0", TensorType((1, 1), Real()), one)
    bias = Const("Ünïcode", TensorType((1,), Real()), RealTensor.of_floats([-0.0]))
    network = Network("none", "", x, (Affine(Value("input", x.type), x, weight, bias),))
    assert print_network(parse(print_network(network))) == print_network(network)
