"""Problem files and flags for tests: one that is right, and every way of being wrong that was thought of."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from qsmt.frontend.fixed_point import quantize
from qsmt.frontend.formats import FixedPointScheme, FormatSpec
from qsmt.ir.text import print_network
from tests.support.second_quantizer import RELU, Clip, Spec

VALID_PROBLEM = """\
schema = "qsmt.problem/1"

[reference]
network = "reference.qir"
input_scale = "1/16"

[quantized]
network = "reference.qir"
scheme = "fixed-point"
input = { bits = 8, frac = 4, signed = true }
weights = { bits = 8, frac = 4 }
bias = { bits = 8, frac = 4 }
hidden = { bits = 8, frac = 4, signed = false }
output = "exact"
rounding = "half_up"

[region]
model = "grid"
lower = [-3, 0]
upper = [3, 5]

[property]
kind = "error-bound"
bound = "0.05"
outputs = [0, 1]
"""

VALID_FLAGS = ("reference.qir", "--bits", "8", "--box", "[-1,1]^2", "--bound", "0.05")
"""What follows `qsmt check`."""

BYTE = FormatSpec(8, 4)
SCHEME = FixedPointScheme(BYTE, BYTE, BYTE, BYTE)


def write_valid_networks(folder: Path) -> None:
    """`reference.qir` (2-2-2 with a ReLU), `quantized.qir` (the same in 8 bits), and others around them."""
    reference = _network([2, 2, 2], RELU)
    networks = {
        "reference": reference.network(),
        "quantized": quantize(reference.network(), SCHEME).network,
        "linear": _network([2, 2, 2], (None, None)).network(),
        "wide": _network([3, 2, 2], RELU).network(),
        "long": _network([2, 2, 2, 2], RELU).network(),
        "huge": _network([2, 2, 2], RELU, unit=Fraction(10) ** 300).network(),
    }
    for name, network in networks.items():
        (folder / f"{name}.qir").write_text(print_network(network))
    (folder / "damaged.qir").write_text("network @damaged {")
    (folder / "damaged.onnx").write_bytes(b"\0\1\2")


def _network(sizes: list[int], clip: Clip, *, unit: Fraction = Fraction(1, 8)) -> Spec:
    """A small network with weights of both signs."""
    pairs = list(pairwise(sizes))
    return Spec(
        [[[unit * (3 * i - 5 * j + 2) for j in range(n)] for i in range(m)] for n, m in pairs],
        [[unit * (i + 1) for i in range(m)] for _, m in pairs],
        [*([clip] for _ in pairs[1:]), []],
    )


def _but(*changes: tuple[str, str]) -> str:
    """The valid file with other lines: each change replaces text that is there once."""
    text = VALID_PROBLEM
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


QUANTIZED = VALID_PROBLEM[VALID_PROBLEM.index("[quantized]") : VALID_PROBLEM.index("[region]")]
ENDS = "lower = [-3, 0]\nupper = [3, 5]\n"
BOTH_OUTPUTS = "outputs = [0, 1]"
INPUT = "input = { bits = 8, frac = 4, signed = true }"
WEIGHTS = "weights = { bits = 8, frac = 4 }"
HIDDEN = "hidden = { bits = 8, frac = 4, signed = false }"
SCALE = 'input_scale = "1/16"'
BOUND = 'bound = "0.05"'
REFERENCE = f'[reference]\nnetwork = "reference.qir"\n{SCALE}'

MALFORMED_PROBLEMS: dict[str, tuple[str, str]] = {
    # the file
    "empty": ("", "schema: is missing"),
    "not TOML": ("this is not TOML", "is not TOML"),
    "a NUL character": (_but(("half_up", "half\0up")), "is not TOML"),
    "a key twice": (_but((BOUND, f"{BOUND}\n{BOUND}")), "is not TOML"),
    "nested too deeply": ("a = " + "[" * 100_000, "is nested too deeply"),
    "an integer of 5000 digits": (
        _but(("[-3, 0]", f"[-{'3' * 5000}, 0]")),
        "holds an integer of thousands of digits",
    ),
    "schema of another version": (_but(("problem/1", "problem/2")), "schema: is 'qsmt.problem/2', not"),
    "schema is a number": (_but(('"qsmt.problem/1"', "1")), "schema: is 1, not a string"),
    "unknown table": (VALID_PROBLEM + "[options]\n", "options: is not a key of this table; known are"),
    "a table is a number": (
        _but((QUANTIZED, "")).replace("[ref", "quantized = 1\n[ref"),
        "quantized: is 1, not",
    ),
    "a table is a list of tables": (_but(("[region]", "[[region]]")), "region: is a list, not a table"),
    "no quantized network": (_but((QUANTIZED, "")), "quantized: is missing"),
    # the table reference
    "misspelt key": (_but((SCALE, "input_scael = 1")), "did you mean input_scale?"),
    "no network": (_but((REFERENCE, "[reference]")), "reference.network: is missing"),
    "network is a number": (
        _but((REFERENCE, "[reference]\nnetwork = 1")),
        "reference.network: is 1, not a string",
    ),
    "network has no name": (_but((REFERENCE, '[reference]\nnetwork = " "')), "not the name of a file"),
    "network has a NUL": (
        _but((REFERENCE, '[reference]\nnetwork = "a\\u0000.qir"')),
        "not the name of a file",
    ),
    "network is not there": (
        _but((REFERENCE, '[reference]\nnetwork = "absent.qir"')),
        "there is no such file",
    ),
    "network is a folder": (_but((REFERENCE, '[reference]\nnetwork = "."')), "a network file is"),
    "network of an unknown kind": (_but((REFERENCE, '[reference]\nnetwork = "r.txt"')), "a network file is"),
    "network is damaged": (_but((REFERENCE, '[reference]\nnetwork = "damaged.qir"')), "damaged.qir, line 1"),
    "reference is quantized": (
        _but((REFERENCE, '[reference]\nnetwork = "quantized.qir"')),
        "computes on integers",
    ),
    "input_scale is zero": (_but((SCALE, "input_scale = 0")), "input_scale: is not a positive number"),
    "input_scale is negative": (
        _but((SCALE, "input_scale = -1e-3")),
        "input_scale: is not a positive number",
    ),
    "input_scale divides by zero": (_but((SCALE, 'input_scale = "1/0"')), "'1/0' divides by zero"),
    "input_scale is true": (_but((SCALE, "input_scale = true")), "input_scale: is true, not a number"),
    "input_scale is nan": (_but((SCALE, "input_scale = nan")), "'nan' is not a decimal or a ratio"),
    "input_scale is infinite": (_but((SCALE, "input_scale = -inf")), "'-inf' is not a decimal or a ratio"),
    "input_scale is a word": (_but((SCALE, 'input_scale = "fast"')), "'fast' is not a decimal or a ratio"),
    "input_scale is a list": (_but((SCALE, "input_scale = [1]")), "input_scale: is a list, not a number"),
    # the table quantized
    "unknown scheme": (_but(('"fixed-point"', '"int8"')), "'int8', not one of fixed-point, float"),
    "neither scheme nor runtime": (
        _but((QUANTIZED, '[quantized]\nnetwork = "q.onnx"\n')),
        "quantized.scheme: is missing, and so is runtime",
    ),
    "scheme and runtime": (
        _but(("rounding =", 'runtime = "onnxruntime"\nrounding =')),
        "quantized.runtime: is not a key",
    ),
    "runtime of a network in IR text": (
        _but((QUANTIZED, '[quantized]\nnetwork = "quantized.qir"\nruntime = "onnxruntime"\n')),
        "names its own runtime",
    ),
    "unknown runtime": (
        _but((QUANTIZED, '[quantized]\nnetwork = "q.onnx"\nruntime = "abacus"\n')),
        "quantized.runtime: is 'abacus', not one of onnxruntime",
    ),
    "formats without a scheme": (
        _but(('scheme = "fixed-point"\n', "")),
        "quantized.scheme: is missing; give",
    ),
    "formats of the float scheme": (_but(('"fixed-point"', '"float"')), "is not a key of this table"),
    "float scheme of integers": (
        _but((QUANTIZED, '[quantized]\nnetwork = "quantized.qir"\nscheme = "float"\n')),
        "quantized.scheme: the network computes on integers",
    ),
    "quantizing integers": (
        _but(('[quantized]\nnetwork = "reference.qir"', '[quantized]\nnetwork = "quantized.qir"')),
        "computes on integers already",
    ),
    "no weights": (_but((WEIGHTS + "\n", "")), "quantized.weights: is missing"),
    "no bits": (_but((WEIGHTS, "weights = { frac = 4 }")), "quantized.weights.bits: is missing"),
    "no bits at all": (
        _but((WEIGHTS, "weights = { bits = 0, frac = 4 }")),
        "weights: a format has 1 to 64 bits",
    ),
    "65 bits": (_but((WEIGHTS, "weights = { bits = 65, frac = 4 }")), "weights: a format has 1 to 64 bits"),
    "negative bits": (_but((WEIGHTS, "weights = { bits = -8, frac = 4 }")), "weights: a format has 1 to 64"),
    "bits is true": (_but((WEIGHTS, "weights = { bits = true, frac = 4 }")), "weights.bits: is true, not an"),
    "bits is 8.0": (_but((WEIGHTS, "weights = { bits = 8.0, frac = 4 }")), "weights.bits: is 8.0, not an"),
    "bits is text": (_but((WEIGHTS, 'weights = { bits = "8", frac = 4 }')), "weights.bits: is '8', not an"),
    "absurd frac": (
        _but((WEIGHTS, "weights = { bits = 8, frac = 1000000000 }")),
        "fractional bits, not 1000",
    ),
    "frac is a word": (_but((WEIGHTS, 'weights = { bits = 8, frac = "most" }')), "neither an integer nor"),
    "frac of the input is auto": (
        _but((INPUT, 'input = { bits = 8, frac = "auto" }')),
        "quantized.input.frac: a grid of codes does not say what a code stands for",
    ),
    "unknown key of a format": (_but((WEIGHTS, "weights = { bits = 8, fraq = 4 }")), "did you mean frac?"),
    "format is text": (_but((WEIGHTS, 'weights = "int8"')), "weights: is 'int8', not a format"),
    "format is a list": (_but((WEIGHTS, "weights = [8, 4]")), "weights: is a list, not a table"),
    "signed is a number": (
        _but((HIDDEN, "hidden = { bits = 8, frac = 4, signed = 1 }")),
        "not true or false",
    ),
    "output is a word": (_but(('"exact"', '"accumulator"')), "output: is 'accumulator', not a format"),
    "unknown rounding": (_but(('"half_up"', '"nearest"')), "rounding: is 'nearest', not one of floor"),
    "unsigned without a ReLU": (
        _but(('[quantized]\nnetwork = "reference.qir"', '[quantized]\nnetwork = "linear.qir"')),
        "quantized.hidden: layer 0 has no ReLU",
    ),
    "other inputs": (
        _but(('[quantized]\nnetwork = "reference.qir"', '[quantized]\nnetwork = "wide.qir"')),
        "has 3 inputs, the region 2",
    ),
    "other layers": (
        _but(('[quantized]\nnetwork = "reference.qir"', '[quantized]\nnetwork = "long.qir"')),
        "the reference has 2 layers, the quantized network 3",
    ),
    # the table region
    "unknown model": (
        _but(('"grid"', '"lattice"')),
        "region.model: is 'lattice', not one of grid, continuous",
    ),
    "no model": (_but(('model = "grid"\n', "")), "region.model: is missing"),
    "no ends": (_but((ENDS, "")), "region.lower: is missing"),
    "no upper ends": (_but(("upper = [3, 5]\n", "")), "region.upper: is missing"),
    "ends are a number": (_but(("lower = [-3, 0]", "lower = -3")), "region.lower: is -3, not a list"),
    "ends are an empty list": (_but(("lower = [-3, 0]", "lower = []")), "region.lower: is an empty list"),
    "one end too few": (
        _but(("lower = [-3, 0]", "lower = [-3]")),
        "region.upper: has 2 numbers, lower has 1",
    ),
    "one input too many": (_but((ENDS, "lower = [0, 0, 0]\nupper = [1, 1, 1]\n")), "2 inputs, the region 3"),
    "ends in the wrong order": (_but(("[3, 5]", "[3, -5]")), "region.lower[1]: the region is empty"),
    "grid of fractions": (_but(("[3, 5]", "[3, 4.5]")), "region.upper[1]: the box ends at 9/2"),
    "beyond the input format": (_but(("[3, 5]", "[3, 128]")), "input 1 runs from 0 to 128"),
    "an end is true": (_but(("[3, 5]", "[3, true]")), "region.upper[1]: is true, not a number"),
    "an end is a list": (_but(("[3, 5]", "[3, [5]]")), "region.upper[1]: is a list, not a number"),
    "an end is a date": (_but(("[3, 5]", "[3, 1979-05-27]")), "region.upper[1]: is the date 1979-05-27"),
    "an end is nan": (_but(("[3, 5]", "[3, nan]")), "region.upper[1]: is not usable: 'nan'"),
    "an end is 1e999999999": (_but(("[3, 5]", "[3, 1e999999999]")), "has too large an exponent"),
    "an end is 1e200": (_but(("[3, 5]", f"[3, 1{'0' * 200}]")), "a number beyond 1e100 is too large"),
    "an end has 5000 digits": (_but(("[3, 5]", f"[3, 0.{'5' * 5000}]")), "characters is too long"),
    "ends and a center": (_but((ENDS, ENDS + "center = [0, 0]\n")), "center: cannot stand beside lower"),
    "ends and a clip": (_but((ENDS, ENDS + "clip = [0, 9]\n")), "region.clip: cannot stand beside lower"),
    "negative radius": (_but((ENDS, "center = [0, 0]\nradius = -1\n")), "region.radius: is negative"),
    "no radius": (_but((ENDS, "center = [0, 0]\n")), "region.radius: is missing"),
    "no center": (_but((ENDS, "radius = 1\n")), "region.center: is missing"),
    "a list of radii": (_but((ENDS, "center = [0, 0]\nradius = [1, 1]\n")), "region.radius: is a list"),
    "fractional radius": (
        _but((ENDS, "center = [0, 0]\nradius = 0.5\n")),
        "region.center[0]: the box ends at",
    ),
    "clip of three": (
        _but((ENDS, "center = [0, 0]\nradius = 1\nclip = [0, 1, 2]\n")),
        "clip: is not an interval",
    ),
    "clip reversed": (
        _but((ENDS, "center = [0, 0]\nradius = 1\nclip = [9, 0]\n")),
        "clip: is not an interval",
    ),
    "center outside the clip": (
        _but((ENDS, "center = [0, 9]\nradius = 1\nclip = [0, 5]\n")),
        "region.center[1]: the region is empty",
    ),
    # the table property
    "unknown property": (
        _but(('"error-bound"', '"robust"')),
        "property.kind: is 'robust', not one of error-bound, output-constraint, top-1-agreement, robustness, "
        "no-overflow, no-saturation",
    ),
    "no kind": (_but(('kind = "error-bound"\n', "")), "property.kind: is missing"),
    "no bound": (_but((BOUND + "\n", "")), "property.bound: is missing"),
    "negative bound": (_but((BOUND, "bound = -0.05")), "property.bound: is negative"),
    "negative bound in a list": (_but((BOUND, "bound = [0.1, -0.05]")), "property.bound[1]: is negative"),
    "bound is a word": (_but((BOUND, 'bound = "small"')), "property.bound: is not usable: 'small'"),
    "bound is infinite": (_but((BOUND, "bound = inf")), "property.bound: is not usable: 'inf'"),
    "no bounds": (_but((BOUND, "bound = []")), "property.bound: is an empty list"),
    "three bounds for two outputs": (
        _but((BOUND, "bound = [1, 1, 1]")),
        "property.bound: has 3 numbers for 2",
    ),
    "one bound in a list for all outputs": (
        _but((BOUND, "bound = [1]"), (BOTH_OUTPUTS, "")),
        "property.bound: 1 bounds for 2 outputs",
    ),
    "no outputs": (_but((BOTH_OUTPUTS, "outputs = []")), "property.outputs: is an empty list"),
    "an output twice": (
        _but((BOTH_OUTPUTS, "outputs = [1, 1]")),
        "property.outputs[1]: names output 1 twice",
    ),
    "an output that is not there": (
        _but((BOTH_OUTPUTS, "outputs = [2]")),
        "outputs [2] are not all among 0 to 1",
    ),
    "a negative output": (
        _but((BOTH_OUTPUTS, "outputs = [-1]")),
        "property.outputs[0]: is -1, not the index",
    ),
    "an output of a fraction": (
        _but((BOTH_OUTPUTS, "outputs = [0.5]")),
        "property.outputs[0]: is 0.5, not an",
    ),
    "outputs are a number": (_but((BOTH_OUTPUTS, "outputs = 0")), "property.outputs: is 0, not a list"),
}
"""What is wrong -> (the file, a part of the error message). The networks are `write_valid_networks`'s."""


def _flags(**changed: str | None) -> tuple[str, ...]:
    flags: dict[str, str | None] = {"bits": "8", "box": "[-1,1]^2", "bound": "0.05"}
    flags.update(changed)
    return tuple(word for name, value in flags.items() if value is not None for word in (f"--{name}", value))


def _two(second: str, *more: str) -> tuple[str, ...]:
    return ("reference.qir", second, *_flags(bits=None), *more)


_BOXES: dict[str, tuple[str, str]] = {
    "": ("", "--box, character 1: expected '['"),
    "no bracket": ("-1,1", "--box, character 1: expected '['"),
    "no number": ("[,1]", "--box, character 2: expected a number"),
    "one number": ("[1]", "--box, character 3: expected ','"),
    "not closed": ("[-1,1", "--box, character 6: expected ']'"),
    "half open": ("[-1,1)^2", "--box, character 6: expected ']'"),
    "a word": ("[-1,one]", "--box, character 5: expected a number"),
    "nan": ("[nan,1]^2", "--box, character 2: expected a number"),
    "a comma at the end": ("[-1,1],", "--box, character 8: expected '['"),
    "no comma": ("[-1,1] [-1,1]", "--box, character 8: expected ',' or the end"),
    "reversed": ("[1,-1]^2", "--box, character 2: the interval is empty"),
    "divided by zero": ("[0,1/0]^2", "--box, character 4: '1/0' divides by zero"),
    "a huge exponent": ("[0,1e999999]^2", "--box, character 4: '1e999999' has too large an exponent"),
    "a huge number": ("[0,1e200]^2", "--box, character 4: a number beyond 1e100"),
    "never": ("[-1,1]^0", "an interval is repeated at least once"),
    "minus once": ("[-1,1]^-1", "--box, character 8: expected how often"),
    "too often": ("[-1,1]^99999999999999999999", "more than 1048576 intervals"),
    "too few": ("[-1,1]", "has 2 inputs, the region 1"),
    "too many": ("[-1,1]^3", "has 2 inputs, the region 3"),
    "between two codes": ("[0,1],[1/1000,1/900]", "--box: interval 1, [1/1000, 1/900], holds no value"),
}

MALFORMED_FLAGS: dict[str, tuple[tuple[str, ...], str]] = {
    **{f"box {name}": (("reference.qir", *_flags(box=box)), says) for name, (box, says) in _BOXES.items()},
    "0 bits": (("reference.qir", *_flags(bits="0")), "--bits: is 0, not from 1 to 64"),
    "65 bits": (("reference.qir", *_flags(bits="65")), "--bits: is 65, not from 1 to 64"),
    "-8 bits": (("reference.qir", *_flags(bits="-8")), "--bits: is -8, not from 1 to 64"),
    "neither bits nor a network": (("reference.qir", *_flags(bits=None)), "--bits: give either"),
    "bits and a network": (_two("quantized.qir", "--bits", "8"), "--bits: give either"),
    "bound is a word": (("reference.qir", *_flags(bound="small")), "--bound: 'small' is not a decimal"),
    "bound is empty": (("reference.qir", *_flags(bound="")), "--bound: '' is not a decimal"),
    "bound is negative": (("reference.qir", *_flags(bound="-1")), "--bound: is negative"),
    "bound is nan": (("reference.qir", *_flags(bound="nan")), "--bound: 'nan' is not a decimal"),
    "three bounds": (("reference.qir", *_flags(bound="1,2,3")), "--bound: 3 bounds for 2 outputs"),
    "reference is quantized": (("quantized.qir", *_flags()), "computes on integers"),
    "reference is not there": (("absent.qir", *_flags()), "absent.qir: there is no such file"),
    "reference is damaged": (("damaged.qir", *_flags()), "damaged.qir, line 1"),
    "reference is no ONNX": (("damaged.onnx", *_flags()), "damaged.onnx"),
    "runtime of IR text": (_two("quantized.qir", "--runtime", "onnxruntime"), "--runtime: names whose"),
    "runtime beside bits": (
        ("reference.qir", *_flags(), "--runtime", "onnxruntime"),
        "--runtime: names whose",
    ),
    "unknown runtime": (_two("q.onnx", "--runtime", "abacus"), "--runtime: is 'abacus', not one of"),
    "a grid of two float networks": (
        _two("linear.qir", "--input-model", "grid"),
        "--input-model: two float networks have no grid",
    ),
    "the float network second": (
        ("quantized.qir", "reference.qir", *_flags(bits=None)),
        "reference.qir: @float is a float network, and @float_fixed_point before",
    ),
    "another number of inputs": (_two("wide.qir"), "has 3 inputs, the region 2"),
    "another number of layers": (
        _two("long.qir", "--input-model", "continuous"),
        "the reference has 2 layers, the quantized network 3",
    ),
}
"""What is wrong -> (what follows `qsmt check`, a part of the error message)."""
