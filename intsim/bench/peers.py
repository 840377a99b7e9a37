"""Who else does this work: onnxruntime, torch, numpy, LiteRT, our own wide kernel, the user's kernel."""

from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.bench import people
from intsim.bench.kernel import own
from intsim.bench.networks import host_machine, without_idle_clips
from intsim.bench.records import (
    AP_FIXED,
    FAKE,
    LITERT,
    LOOP,
    NUMPY,
    ORT,
    ORT_FLOAT,
    OWN,
    QONNX,
    RIVALS,
    TORCH,
    WIDE,
    XNNPACK,
    Factory,
    Peer,
    Work,
)
from intsim.bench.shapes import FITTING
from intsim.bench.turns import bound_to
from intsim.onnx_io import qoperator_model
from intsim.program import Dot, inside, outside
from intsim.reference import bound, bound_litert
from intsim.target import Float32Scale, Level, Mac

PLAIN = (Level(bits=32),)


def the_dot(work: Work) -> Dot | None:
    """The only sum of products of a work of one layer."""
    steps = work.program.steps
    return steps[0].compute if len(steps) == 1 and isinstance(steps[0].compute, Dot) else None


def plain(mac: Mac) -> bool:
    """Whether it is one 32-bit register that wraps, as everybody's is."""
    return mac.levels == PLAIN and mac.product is None and mac.multiplier is None


def pairs_fit(dot: Dot) -> bool:
    """Whether onnxruntime forms these sums exactly here: without VNNI it saturates pairs of products at 16 bits."""
    return host_machine().name != "ort_x86_avx2" or int(np.abs(dot.weight.astype(np.int64)).max(initial=0)) <= FITTING


def _bare(work: Work) -> Dot | None:
    """The dot of a matrix product of bytes into int32."""
    dot = the_dot(work)
    door = next(iter(work.program.outputs.values()))
    bytes_in = work.x.dtype == np.uint8
    return dot if dot and not dot.window.kernel and bytes_in and door.affine.type.bits == 32 else None


def ort_u8s8(work: Work) -> Peer | None:
    """onnxruntime's u8 x s8 kernels: the same integers where the accumulator is plain and the scale float32."""
    if work.wide is not None or work.x.dtype != np.uint8:
        return None
    if (dot := _bare(work)) is not None:
        function = bound.matmul(work.x, np.ascontiguousarray(dot.weight.T), work.threads)
        return Peer(name=ORT, function=function, equal=plain(dot.mac) and pairs_fit(dot))
    if (dot := the_dot(work)) is not None:
        return _ort_conv(work, dot)
    if not work.program.source.graph.nodes:
        return None
    model = qoperator_model(without_idle_clips(work.program), io="integer").SerializeToString()
    (name,) = work.program.inputs
    session = bound.bound(model, {name: work.x}, work.threads)
    return Peer(name=ORT, function=session, equal=host_machine().name in work.program.targets)


def _ort_conv(work: Work, dot: Dot) -> Peer | None:
    door = next(iter(work.program.outputs.values()))
    if not dot.window.kernel or work.x.dtype != np.uint8 or door.affine.type.bits != 8:
        return None
    scale = _float_scale(dot)
    function = bound.conv_u8s8(inside(work.x), dot, scale, dot.rescale.zero_point, work.threads)
    same = plain(dot.mac) and pairs_fit(dot) and isinstance(dot.rescale.rule, Float32Scale)
    return Peer(name=ORT, function=lambda: outside(function()), equal=same)


def _float_scale(dot: Dot) -> np.ndarray:
    """The scale of the rescale's numbers in float32, near enough where its rule is another."""
    rescale = dot.rescale
    if isinstance(rescale.rule, Float32Scale):
        assert rescale.multiplier is not None
        return rescale.multiplier
    assert rescale.exponent is not None
    if rescale.multiplier is None:
        return np.exp2(rescale.exponent).astype(np.float32)
    bits = getattr(rescale.rule, "bits", 31)
    return (rescale.multiplier * np.exp2(rescale.exponent - bits)).astype(np.float32)


def ort_float32(work: Work) -> Peer | None:
    """onnxruntime's float32 kernels, for scale."""
    if work.wide is not None:
        return None
    if (dot := _bare(work)) is not None:
        x, w = work.x.astype(np.float32), np.ascontiguousarray(dot.weight.T.astype(np.float32))
        return Peer(name=ORT_FLOAT, function=bound.matmul(x, w, work.threads), equal=False)
    if (dot := the_dot(work)) is not None and dot.window.kernel:
        x = np.ascontiguousarray(work.x.astype(np.float32))
        return Peer(name=ORT_FLOAT, function=bound.conv_float(x, dot, work.threads), equal=False)
    if not work.float_model:
        return None
    (name,) = work.program.inputs
    x = np.ascontiguousarray(work.x.astype(np.float32) / np.float32(255))
    return Peer(name=ORT_FLOAT, function=bound.bound(work.float_model, {name: x}, work.threads), equal=False)


def torch_int_mm(work: Work) -> Peer | None:
    """torch._int_mm: s8 x s8 or u8 x s8 into int32."""
    dot = _bare(work)
    if dot is None or not plain(dot.mac):
        return None
    import torch

    torch.set_num_threads(work.threads)
    x, w = torch.from_numpy(work.x), torch.from_numpy(np.ascontiguousarray(dot.weight.T))
    product: Any = torch._int_mm
    return Peer(name=TORCH, function=lambda: np.asarray(product(x, w).numpy()))


def numpy_float32(work: Work) -> Peer | None:
    """numpy's float32 matrix product, for scale."""
    dot = _bare(work)
    if dot is None or not plain(dot.mac):
        return None
    x, w = work.x.astype(np.float32), np.ascontiguousarray(dot.weight.T.astype(np.float32))
    return Peer(name=NUMPY, function=lambda: x @ w, equal=False)


def xnnpack(work: Work) -> Peer | None:
    """LiteRT's default kernels."""
    return _litert(work, XNNPACK, "AUTO")


def litert_builtin(work: Work) -> Peer | None:
    """LiteRT's own kernels (ruy), without XNNPACK."""
    return _litert(work, LITERT, "BUILTIN_WITHOUT_DEFAULT_DELEGATES")


def _litert(work: Work, name: str, resolver: str) -> Peer | None:
    """A convolution or a network in LiteRT's signed bytes, which are ours shifted by 128.

    A network's averages and sums of tensors are rounded by other rules than onnxruntime's, which ours emulates then.
    """
    dot = the_dot(work)
    door = next(iter(work.program.outputs.values()))
    if work.x.dtype != np.uint8 or door.affine.type.bits != 8 or work.wide is not None:
        return None
    if dot is None:
        source = without_idle_clips(work.program)
        function = bound_litert.network(source, inside(work.x), resolver, work.threads)
        return Peer(name=name, function=lambda: outside(bound_litert.unsigned(function())), equal=False)
    if not dot.window.kernel:
        return None
    if not plain(dot.mac) or dot.group not in (1, work.x.shape[1]):
        return None
    function = bound_litert.conv(inside(work.x), dot, _float_scale(dot), resolver, work.threads)
    same = name == XNNPACK and isinstance(dot.rescale.rule, Float32Scale)
    return Peer(name=name, function=lambda: outside(bound_litert.unsigned(function())), equal=same)


def wide(work: Work) -> Peer | None:
    """Our own engine on a plain 32-bit accumulator."""
    program = work.wide
    if program is None:
        return None
    x = work.x if work.x.dtype == next(iter(program.inputs.values())).affine.type.dtype else None
    fed = np.abs(work.x.astype(np.int64)).astype(np.uint8) if x is None else x  # wider inputs: their low bytes
    return Peer(name=WIDE, function=bound_to(program, fed, work.threads), equal=False)


def loop(work: Work) -> Peer | None:
    """A plain numba loop over a multiplier's table, row by row: what one writes first."""
    dot = the_dot(work)
    if dot is None or dot.window.kernel or dot.mac.multiplier is None or not plain(replace(dot.mac, multiplier=None)):
        return None
    from intsim_kernels.plain import table_product

    entries, w = dot.mac.multiplier.entries, np.ascontiguousarray(dot.weight.T.view(np.uint8))
    out = np.empty((len(work.x), w.shape[1]), np.int32)

    def run_loop() -> np.ndarray:
        table_product(work.x, w, entries, out)
        return out

    return Peer(name=LOOP, function=run_loop)


PEERS: dict[str, Factory] = {
    ORT: ort_u8s8,
    ORT_FLOAT: ort_float32,
    TORCH: torch_int_mm,
    NUMPY: numpy_float32,
    XNNPACK: xnnpack,
    LITERT: litert_builtin,
    WIDE: wide,
    LOOP: loop,
    QONNX: people.qonnx_execution,
    AP_FIXED: people.ap_fixed_simulation,
    FAKE: people.fake_quantized,
    OWN: own,
}
assert set(RIVALS) <= set(PEERS)
