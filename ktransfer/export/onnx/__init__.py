"""Trained models as ONNX files: `write_onnx`.

`tracing` makes a graph of the model; `converting`, a process of its own, makes ONNX of it;
`mending` has what converter or ONNX Runtime would get wrong, `operators` what cannot be written.
"""

from ktransfer.export.formats import DEFAULT_OPSET, OPSETS, check_opset
from ktransfer.export.onnx.writing import check_installed, write_onnx

__all__ = ["DEFAULT_OPSET", "OPSETS", "check_installed", "check_opset", "write_onnx"]
