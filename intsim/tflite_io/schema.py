"""The TFLite schema as tables: what operators' options are called, the numbers behind names, operator versions.

The schema itself is the published package `tflite`; nothing here parses a flatbuffer by hand.
"""

import importlib
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.integers import IntType

SAME, VALID = 0, 1
"""The numbers of the two kinds of padding."""

FUSED = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
"""The names of fused activations, by number."""

DTYPES = {
    "FLOAT32": "<f4",
    "INT32": "<i4",
    "UINT8": "|u1",
    "INT64": "<i8",
    "INT16": "<i2",
    "INT8": "|i1",
}
"""The types of tensors whose bytes are numbers of numpy."""

ACTIVATIONS = {"INT8": IntType(8), "UINT8": IntType(8, False), "INT16": IntType(16)}
"""The types that activations may have."""

_ACTIVATED = ("FusedActivationFunction",)
_POOL = ("Padding", "StrideW", "StrideH", "FilterWidth", "FilterHeight", *_ACTIVATED)
_CONV = ("Padding", "StrideW", "StrideH", "DilationWFactor", "DilationHFactor", *_ACTIVATED)
_RESIZE = ("AlignCorners", "HalfPixelCenters")
_MASKS = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")

OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("AddOptions", (*_ACTIVATED, "PotScaleInt16")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", *_ACTIVATED)),
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_CONV, "DepthMultiplier")),
    "DEQUANTIZE": ("DequantizeOptions", ()),
    "EXPAND_DIMS": ("ExpandDimsOptions", ()),
    "FULLY_CONNECTED": ("FullyConnectedOptions", (*_ACTIVATED, "WeightsFormat", "KeepNumDims")),
    "HARD_SWISH": ("HardSwishOptions", ()),
    "LEAKY_RELU": ("LeakyReluOptions", ("Alpha",)),
    "MAXIMUM": ("MaximumMinimumOptions", ()),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "MINIMUM": ("MaximumMinimumOptions", ()),
    "MUL": ("MulOptions", _ACTIVATED),
    "PACK": ("PackOptions", ("ValuesCount", "Axis")),
    "PAD": ("PadOptions", ()),
    "PADV2": ("PadV2Options", ()),
    "QUANTIZE": ("QuantizeOptions", ()),
    "RESHAPE": ("ReshapeOptions", ()),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _RESIZE),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _RESIZE),
    "SHAPE": ("ShapeOptions", ()),
    "SLICE": ("SliceOptions", ()),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "SPLIT": ("SplitOptions", ("NumSplits",)),
    "SPLIT_V": ("SplitVOptions", ("NumSplits",)),
    "SQUEEZE": ("SqueezeOptions", ()),
    "STRIDED_SLICE": ("StridedSliceOptions", _MASKS),
    "SUB": ("SubOptions", (*_ACTIVATED, "PotScaleInt16")),
    "TRANSPOSE": ("TransposeOptions", ()),
    "TRANSPOSE_CONV": ("TransposeConvOptions", ("Padding", "StrideW", "StrideH", *_ACTIVATED)),
}
"""The table of an operator's options, and those of its fields that are read or written."""

DEFAULTS = {"DilationWFactor": 1, "DilationHFactor": 1, "PotScaleInt16": True}
"""What fields are that a file leaves out, where that is not zero."""


class Version(Struct, frozen=True):
    """The least version of an operator that takes int8 (and uint8), and int16."""

    int8: int = 1
    int16: int = 1


VERSIONS = {
    "ADD": Version(2, 3),
    "AVERAGE_POOL_2D": Version(2, 3),
    "CONCATENATION": Version(2, 3),
    "CONV_2D": Version(3, 4),
    "DEPTHWISE_CONV_2D": Version(3, 5),
    "FULLY_CONNECTED": Version(4, 7),
    "LEAKY_RELU": Version(2, 2),
    "LOGISTIC": Version(2, 3),
    "MAXIMUM": Version(2, 4),
    "MAX_POOL_2D": Version(2, 3),
    "MEAN": Version(2, 3),
    "MINIMUM": Version(2, 4),
    "MUL": Version(2, 4),
    "PAD": Version(2, 3),
    "PADV2": Version(2, 3),
    "QUANTIZE": Version(2, 3),
    "RELU": Version(2, 3),
    "RELU6": Version(2, 3),
    "RESIZE_BILINEAR": Version(3, 4),
    "RESIZE_NEAREST_NEIGHBOR": Version(3, 4),
    "SLICE": Version(2, 4),
    "SOFTMAX": Version(2, 3),
    "STRIDED_SLICE": Version(2, 4),
    "SUB": Version(3, 5),
    "TANH": Version(2, 3),
    "TRANSPOSE": Version(2, 5),
    "TRANSPOSE_CONV": Version(3, 4),
}
"""Source: tensorflow/tensorflow, tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc."""


def module(name: str) -> Any:
    """One of the schema's modules, each of which holds a table or an enumeration of the same name."""
    try:
        return importlib.import_module(f"tflite.{name}")
    except ImportError:
        raise IntsimError("is not installed", where="the TFLite schema", mend="pip install tflite") from None


def number(enumeration: str, name: str) -> int:
    """The number behind a name of one of the schema's enumerations."""
    return int(getattr(getattr(module(enumeration), enumeration), name))


def names(enumeration: str) -> dict[int, str]:
    """The names of one of the schema's enumerations, by number."""
    found = vars(getattr(module(enumeration), enumeration))
    return {value: name for name, value in found.items() if not name.startswith("_")}


def dtype(kind: str) -> np.dtype:
    """numpy's type of a tensor's numbers. IntsimError for a kind that holds no plain numbers."""
    if kind not in DTYPES:
        raise IntsimError(f"holds {kind}", mend="convert with full integer quantization")
    return np.dtype(DTYPES[kind])
