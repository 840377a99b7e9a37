"""Integer .tflite files: read into a QuantizedGraph, and written from one."""

from intsim.tflite_io.read import SUFFIX, is_tflite, quantized_of, read_quantized
from intsim.tflite_io.write import tflite_model, write_tflite

__all__ = ["SUFFIX", "is_tflite", "quantized_of", "read_quantized", "tflite_model", "write_tflite"]
