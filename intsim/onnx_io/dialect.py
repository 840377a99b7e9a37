"""Which quantized network an ONNX file holds, if any, and that network."""

from pathlib import Path

from onnx import ModelProto

from intsim.errors import IntsimError
from intsim.onnx_io import qdq, qoperator, qoperator_read, spelling
from intsim.onnx_io.protobuf import operator, parse
from intsim.quantized import QuantizedGraph

_READERS = {qdq.DIALECT: qdq.quantized_of, qoperator.DIALECT: qoperator_read.quantized_of}
_INTEGER = {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
_MICROSOFT = ("DynamicQuantize", "MatMulInteger", "MatMulNBits", "QAttention", "QEmbed", "QGemm", "QMoE")
_QUANTIZED = {"DequantizeLinear", "QuantizeLinear", *_INTEGER}


def is_quantized(model: ModelProto | Path | str) -> bool:
    """Whether the network was quantized already, by us or by another tool.

    Raises IntsimError for a file that cannot be read or is not ONNX.
    """
    proto = model if isinstance(model, ModelProto) else parse(Path(model))
    return any(_is_quantized(operator(node)) for node in proto.graph.node)


def _is_quantized(op: str) -> bool:
    domain, _, name = op.rpartition(".")
    if domain.startswith(("qonnx", "onnx.brevitas", "finn")):
        return name in ("Quant", "IntQuant", "BipolarQuant", "Trunc", "MultiThreshold")
    return name in _QUANTIZED or (domain == "com.microsoft" and name.startswith(("QLinear", *_MICROSOFT)))


def is_own(path: Path | str) -> bool:
    """Whether this package wrote the quantized file. Raises IntsimError for a file that cannot be read."""
    return _stated(parse(Path(path))) is not None


def _stated(model: ModelProto) -> str | None:
    """The format that a file of this package states."""
    return next((entry.value for entry in model.metadata_props if entry.key == "intsim.format"), None)


def read_quantized(path: Path | str) -> QuantizedGraph:
    """The QuantizedGraph of a QDQ or QOperator file that this package wrote.

    Raises IntsimError for a file that cannot be read, that another tool wrote or changed, or of a newer format.
    """
    path = Path(path)
    model = parse(path)
    where = str(path)
    stated = _stated(model)
    if stated is None:
        raise IntsimError(
            f"was quantized by another tool ({model.producer_name or 'unnamed'})",
            where=where,
            mend="read it with intsim.load",
        )
    dialect, _, version = stated.partition(" ")
    if dialect not in _READERS or version != spelling.FORMAT:
        raise IntsimError(f'is of the format "{stated}"', where=where, mend="upgrade intsim")
    try:
        return _READERS[dialect](model, path.parent)
    except IntsimError as error:
        raise IntsimError(error.what, where=f"{where}: {error.where}", mend=error.mend) from None
    except (KeyError, IndexError, ValueError, TypeError, AssertionError) as reason:
        raise IntsimError(
            f"was changed since it was written ({type(reason).__name__}: {reason})",
            where=where,
            mend="quantize again from the float model",
        ) from None
