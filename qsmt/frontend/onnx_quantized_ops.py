"""All ONNX operators on codes.

The QDQ form is float on paper. Which of its operators become integer kernels was read off the graphs that
onnxruntime 1.32.0 makes of them (docs/semantics.md); everything else is refused, or is a function of single
codes that is known bit for bit (qsmt.frontend.float32).
"""

from __future__ import annotations

from qsmt.frontend.onnx_qonnx import QONNX
from qsmt.frontend.onnx_quantized_arithmetic import ARITHMETIC
from qsmt.frontend.onnx_quantized_convert import CONVERTING
from qsmt.frontend.onnx_quantized_dense import DENSE
from qsmt.frontend.onnx_quantized_functions import ELEMENTWISE
from qsmt.frontend.onnx_quantized_join import JOINING
from qsmt.frontend.onnx_quantized_norm import NORMALIZING
from qsmt.frontend.onnx_quantized_rules import QuantizedOperators
from qsmt.frontend.onnx_quantized_windows import SLIDING

OPERATORS = QuantizedOperators(
    CONVERTING, DENSE, SLIDING, ARITHMETIC, NORMALIZING, ELEMENTWISE, JOINING, QONNX
)
