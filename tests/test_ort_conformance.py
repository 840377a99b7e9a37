"""Our onnxruntime machine gives onnxruntime's integers, and no other rule that was thought of does."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pytest
from msgspec.structs import replace
from small_networks import Net, any_affine, everything, functions, integers

from intsim import TARGETS, engine, oracle
from intsim.compare import compare
from intsim.compare.steps import one_step
from intsim.integers import Affine, Overflow, Rounding, affine
from intsim.lower import lower
from intsim.onnx_io import qoperator_model
from intsim.quantized import QuantizedGraph
from intsim.reference import ort
from intsim.target import (
    Divide,
    Float32Add,
    Float32Scale,
    Float64Scale,
    Level,
    Mac,
    RescaledSum,
    Target,
    TwoMultipliers,
)

HOST = ort.host_profile()
on_known_hosts = pytest.mark.skipif(HOST not in TARGETS, reason=f"{HOST} is not in the catalogue")

TYPES = (("u8", "s8"), ("u8", "u8"), ("s8", "s8"))
EXACT = Mac(zero_point="folded")
PAIRS = Mac(levels=(Level(size=2, bits=16, overflow=Overflow.SATURATE), Level()), zero_point="folded")


def _dot(**rules: object) -> Callable[[Target], Target]:
    """The machine with one rule for all sums of products."""
    return lambda target: replace(
        target, overrides=() if "mac" in rules else target.overrides, **{k: v for k, v in rules.items()}
    )


def _with(**rules: object) -> Callable[[Target], Target]:
    return lambda target: replace(target, **rules)


# What one might think instead, and a layer that shows that it is not so.
OTHERS: dict[str, tuple[Callable[[Target], Target], str]] = {
    "accumulators never saturate": (_dot(mac=EXACT), "conv 3x3"),
    "every product saturates in pairs": (_dot(mac=PAIRS), "depthwise"),
    "pairs along the channels first": (_dot(mac=replace(PAIRS, order="chw")), "conv 3x3"),
    "pairs of operands without zero point": (_dot(mac=replace(PAIRS, zero_point="in_operand")), "conv 3x3"),
    "ties away from zero": (_with(requantize=Float32Scale(rounding=Rounding.HALF_AWAY)), "conv with ties"),
    "zero point before the rounding": (_with(requantize=Float32Scale(zero_point="before")), "conv with ties"),
    "scale in float64": (_with(requantize=Float64Scale(rounding=Rounding.HALF_EVEN)), "conv beyond 2^24"),
    "add without fused multiply-add": (_with(add=Float32Add(fused=False)), "add with sixths"),
    "add in fixed point": (_with(add=TwoMultipliers(bits=22, rounding=Rounding.HALF_AWAY)), "add with ties"),
    "average in integers": (_with(average_pool=Divide(rounding=Rounding.HALF_EVEN)), "average pool"),
    "mean by a quotient of scales": (
        _with(mean=RescaledSum(requantize=Float32Scale(), encoding="f32_quotient")),
        "global average pool with near ties",
    ),
    "concatenation by a product of scales": (_with(convert=Float32Scale()), "concat with ties"),
}
# Where the CPU has no 16-bit pairs, sums of the sizes below cannot saturate, and this is the truth.
if HOST != "ort_x86_avx2":
    del OTHERS["accumulators never saturate"]


# ---- the layers ----------------------------------------------------------------------------------------------


def _result(net: Net, scale: float) -> Affine:
    return any_affine(net.rng, net.activation, scale=scale)


def _conv(
    channels: int, outputs: int, kernel: tuple[int, ...], size: tuple[int, ...], **how: object
) -> Callable[[Net], str]:
    """Scales such that the sums of full-range operands fill the output's range and half of them more."""

    def build(net: Net) -> str:
        x = net.input(channels, *size, of=_result(net, 0.05))
        depth = channels // int(how.get("group", 1)) * int(np.prod(kernel))
        spread = _result(net, 0.05 * 0.01 * 60 * depth**0.5)
        return net.conv(x, outputs, kernel, of=spread, zero=37 if net.weight == "u8" else 0, **how)

    return build


def _ties(bias: int, out: float) -> Callable[[Net], str]:
    """Powers of two as scales and small weights: many accumulators lie exactly between two outputs."""

    def build(net: Net) -> str:
        x = net.input(6, 5, 5, of=_result(net, 2.0**-5))
        zero = 37 if net.weight == "u8" else 0
        small = (net.rng.integers(-4, 5, (8, 6, 1, 1)) + zero).astype(np.uint8 if zero else np.int8)
        return net.conv(x, 8, (1, 1), of=_result(net, out), scale=2.0**-6, bias=bias, zero=zero, values=small)

    return build


def _beyond_float(net: Net) -> str:
    """Accumulators that are biases beyond 2^24, which float32 rounds to exact ties."""
    x = net.input(4, 3, 3, of=_result(net, 2.0**-5))
    bias = (net.rng.integers(-100, 100, 32) * 2 + 1) * 2**20 + net.rng.integers(-5, 6, 32)
    zero = 37 if net.weight == "u8" else 0
    nothing = np.full((32, 4, 1, 1), zero, np.uint8 if zero else np.int8)
    return net.conv(x, 32, (1, 1), of=_result(net, 2.0**10), scale=2.0**-6, bias=bias, zero=zero, values=nothing)


def _gemm(depth: int, outputs: int, **how: object) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        x = net.input(depth, of=_result(net, 0.05))
        spread = _result(net, 0.05 * 0.01 * 60 * depth**0.5)
        return net.gemm(x, outputs, of=spread, zero=37 if net.weight == "u8" else 0, **how)

    return build


def _add(*scales: float) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        a, b = (net.input(3, 13, 11, of=_result(net, scale)) for scale in scales[:2])
        return net.add(a, b, of=_result(net, scales[2]))

    return build


def _concat(*scales: float) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        parts = [net.input(2, 16, 8, of=_result(net, scale)) for scale in scales[1:]]
        return net.concat(*parts, of=_result(net, scales[0]))

    return build


def _pool(op: str, size: tuple[int, ...], ratio: float, kernel: tuple[int, ...], **how: object) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        x = net.input(5, *size, of=_result(net, 0.05))
        return net.pool(op, x, kernel, of=_result(net, 0.05 * ratio), **how)

    return build


def _mean(size: tuple[int, ...], ratio: float, scale: float = 0.053) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        x = net.input(40, *size, of=_result(net, scale))
        return net.mean(x, of=_result(net, scale * ratio))

    return build


LAYERS: dict[str, Callable[[Net], str]] = {
    "conv 1x1": _conv(16, 8, (1, 1), (4, 4)),
    "conv 1x1 of odd depth": _conv(13, 8, (1, 1), (4, 4)),
    "conv 3x3": _conv(4, 8, (3, 3), (6, 6)),
    "conv 3x3 of odd depth": _conv(3, 5, (3, 3), (6, 6)),
    "conv 3x3 of one channel": _conv(1, 8, (3, 3), (7, 7)),
    "conv one channel to one": _conv(1, 1, (3, 3), (12, 12)),
    "conv asymmetric": _conv(6, 4, (2, 3), (7, 6), strides=(2, 1), pads=(1, 0, 0, 2)),
    "conv dilated": _conv(5, 4, (3, 2), (8, 6), dilations=(2, 3), pads=(2, 1, 1, 2)),
    "conv per tensor": _conv(8, 8, (3, 3), (5, 5), per_channel=False, bias=False),
    "conv of a line": _conv(6, 5, (4,), (20,), pads=(2, 1)),
    "conv grouped": _conv(8, 6, (3, 3), (5, 5), group=2),
    "conv grouped, two for one": _conv(4, 8, (3, 3), (6, 6), group=4),
    "depthwise": _conv(17, 17, (3, 3), (6, 6), group=17, pads=(1, 1, 1, 1)),
    "depthwise 5x5": _conv(8, 8, (5, 5), (7, 7), group=8, strides=(2, 2), pads=(2, 2, 1, 1)),
    "conv with ties": _ties(0, 2.0**-8),
    "conv with ties and a bias": _ties(200, 2.0**-7),
    "conv beyond 2^24": _beyond_float,
    "gemm": _gemm(64, 10),
    "gemm of odd depth": _gemm(63, 33),
    "gemm per tensor": _gemm(100, 7, per_channel=False, bias=False),
    "gemm of one product": _gemm(1, 9),
    "add": _add(0.0213, 0.0377, 0.0551),
    "add with ties": _add(0.5, 0.25, 1.0),
    "add with sixths": _add(0.15, 0.75, 0.9),
    "add into a finer scale": _add(0.03, 0.07, 0.011),
    "concat": _concat(0.0533, 0.0213, 0.0977),
    "concat with ties": _concat(0.2, 0.1, 0.3, 0.7),
    "concat of equal affines": _concat(0.05, 0.05),
    "max pool": _pool("MaxPool", (8, 7), 1.0, (3, 2), strides=(2, 2), pads=(1, 0, 1, 1)),
    "average pool": _pool("AveragePool", (8, 8), 0.61, (2, 2), strides=(2, 2)),
    "average pool of thirds": _pool("AveragePool", (9, 9), 1.0, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
    "average pool with padding": _pool("AveragePool", (9, 8), 0.5, (2, 3), pads=(1, 2, 0, 1), include=1),
    "global average pool": _mean((7, 7), 0.57),
    "global average pool with ties": _mean((8, 8), 0.125),
    "global average pool of thirds": _mean((3, 5), 1.0),
    "global average pool with near ties": _mean((2, 3), 2 / 9, scale=0.9),
}


@cache
def case(layer: str, activation: str, weight: str) -> tuple[QuantizedGraph, Mapping[str, np.ndarray], np.ndarray]:
    """The network, integers over the whole range of its inputs, and what onnxruntime makes of them."""
    rng = np.random.default_rng([len(layer), *layer.encode(), *activation.encode(), *weight.encode()])
    net = Net(rng, activation, weight)
    network = net.done(LAYERS[layer](net))
    feeds = {name: integers(rng, activation, (2, *network.graph.shapes[name])) for name in network.graph.inputs}
    found = ort.run(qoperator_model(network, io="integer").SerializeToString(), feeds)
    return network, feeds, found[network.graph.outputs[0]]


def _mismatches(layer: str, types: tuple[str, str], target: Target) -> int:
    network, feeds, theirs = case(layer, *types)
    return _different(network, feeds, theirs, target)


def _different(network: QuantizedGraph, feeds: Mapping[str, np.ndarray], theirs: np.ndarray, target: Target) -> int:
    program = lower(network, target)
    (output,) = network.graph.outputs
    ours = oracle.run(one_step(program, program.steps[0]), feeds, trace=(output,)).traced[output]
    assert ours.shape == theirs.shape
    return int(np.count_nonzero(ours.astype(int) != theirs))


@on_known_hosts
@pytest.mark.parametrize("types", TYPES, ids="x".join)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_equals_onnxruntime(layer: str, types: tuple[str, str]) -> None:
    found = _mismatches(layer, types, TARGETS[HOST])
    if found:
        others = {name: _mismatches(layer, types, change(TARGETS[HOST])) for name, (change, _) in OTHERS.items()}
        exact = [name for name, count in others.items() if count == 0]
        pytest.fail(f"{HOST}: {found} differ; rules that explain it: {exact or others}")


@on_known_hosts
@pytest.mark.parametrize("rule", OTHERS)
def test_a_layer_tells_this_rule_from_onnxruntime(rule: str) -> None:
    change, layer = OTHERS[rule]
    counts = {"x".join(types): _mismatches(layer, types, change(TARGETS[HOST])) for types in TYPES}
    assert any(counts.values()), f"{layer}: {rule} is never wrong"


@on_known_hosts
@pytest.mark.parametrize("types", TYPES, ids="x".join)
@pytest.mark.parametrize("make", [everything, functions])
def test_a_network_of_every_operator_equals_onnxruntime(
    make: Callable[..., QuantizedGraph], types: tuple[str, str]
) -> None:
    network = make(np.random.default_rng(7), *types)
    rng = np.random.default_rng(8)
    x = {n: rng.integers(0, 256, (2, *network.graph.shapes[n])).astype(np.uint8) for n in network.graph.inputs}
    found = compare(lower(network, TARGETS[HOST]), "onnxruntime", x, run=oracle.run)
    assert [(layer.name, layer.mismatches, layer.single_mismatches) for layer in found.layers] == [
        (node.name, 0, 0) for node in network.graph.nodes
    ]


def _one(op: str, x: np.ndarray, of: Affine, y: Affine, shape: tuple[int, ...], **fields: object) -> np.ndarray:
    """The integers that onnxruntime has and ours has not, or the other way, at an operator of one input."""
    net = Net(np.random.default_rng(0), str(of.type))
    network = net.done(net._node(op, [net.input(*x.shape[1:], of=of)], shape, y, **fields))
    found = ort.run(qoperator_model(network, io="integer").SerializeToString(), {"input_0": x})
    program = lower(network, TARGETS[HOST])
    (output,) = network.graph.outputs
    ours = engine.run(one_step(program, program.steps[0]), {"input_0": x}, trace=(output,)).traced[output]
    return ours.astype(int) - found[output]


@on_known_hosts
@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("coordinate", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
def test_a_resize_looks_where_onnxruntime_does(coordinate: str, nearest: str) -> None:
    """Among these sizes are places that float32 puts on the other side of an integer, or of a half."""
    same = any_affine(np.random.default_rng(0), "u8")
    for n, m in ((10, 52), (7, 16), (13, 4), (20, 58), (14, 19), (14, 1), (29, 49), (1, 5)):
        x = np.broadcast_to(np.arange(n, dtype=np.uint8), (1, 1, 2, n))
        fields = {"mode": "nearest", "coordinate": coordinate, "nearest": nearest}
        assert not _one("Resize", x, same, same, (1, 3, m), **fields).any(), (n, m)


@on_known_hosts
def test_equal_numbers_in_a_softmax_are_rounded_as_onnxruntime_does() -> None:
    """Two or more equal largest ones make quotients that are ties, or a hair from one."""
    rng = np.random.default_rng(0)
    for depth, sx, sy in ((2, 0.11618369072675705, 0.010090372525155544), (3, 0.19, 0.0253), (6, 0.1, 0.007)):
        top = rng.integers(0, 128, (2000, 1))
        x = np.where(rng.random((2000, depth)) < 0.5, top, top - rng.integers(1, 100, (2000, depth))).astype(np.int8)
        found = _one("Softmax", x, affine(sx, 5, "s8"), affine(sy, -90, "s8"), (depth,), axis=1)
        assert not found.any(), depth
