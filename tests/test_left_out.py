"""Cases that a target is not held to (`Truth.without`): that their reasons hold, and that nothing else is left out."""

import numpy as np
import pytest
from conformance import ours
from conformance.asking import asked
from conformance.building import Case
from conformance.cases import cases
from conformance.truths import TRUTHS

from intsim import TARGETS, engine
from intsim.errors import IntsimError
from intsim.program import Dot
from intsim.reference.litert import exposed
from intsim.tflite_io import tflite_model


def left_out(target: str, kind: str) -> list[Case]:
    return [case for case in cases(kind) if TRUTHS[target].left_out(case.name)]


def answers(target: str, kind: str) -> list[tuple[Case, np.ndarray]]:
    """The cases left out and what the runtime answers; skipped where it is not installed."""
    gone = left_out(target, kind)
    try:
        _, found = asked(TRUTHS[target].runtime, gone, ())
    except IntsimError as reason:
        pytest.skip(str(reason))
    taken = [(case, found[case.name]) for case in gone]
    told = [(case, y) for case, y in taken if isinstance(y, np.ndarray)]
    if not told and any("not installed" in str(y) for _, y in taken):
        pytest.skip("the runtime is not installed")
    assert told
    return told


def test_what_xnnpack_leaves_are_the_integers_of_the_built_in_kernels() -> None:
    for case, y in answers("litert_xnnpack", "s8"):
        wrong = [
            int((ours.run(case, ours.program(case, TARGETS[target])) != y).sum())
            for target in ("litert_ruy_x86", "litert_xnnpack")
        ]
        assert wrong[0] == 0, case.name
        assert wrong[1] > 0 or case.name == "mul, far up, 358.4"  # where all but zeros are beyond the type's ends


def test_xnnpack_takes_the_others_of_these_operators_but_not_these() -> None:
    """The delegate's own node is among LiteRT's, or it is not."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")

    def delegated(case: Case) -> bool:
        interpreter = litert.Interpreter(model_content=tflite_model(exposed(case.source)), num_threads=1)
        interpreter.allocate_tensors()
        return "DELEGATE" in [op["op_name"] for op in interpreter._get_ops_details()]

    gone = left_out("litert_xnnpack", "s8")
    assert [case.name for case in gone if delegated(case)] == []
    for op in {case.op for case in gone}:
        assert delegated(next(case for case in cases("s8") if case.op == op))


@pytest.mark.parametrize("kind", ["s8", "u8"])
def test_fully_connected_differs_from_the_reference_only_where_a_float64_is_beyond_int32(kind: str) -> None:
    """There x86 gives the lowest int32, whatever the sign; all other integers of these cases are held to."""
    for case, y in answers("litert_ref", kind):
        program = ours.program(case, TARGETS["litert_ref"])
        found = engine.run(program, ours.inputs(case, program), trace=("y", "y:accumulator")).traced
        dot = program.steps[0].compute
        assert isinstance(dot, Dot)
        assert dot.rescale.multiplier is not None
        real = found["y:accumulator"].reshape(y.shape) * dot.rescale.multiplier
        inside = (real > -(2.0**31) - 1) & (real < 2.0**31)
        assert 0 < inside.sum() < inside.size
        assert np.array_equal(ours.output(case, program, found["y"])[inside], y[inside])
        ends = np.iinfo(y.dtype)  # a zero point below 0 takes the lowest int32 out of its register: it comes back high
        assert (y[~inside] == (ends.min if case.source.affines["y"].zero >= 0 else ends.max)).all()
