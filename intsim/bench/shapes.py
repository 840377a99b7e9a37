"""Works of one layer: matrix products and convolutions from a short text, with integers drawn at random."""

import re
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.arithmetic import encoded
from intsim.bench.records import Work
from intsim.check import check
from intsim.errors import IntsimError
from intsim.graph import Graph
from intsim.integers import Affine, IntType, Rounding, affine
from intsim.ops.dot import shape_of_dot
from intsim.program import Door, Dot, Program, Rescale, Step, Tensor, Window
from intsim.quantized import QuantizedGraph
from intsim.target import Bias, FixedPoint, Float32Scale, Level, Mac, PowerOfTwo, Requantize, Target

RULES: dict[str, Requantize] = {
    "float32": Float32Scale(),
    "pow2": PowerOfTwo(),
    "single": FixedPoint(),
    "double": FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY),
}
"""The requantizers of the goals: float32 as onnxruntime and XNNPACK do it, double as LiteRT's reference does."""

WIDE = Mac(levels=(Level(bits=32),), zero_point="folded")
U8, S8 = IntType(8, signed=False), IntType(8)
FITTING = 64
"""Weights lie in -64..63: then no pair of products leaves 16 bits, where onnxruntime saturates on x86 without VNNI."""

GEMM_GRAMMAR = "gemm:MxNxK"
CONV_GRAMMAR = "conv:HxWxC:KHxKW:N[:sSTRIDE][:dDILATION][:gGROUPS][:pPADDING][:nBATCH][:float32|pow2|single|double]"


class Conv(Struct, frozen=True, kw_only=True):
    """A convolution's geometry: input h x w x c, `outputs` channels; `padding` on all sides (None: same size)."""

    h: int
    w: int
    c: int
    kernel: tuple[int, int]
    outputs: int
    stride: int = 1
    dilation: int = 1
    group: int = 1
    padding: int | None = None
    batch: int = 1
    rule: str = "float32"

    @property
    def window(self) -> Window:
        """The same as a Window."""
        pads = tuple(self.dilation * (k - 1) // 2 if self.padding is None else self.padding for k in self.kernel)
        return Window(
            kernel=self.kernel, strides=(self.stride,) * 2, dilations=(self.dilation,) * 2, begin=pads, end=pads
        )


# ---- programs --------------------------------------------------------------------------------------------------


def one_dot(name: str, dot: Dot, shape: tuple[int, ...], source: Affine, out: Affine, target: Target) -> Program:
    """A Program of one sum of products on `x[n, *shape]` (channels last); its doors take and give integers."""
    tensors = {
        "x": Tensor(shape=shape, affine=source),
        "y": Tensor(shape=shape_of_dot(dot, shape), affine=out),
    }

    def door(tensor: str) -> Door:
        inner = tensors[tensor].shape
        return Door(tensor=tensor, shape=(inner[-1], *inner[:-1]), affine=tensors[tensor].affine)

    step = Step(
        name="dot",
        op="Conv" if dot.window.kernel else "Gemm",
        inputs=("x",),
        outputs=("y",),
        target=target.name,
        compute=dot,
    )
    empty = Graph(name=name, inputs=(), outputs=(), nodes=(), constants={}, shapes={})
    return check(
        Program(
            name=name,
            inputs={"x": door("x")},
            outputs={"y": door("y")},
            tensors=tensors,
            steps=(step,),
            targets={target.name: target},
            source=QuantizedGraph(graph=empty, affines={}),
        )
    )


def gemm_program(w: np.ndarray, *, mac: Mac = WIDE, x: IntType = U8, out_bits: int = 32, name: str = "") -> Program:
    """x[m, k] @ w[k, n] into integers of `out_bits` bits, as the accumulator holds them; `x` is the inputs' type."""
    k, n = w.shape
    out = IntType(out_bits)
    dot = Dot(
        window=Window(kernel=(), strides=(), dilations=(), begin=(), end=()),
        group=1,
        weight=np.ascontiguousarray(w.T),
        weight_zero_point=np.zeros(1, np.int64),
        bias=np.zeros(n, np.int64),
        input_zero_point=0,
        mac=mac,
        bias_rule=Bias(),
        rescale=Rescale(rule=PowerOfTwo(), zero_point=0, low=out.low, high=out.high, exponent=np.zeros(1, np.int64)),
    )
    target = Target(name=name or "int32", description="the bare accumulator", mac=mac, requantize=PowerOfTwo())
    return one_dot("gemm", dot, (k,), affine(1.0, 0, x), affine(1.0, 0, out), target)


def conv_program(
    conv: Conv, weight: np.ndarray, *, mac: Mac = WIDE, zero_point: int = 7, seed: int = 0, name: str = ""
) -> Program:
    """The convolution with a bias and 8 bits out, requantized by its rule so that the output's range is used."""
    rng, rule = np.random.default_rng(seed), RULES[conv.rule]
    depth = int(np.prod(weight.shape[1:]))
    spread = 75.0 * max(1.0, float(weight.std())) * np.sqrt(depth) / 40
    scales = rng.uniform(0.7, 1.4, conv.outputs).astype(np.float32)
    if conv.rule == "pow2":
        scales, spread = (2.0 ** rng.integers(-1, 2, conv.outputs)).astype(np.float32), 2.0 ** np.ceil(np.log2(spread))
    source, out = affine(1.0, zero_point, U8), affine(spread, 3, U8)
    dot = Dot(
        window=conv.window,
        group=conv.group,
        weight=weight,
        weight_zero_point=np.zeros(1, np.int64),
        bias=rng.integers(-3000, 3000, conv.outputs).astype(np.int64),
        input_zero_point=zero_point,
        mac=mac,
        bias_rule=Bias(),
        rescale=encoded(rule, 1.0, [float(s) for s in scales], out.scale[0], zero_point=out.zero, low=0, high=255),
    )
    target = Target(name=name or conv.rule, description="a 32-bit accumulator", mac=mac, requantize=rule)
    return one_dot("conv", dot, (conv.h, conv.w, conv.c), source, out, target)


# ---- works -----------------------------------------------------------------------------------------------------


def gemm(m: int, n: int, k: int, *, threads: int = 1, seed: int = 0, **about: Any) -> Work:
    """The work x[m, k] @ w[k, n] into int32; `about`: fields of Work."""
    rng = np.random.default_rng(seed)
    w = rng.integers(-FITTING, FITTING, (k, n)).astype(np.int8)
    x = rng.integers(0, 256, (m, k)).astype(np.uint8)
    return Work(**{"name": f"gemm {m}x{n}x{k}", **about}, program=gemm_program(w), x=x, threads=threads)


def convolution(conv: Conv, *, threads: int = 1, seed: int = 0, **about: Any) -> Work:
    """The work of a convolution; `about`: fields of Work."""
    rng = np.random.default_rng(seed)
    shape = (conv.outputs, *conv.kernel, conv.c // conv.group)
    weight = rng.integers(-FITTING, FITTING, shape).astype(np.int8)
    x = rng.integers(0, 256, (conv.batch, conv.h, conv.w, conv.c)).astype(np.uint8)
    return Work(
        **{"name": conv_name(conv), **about},
        program=conv_program(conv, weight, seed=seed),
        x=np.moveaxis(x, -1, 1),
        threads=threads,
    )


def conv_name(conv: Conv) -> str:
    """What a table calls it."""
    kind = "depthwise" if conv.group == conv.c == conv.outputs else f"group {conv.group}" if conv.group > 1 else "conv"
    step = (f" s{conv.stride}" if conv.stride > 1 else "") + (f" d{conv.dilation}" if conv.dilation > 1 else "")
    batch = f", batch {conv.batch}" if conv.batch > 1 else ""
    size = f"{conv.kernel[0]}x{conv.kernel[1]}{step}, {conv.h}x{conv.w}x{conv.c} to {conv.outputs}"
    return f"{kind} {size}, {conv.rule}{batch}"


def parse(text: str, *, threads: int = 1) -> Work:
    """The work that a text like gemm:1000x256x784 or conv:56x56x64:3x3:64:s1 stands for; IntsimError for any other."""
    kind, _, rest = text.partition(":")
    if kind == "gemm" and (sizes := re.fullmatch(r"(\d+)x(\d+)x(\d+)", rest)):
        m, n, k = map(int, sizes.groups())
        if min(m, n, k) < 1:
            raise IntsimError("has a size of 0", where=f"--shape {text}")
        return gemm(m, n, k, threads=threads)
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+):(\d+)x(\d+):(\d+)((?::\w+)*)", rest) if kind == "conv" else None
    if found is None:
        raise IntsimError("is no shape", where=f"--shape {text}", mend=f"write {GEMM_GRAMMAR} or {CONV_GRAMMAR}")
    h, w, c, kh, kw, outputs = map(int, found.groups()[:6])
    conv = Conv(h=h, w=w, c=c, kernel=(kh, kw), outputs=outputs, **_extras(found[7], text))
    spans = [conv.dilation * (k - 1) + 1 - 2 * p for k, p in zip(conv.kernel, conv.window.begin, strict=True)]
    if min(h, w, c, kh, kw, outputs, conv.stride, conv.dilation, conv.group, conv.batch) < 1:
        raise IntsimError("has a size of 0", where=f"--shape {text}")
    if c % conv.group or outputs % conv.group:
        raise IntsimError(f"{conv.group} groups do not divide its channels", where=f"--shape {text}")
    if spans[0] > h or spans[1] > w:
        raise IntsimError("has a kernel larger than its input", where=f"--shape {text}")
    return convolution(conv, threads=threads)


def _extras(text: str, whole: str) -> dict[str, Any]:
    names = {"s": "stride", "d": "dilation", "g": "group", "p": "padding", "n": "batch"}
    extras: dict[str, Any] = {}
    for part in text.split(":")[1:]:
        if part in RULES:
            extras["rule"] = part
        elif part[0] in names and part[1:].isdigit():
            extras[names[part[0]]] = int(part[1:])
        else:
            raise IntsimError(f'"{part}" says nothing', where=f"--shape {whole}", mend=f"write {CONV_GRAMMAR}")
    return extras
