"""ONNX files: float ones become a Graph, quantized ones a QuantizedGraph, which is written as QDQ or QOperator."""

from intsim.onnx_io.dialect import is_own, is_quantized, read_quantized
from intsim.onnx_io.foreign import read_foreign
from intsim.onnx_io.qdq import qdq_model, write_qdq
from intsim.onnx_io.qoperator import qoperator_model, write_qoperator
from intsim.onnx_io.read import read

__all__ = [
    "is_own",
    "is_quantized",
    "qdq_model",
    "qoperator_model",
    "read",
    "read_foreign",
    "read_quantized",
    "write_qdq",
    "write_qoperator",
]
