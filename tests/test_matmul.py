"""Sums of products of two activations: engine, oracle, bounds, floats, and onnxruntime's QLinearMatMul."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from programs import (
    Rng,
    any_affine,
    any_bias,
    any_input,
    any_mac,
    any_requantize,
    any_rescale,
    any_type,
    one_of,
    one_program,
)
from test_engine import agree, unhurried

from intsim import TARGETS, IntsimError, archive, oracle, ranges
from intsim.certify.carried import carried
from intsim.check import check
from intsim.graph import Graph, Node
from intsim.integers import Affine, Overflow, affine
from intsim.lower import lower
from intsim.onnx_io import read_quantized, write_qdq, write_qoperator
from intsim.ops.matmul import sums_of_two, unfit
from intsim.program import MatMul, Program, inside
from intsim.quantized import QuantizedGraph
from intsim.target import Target
from intsim.targets import with_accumulator


def matmul_program(rng: Rng) -> Program:
    """A Program of one random product of two tensors of two to four axes, channels last."""
    i, k, j = (int(rng.integers(1, 6)) for _ in range(3))
    k = int(one_of(rng, k, rng.integers(1, 60)))
    outer = tuple(int(size) for size in rng.integers(1, 4, int(rng.integers(0, 3))))
    shapes = [tuple(one_of(rng, size, size, 1) for size in outer) + tail for tail in ((i, k), (k, j))]
    kinds = [any_type(rng), any_type(rng)]
    a, b = (any_affine(rng, kind) for kind in kinds)
    out = any_affine(rng, any_type(rng))
    reach = k * max(abs(a.type.low - a.zero), a.type.high - a.zero) * max(abs(b.type.low - b.zero), 1) / 3
    made = MatMul(
        zero_points=(a.zero, b.zero),
        mac=any_mac(rng),
        bias_rule=any_bias(rng),
        rescale=any_rescale(rng, any_requantize(rng), out, 1, float(reach)),
    )
    if unfit(made, *kinds):
        made = replace(made, mac=replace(made.mac, write_back=None))
    return one_program(made, [(*shape[1:], shape[0]) for shape in shapes], [a, b], out)


@unhurried
@given(st.integers(0, 2**60))
def test_any_product_of_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = matmul_program(rng)
    agree(program, any_input(rng, program, 2), threads=2)


def test_random_products_are_run_in_every_way() -> None:
    from intsim import engine

    kernels = {
        kernel
        for seed in range(200)
        for _, kernel, _ in engine.describe(matmul_program(np.random.default_rng(seed)), count=bool(seed % 2))
    }
    assert {"matrices in float32", "matrices in float64", "a Dot for each matrix"} <= kernels


@unhurried
@given(st.integers(0, 2**60))
def test_what_is_proven_of_a_product_is_so(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = matmul_program(rng)
    (step,), x = program.steps, any_input(rng, program, 2)
    assert isinstance(step.compute, MatMul)
    tensors = [program.tensors[name] for name in step.inputs]
    known = [(tensor.affine.type.low, tensor.affine.type.high) for tensor in tensors]
    ends = [rng.choice([0, 1], x[name].shape) for name in program.inputs]
    for name, side, (low, high) in zip(program.inputs, ends, known, strict=True):
        x[name] = np.concatenate([x[name], np.where(side, low, high).astype(x[name].dtype)])
    found = ranges.registers_of_two(step.compute, *known, tensors[0].shape[-2])
    acc, seen = sums_of_two(step.compute, *(inside(x[name]).astype(object) for name in program.inputs))
    assert found.value[0][0] <= acc.min() <= acc.max() <= found.value[1][0]
    proven = all(part.all() for part in (*found.fits, found.held, found.back, found.end))
    assert not (proven and seen.adds)
    assert not (proven and found.exact.all() and seen.persistent)
    boxes = {name: (inside(x[name]).astype(np.int64),) * 2 for name in program.inputs}
    for i, free in enumerate(carried(program, boxes).free[step.name]):
        one = oracle.run(program, {name: array[i : i + 1] for name, array in x.items()}, count=True)
        assert not (free and one.overflows[step.name].adds)


def two(scheme_of: Target, m: int = 5, k: int = 7, n: int = 4, heads: int = 3) -> QuantizedGraph:
    """Heads of matrices, in the types that the machine prefers."""
    scheme = scheme_of.scheme
    type_ = scheme.activations[0]

    def of(scale: float, zero: int) -> Affine:
        step = scheme.activation_scale or (2.0 ** round(np.log2(scale)) if scheme.power_of_two else scale)
        return affine(step, (zero if type_.signed else zero + 128) if scheme.zero_points else 0, type_)

    graph = Graph(
        name="two",
        inputs=("a", "b"),
        outputs=("y",),
        nodes=(Node(name="product", op="MatMul", inputs=("a", "b"), outputs=("y",)),),
        constants={},
        shapes={"a": (heads, m, k), "b": (heads, k, n), "y": (heads, m, n)},
    )
    return QuantizedGraph(graph=graph, affines={"a": of(0.02, 3), "b": of(0.03, -9), "y": of(0.06, 5)})


def floats(program: Program, rng: Rng, n: int) -> dict[str, np.ndarray]:
    """All that 8 bits hold; of 16 bits so much that sums fit the 32 bits of machines whose weights have 8."""
    found = {}
    for name, door in program.inputs.items():
        of = door.affine
        low, high = max(of.type.low, of.zero - 4096), min(of.type.high, of.zero + 4096)
        found[name] = (of.scale[0] * (rng.integers(low, high + 1, (n, *door.shape)) - of.zero)).astype(np.float32)
    return found


TAKES = [name for name, target in TARGETS.items() if target.scheme.ops is None or "MatMul" in target.scheme.ops]


@pytest.mark.parametrize("name", TAKES)
def test_every_machine_multiplies_two_activations(name: str) -> None:
    """As all its sums of products: engine and oracle agree, and real numbers are within two steps of the floats'."""
    target = TARGETS[name]
    program = lower(two(target), target)
    x = floats(program, np.random.default_rng(0), 2)
    agree(program, x)
    right = x["a"].astype(np.float64) @ x["b"]
    y = program.outputs["y"].affine
    low, high = (y.scale[0] * (end - y.zero) for end in (y.type.low, y.type.high))
    exact = program.steps[0].compute.mac.levels[-1].bits in (None, 32, 64)
    if exact and target.output is Overflow.SATURATE and target.fidelity != "assumed":
        error = np.abs(oracle.run(program, x).logits["y"] - np.clip(right, low, high)) / y.scale[0]
        assert error.max() <= 2.001 or "avx2" in name, error.max()


@pytest.mark.parametrize("overflow", Overflow)
def test_narrow_accumulators_are_the_oracle_s(overflow: Overflow) -> None:
    for name, tile in (("litert_ref", None), ("ort_x86_vnni", 2)):
        target = with_accumulator(TARGETS[name], 12, overflow, tile)
        program = lower(two(target), target)
        agree(program, floats(program, np.random.default_rng(1), 2))


def test_a_product_is_a_file_and_a_damaged_one_ends_in_the_check(tmp_path: Path) -> None:
    program = lower(two(TARGETS["litert_ref"]), TARGETS["litert_ref"])
    archive.write(program, tmp_path / "two.intsim")
    again = archive.read(tmp_path / "two.intsim")
    x = floats(program, np.random.default_rng(2), 2)
    assert np.array_equal(oracle.run(again, x).integers["y"], oracle.run(program, x).integers["y"])
    (step,) = program.steps
    with pytest.raises(IntsimError, match="another number of inputs"):
        check(replace(program, steps=(replace(step, inputs=("a",)),)))
    with pytest.raises(IntsimError, match="do not fit together"):
        check(replace(program, steps=(replace(step, inputs=("a", "a")),)))


# ---- files and onnxruntime ------------------------------------------------------------------------------------


def typed(k: int, types: tuple[str, str, str]) -> QuantizedGraph:
    """A product whose results reach nearly all integers, of tensors of these types."""
    source = two(TARGETS["ort_x86_sse41"], m=6, k=k, n=9, heads=2)
    scales, zeros = (0.021, 0.034, 0.028 * k**0.5), {"u8": 131, "s8": -5}
    affines = {name: affine(scale, zeros[t], t) for name, scale, t in zip("aby", scales, types, strict=True)}
    return replace(source, affines=affines)


def mild(source: QuantizedGraph, n: int = 2) -> dict[str, np.ndarray]:
    """Integers that no pair of products saturates, so that every instruction set gives the same."""
    rng, found = np.random.default_rng(0), {}
    for name in "ab":
        kind = source.affines[name].type
        low, high = (-63, 64) if kind.signed else (0, 128) if source.affines["b"].type.signed else (66, 192)
        found[name] = rng.integers(low, high, (n, *source.graph.shapes[name])).astype(kind.dtype)
    return found


def of_integers(program: Program) -> Program:
    """The Program with doors that take integers."""
    return replace(program, inputs={n: replace(d, pixels=None, table=None) for n, d in program.inputs.items()})


@pytest.mark.parametrize("types", [("u8", "u8", "u8"), ("s8", "s8", "s8")])
@pytest.mark.parametrize("k", [7, 64, 129])
def test_products_are_those_of_qlinearmatmul(types: tuple[str, str, str], k: int, tmp_path: Path) -> None:
    source = typed(k, types)
    write_qoperator(source, tmp_path / "two.onnx", io="integer")
    session = onnxruntime.InferenceSession(tmp_path / "two.onnx", providers=["CPUExecutionProvider"])
    x = mild(source)
    (theirs,) = session.run(None, x)
    ours = of_integers(lower(source, TARGETS["ort_x86_sse41"]))
    assert np.array_equal(oracle.run(ours, x).integers["y"], theirs)
    assert len(np.unique(theirs)) > 50


@pytest.mark.parametrize("write", [write_qoperator, write_qdq])
def test_files_bring_a_product_back(write: Callable[..., None], tmp_path: Path) -> None:
    source = typed(7, ("u8", "u8", "u8"))
    write(source, tmp_path / "two.onnx")
    again = read_quantized(tmp_path / "two.onnx")
    assert again.graph.nodes == source.graph.nodes
    assert again.affines == source.affines


@pytest.mark.parametrize("write", [write_qoperator, write_qdq])
def test_a_product_with_a_factor_is_none_of_onnx_s(write: Callable[..., None], tmp_path: Path) -> None:
    source = typed(7, ("u8", "u8", "u8"))
    nodes = (replace(source.graph.nodes[0], attributes={"alpha": 0.5}),)
    with pytest.raises(IntsimError, match="has a factor"):
        write(replace(source, graph=replace(source.graph, nodes=nodes)), tmp_path / "two.onnx")


def test_a_factor_is_part_of_the_multiplier() -> None:
    """Half the product, at half the output's scale, is the same integer."""
    target = TARGETS["litert_ref"]
    source = two(target)
    nodes = (replace(source.graph.nodes[0], attributes={"alpha": 0.5}),)
    y = source.affines["y"]
    halved = replace(
        source,
        graph=replace(source.graph, nodes=nodes),
        affines={**source.affines, "y": replace(y, scale=(y.scale[0] / 2,))},
    )
    x = floats(lower(source, target), np.random.default_rng(3), 2)
    first, second = (oracle.run(lower(one, target), x).integers["y"] for one in (source, halved))
    assert np.array_equal(first, second)
