"""From files to the IR: ONNX, IR text, problem files; and the quantizer."""
