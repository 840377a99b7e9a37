"""Constants, read: numbers that say where, weights, biases, operands that broadcast; each in a Graph's layout."""

import numpy as np

from intsim.errors import IntsimError
from intsim.integers import Affine, IntType
from intsim.tflite_io import layout, schema
from intsim.tflite_io.file import Tensor
from intsim.tflite_io.reading import FULL, Reading, Site, activation, activation_affine, affine_of, checked, unique


def is_constant(site: Site, place: int) -> bool:
    """Whether the operator reads a constant there."""
    return site.tensor(place).index not in site.reading.known and site.tensor(place).data is not None


def numbers(site: Site, place: int) -> np.ndarray:
    """The integers of a constant that says where or how large: axes, shapes, pads. IntsimError where it is none."""
    tensor = site.tensor(place)
    if tensor.index in site.reading.folded:
        return site.reading.folded[tensor.index]
    if tensor.kind not in ("INT32", "INT64"):
        raise site.error(f"reads {tensor.kind} {tensor.name} where integers say how", "convert it again")
    if tensor.data is None:
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, np.int64)
        raise site.error(f"depends on {tensor.name}, which only a run would tell", "convert it with fixed shapes")
    return values(site.reading, tensor).astype(np.int64)


def values(reading: Reading, tensor: Tensor) -> np.ndarray:
    """The numbers of a constant in the file's shape; 4- and 2-bit ones unpacked."""
    if tensor.wrong:
        raise IntsimError(tensor.wrong, where=tensor.name, mend=FULL)
    if tensor.data is None:
        raise IntsimError("has no numbers", where=tensor.name, mend="the file is damaged: convert it again")
    size = 1
    for axis in tensor.shape:
        size *= axis
    bits = _PACKED.get(tensor.kind)
    where = tensor.name
    kind = np.dtype(np.int8) if bits else _dtype(tensor)
    needed = -(-size * bits // 8) if bits else size * kind.itemsize
    if needed != len(tensor.data) and not (bits and needed <= len(tensor.data)):
        what = f"has {len(tensor.data)} bytes, its shape {list(tensor.shape)} needs {needed}"
        raise IntsimError(what, where=where, mend="the file is damaged: convert it again")
    reading.left -= size * kind.itemsize
    if reading.left < 0:
        raise IntsimError("is damaged: its tensors share more bytes than any writer lets them", where=where)
    found = _unpacked(tensor.data, size, bits) if bits else np.frombuffer(tensor.data.tobytes(), kind)
    return found.reshape(tensor.shape)


_PACKED = {"INT4": 4, "type 19": 2, "INT2": 2}


def _dtype(tensor: Tensor) -> np.dtype:
    try:
        return schema.dtype(tensor.kind)
    except IntsimError as error:
        raise IntsimError(error.what, where=tensor.name, mend=error.mend) from None


def _unpacked(data: np.ndarray, size: int, bits: int) -> np.ndarray:
    """Signed integers of 4 or 2 bits, the first in the lowest bits of a byte."""
    shifts = np.arange(0, 8, bits)
    parts = (data.astype(np.int16)[:, None] >> shifts) & ((1 << bits) - 1)
    return (parts - ((parts >> (bits - 1)) << bits)).astype(np.int8).reshape(-1)[:size]


def constant(site: Site, place: int, turned: np.ndarray, affine: Affine) -> str:
    """The name of a constant that the Graph now has, `turned` as a Graph wants it."""
    reading, name = site.reading, site.reading.names[site.tensor(place).index]
    if name in reading.constants and (
        reading.affines[name] != affine or not np.array_equal(reading.constants[name], turned)
    ):
        name = unique(name, reading.taken)
    reading.constants[name], reading.affines[name] = turned, affine
    return name


def operand(site: Site, place: int, rank: int) -> str:
    """The name of an activation, or of a constant that broadcasts against a tensor of `rank` axes."""
    if not is_constant(site, place):
        name = activation(site, place)
        if len(site.tensor(place).shape) != rank:
            raise site.error("broadcasts an activation over the batch", "reshape it to as many axes")
        return name
    tensor = site.tensor(place)
    affine = activation_affine(tensor)
    turned = layout.channels_first(values(site.reading, tensor), rank)
    return constant(site, place, np.ascontiguousarray(turned), affine)


def weights(site: Site, place: int, axis: int, outputs: int) -> tuple[np.ndarray, Affine]:
    """Weights in the file's layout, and their affine with one scale, or `outputs` of them along `axis`."""
    tensor = site.tensor(place)
    found = values(site.reading, tensor)
    if found.dtype.kind == "f" or tensor.kind not in ("INT8", "UINT8", *_PACKED):
        raise site.error(f"weights are {tensor.kind}", FULL)
    if len(tensor.scale) not in (1, outputs) or (len(tensor.scale) > 1 and tensor.axis != axis):
        what = f"has {len(tensor.scale)} scales along axis {tensor.axis} of {tensor.name}"
        raise site.error(what, "quantize per tensor or per output channel")
    bits = _PACKED.get(tensor.kind, 8)
    narrow = tensor.kind != "UINT8" and bool(found.size) and int(found.min()) > -(1 << (bits - 1))
    along = axis if len(tensor.scale) > 1 else None
    return found, affine_of(tensor, IntType(bits, tensor.kind != "UINT8", narrow), along)


def bias(site: Site, place: int, x: str, weight: Affine, outputs: int) -> tuple[np.ndarray, Affine]:
    """The integers that are added to the accumulators, at the scale of the products."""
    tensor = site.tensor(place)
    found = values(site.reading, tensor).reshape(-1)
    if tensor.kind not in ("INT32", "INT64") or found.shape != (outputs,) or np.any(tensor.zero_point):
        raise site.error(f"its bias {tensor.name} is {tensor.kind} {list(tensor.shape)}, not {outputs} integers", FULL)
    products = np.float32(site.reading.affines[x].scale[0]) * np.asarray(weight.scale, np.float32)
    type_ = IntType(64 if tensor.kind == "INT64" else 32)
    return found, checked(tensor.name, products, [0], type_, 0 if len(products) > 1 else None)
