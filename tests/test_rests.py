"""Integers that fill no vector: which ones they are, and that engine and oracle agree on the rule that they have."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from programs import any_add, any_affine, any_input, any_requantize, any_rescale, any_type, one_program
from test_engine import agree

from intsim import TARGETS, IntsimError, archive
from intsim.check import check
from intsim.engine.ready import scheduled
from intsim.graph import Graph, Node
from intsim.integers import Affine, affine
from intsim.lower import lower
from intsim.ops.vectors import beyond, run_of
from intsim.program import Add, Compute, Convert, Door, Multiply, Program, Rest, Step
from intsim.quantized import QuantizedGraph
from intsim.ranges import intervals

RUY = TARGETS["litert_ruy_x86"]


def one_node(op: str, shapes: list[tuple[int, ...]], constant: np.ndarray | None = None) -> QuantizedGraph:
    """A node on activations of these shapes, channels first, and perhaps a constant behind them."""
    names = [f"x{i}" for i in range(len(shapes))]
    known = dict(zip(names, shapes, strict=True))
    both = [*shapes, *([] if constant is None else [constant.shape[1:]])]
    constants = {} if constant is None else {"k": constant}
    out = (sum(shape[0] for shape in shapes), *shapes[0][1:]) if op == "Concat" else np.broadcast_shapes(*both)
    affines = {name: affine(0.2 + 0.1 * i, -127, "s8") for i, name in enumerate([*names, *constants])}
    node = Node(
        name=op,
        op=op,
        inputs=(*names, *constants),
        outputs=("y",),
        attributes={"axis": 1} if op == "Concat" else {},
    )
    graph = Graph(
        name=op,
        inputs=tuple(names),
        outputs=("y",),
        nodes=(node,),
        constants=constants,
        shapes=known | {"y": out},
    )
    return QuantizedGraph(graph=graph, affines=affines | {"y": affine(0.6, -128, "s8")})


def of_integers(source: QuantizedGraph) -> Program:
    """The network on ruy, whose doors take integers."""
    made = lower(source, RUY)
    doors = {n: Door(tensor=d.tensor, shape=d.shape, affine=d.affine) for n, d in made.inputs.items()}
    return replace(made, inputs=doors)


def lowered(op: str, *shapes: tuple[int, ...]) -> Add | Multiply | Convert:
    (step,) = lower(one_node(op, list(shapes)), RUY).steps
    assert isinstance(step.compute, Add | Multiply | Convert)
    return step.compute


@pytest.mark.parametrize(
    ("a", "b", "run"),
    [
        ((3, 5), (3, 5), (15, False)),
        ((1, 1), (1, 1), (1, False)),
        ((3, 19), (1, 19), (19, False)),
        ((1, 19), (3, 19), (19, False)),
        ((2, 3, 19), (1, 1, 19), (19, False)),
        ((4, 3, 19), (4, 1, 19), (19, False)),
        ((2, 3, 35), (2, 3, 1), (35, True)),
        ((3, 1), (3, 35), (35, True)),
        ((5, 7, 20), (1, 1, 1), (700, True)),
        ((5, 7, 1), (1, 7, 20), (20, True)),
        ((4, 1, 1), (1, 5, 20), (100, True)),
        ((1, 7, 20), (5, 1, 20), (20, False)),
        ((5, 7, 3), (1, 7, 1), (0, False)),
        ((2, 1, 2, 1, 20), (1, 2, 1, 2, 20), (0, False)),
    ],
)
def test_runs_are_the_innermost_axes_that_broadcast_alike(
    a: tuple[int, ...], b: tuple[int, ...], run: tuple[int, bool]
) -> None:
    assert run_of(a, b) == run_of(b, a) == run


def test_a_tensor_that_fills_its_vectors_has_one_rule_as_before() -> None:
    for op in ("Add", "Mul"):
        assert lowered(op, (16, 2, 3), (16, 2, 3)).rest is None
        assert lowered(op, (48,), (48,)).rest is None
    assert lowered("Concat", (16, 3, 1), (32, 3, 1)).rest is None
    found = lowered("Add", (16,), (16,))
    assert isinstance(found, Add)
    assert found.rule == RUY.add.whole  # type: ignore[union-attr]


def test_a_tensor_smaller_than_a_vector_has_the_other_rule_alone() -> None:
    found = lowered("Add", (5, 3, 1), (5, 3, 1))
    assert isinstance(found, Add)
    assert found.rule == RUY.add.rest  # type: ignore[union-attr]
    assert found.rest is None


def test_one_integer_added_to_a_run_goes_in_eights_by_a_rule_of_its_own() -> None:
    found = lowered("Add", (35,), (1,))
    assert isinstance(found, Add)
    assert found.rule == RUY.add.repeated.whole  # type: ignore[union-attr]
    assert found.rest is not None
    assert (found.rest.size, found.rest.run) == (8, 35)
    assert lowered("Add", (24,), (1,)).rest is None


def test_the_last_integers_are_those_of_the_memory_channels_last() -> None:
    found = lowered("Mul", (5, 2, 2), (5, 2, 2))  # inside [2, 2, 5]: 20 integers, of which 4 fill no vector
    assert found.rest is not None
    places = beyond(found.rest, (2, 2, 5), [], found)
    assert np.flatnonzero(places).tolist() == [16, 17, 18, 19]
    assert places[1, 1].tolist() == [False, True, True, True, True]


def test_each_input_of_a_concatenation_is_a_run() -> None:
    found = lowered("Concat", (3, 3, 2), (5, 3, 2))
    assert found.rest is not None  # 18 and 30 integers: 2 and 14 fill no vector
    places = beyond(found.rest, (3, 2, 8), [(3, 2, 3), (3, 2, 5)], found)
    assert places[..., :3].sum() == 2
    assert places[..., 3:].sum() == 14


def test_differences_have_one_rule_everywhere() -> None:
    assert lowered("Sub", (17,), (17,)).rest is None


@pytest.mark.parametrize(
    "shapes", [((17,), (17,)), ((19, 2, 3), (19, 1, 1)), ((35, 1, 2), (1, 1, 2)), ((5, 3, 3),) * 2]
)
@pytest.mark.parametrize("op", ["Add", "Mul", "Concat"])
def test_lowered_programs_agree_and_stay_in_routines(op: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    if op == "Concat":
        shapes = (shapes[0], shapes[0])
    program = of_integers(one_node(op, list(shapes)))
    x = any_input(np.random.default_rng(0), program, 60)
    agree(program, x)
    kernels = [kernel for part in scheduled(program, single=False).schedule.parts for kernel in part.kernels]
    assert not any(kernel.startswith("by arrays") for kernel in kernels), kernels


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_the_rest_of_a_constant_operand_agrees(op: str) -> None:
    constant = np.arange(-9, 10, dtype=np.int8).reshape(1, 19, 1, 1)
    program = of_integers(one_node(op, [(19, 2, 3)], constant))
    assert program.steps[0].compute.rest is not None  # type: ignore[union-attr]
    agree(program, any_input(np.random.default_rng(1), program, 40))


def with_any_rest(rng: np.random.Generator) -> Program:
    """A random sum, product or joint of two inputs, and a random rule for what fills no vector."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 5)), int(rng.integers(1, 7)))
    sources, out = [any_affine(rng, any_type(rng)) for _ in range(2)], any_affine(rng, any_type(rng))
    size, kind = int(rng.integers(1, 9)), int(rng.integers(3))
    first, second = (_any_of(rng, kind, sources, out) for _ in range(2))
    if isinstance(first, Add) and isinstance(second, Add):
        second = replace(second, subtract=first.subtract)
    run = None
    if kind < 2:
        other = tuple(int(n if rng.integers(2) else 1) for n in shape)
        run = int(rng.choice([n for n in range(1, int(np.prod(shape)) + 1) if np.prod(shape) % n == 0]))
        shapes = [shape, other]
    else:
        shapes = [shape, (*shape[:2], int(rng.integers(1, 7)))]
    whole = replace(first, rest=Rest(size=size, run=run, compute=second))
    return one_program(whole, shapes, sources, out)


def _any_of(rng: np.random.Generator, kind: int, sources: list[Affine], out: Affine) -> Add | Multiply | Convert:
    zeros = (sources[0].zero, sources[1].zero)
    if kind == 0:
        return any_add(rng, sources, out)
    if kind == 1:
        return Multiply(zero_points=zeros, rescale=any_rescale(rng, any_requantize(rng), out, 1, 1 << 14))
    rescales = tuple(any_rescale(rng, any_requantize(rng), out, 1, float(s.type.high)) for s in sources)
    return Convert(axis=2, input_zero_points=zeros, rescales=rescales)


@settings(deadline=None, max_examples=120)
@example(1935)  # a middle register without a sign, behind which a sum wraps
@given(st.integers(0, 2**60))
def test_any_rule_for_the_rest_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = with_any_rest(rng)
    agree(program, any_input(rng, program, int(rng.integers(1, 6))))


def test_what_is_known_of_a_tensor_holds_for_its_rest() -> None:
    program = lower(one_node("Add", [(17,), (17,)]), RUY)
    (step,) = program.steps
    add = step.compute
    assert isinstance(add, Add)
    assert add.rest is not None
    inner = replace(add.rest.compute, low=-128, high=100)
    tight = replace(add, low=-50, high=50, rest=replace(add.rest, compute=inner))
    assert intervals(_with(program, step, tight))["y"] == (-128, 100)


def test_a_file_keeps_the_rest(tmp_path: Path) -> None:
    program = lower(one_node("Mul", [(19, 2, 3), (19, 1, 1)]), RUY)
    archive.write(program, tmp_path / "p.intsim")
    again = archive.read(tmp_path / "p.intsim")
    assert archive.digest(again) == archive.digest(program)
    assert again.steps[0].compute.rest is not None  # type: ignore[union-attr]


def test_a_damaged_rest_ends_in_one_line() -> None:
    program = lower(one_node("Add", [(17,), (17,)]), RUY)
    (step,) = program.steps
    add = step.compute
    assert isinstance(add, Add)
    assert add.rest is not None
    rest, other = add.rest, lowered("Mul", (17,), (17,))
    for wrong in (
        replace(rest, size=0),
        replace(rest, run=None),
        replace(rest, run=5),
        replace(rest, run=-17),
        replace(rest, compute=add),
        replace(rest, compute=replace(other, rest=None)),
        replace(rest, compute=replace(rest.compute, multiplier=None)),
        replace(rest, compute=replace(rest.compute, high=1000)),
        replace(rest, compute=replace(rest.compute, constant=np.zeros((17,), np.int8))),
    ):
        with pytest.raises(IntsimError):
            check(_with(program, step, replace(add, rest=wrong)))


def _with(program: Program, step: Step, compute: Compute) -> Program:
    return replace(program, steps=(replace(step, compute=compute),))
