"""What people use for this today, on the embedded CNN: QONNX, a compiled ap_fixed simulation, fake quantization."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from intsim.bench import fake
from intsim.bench.networks import entered, float_network, integers_in, pixels_of
from intsim.bench.records import AP_FIXED, FAKE, QONNX, Goal, Peer, Work
from intsim.calibrate import ranges
from intsim.integers import Affine, IntType, Overflow, Rounding
from intsim.lower import lower
from intsim.program import inside
from intsim.quantize import quantize
from intsim.reference import ap_fixed, qonnx
from intsim.target import Divide, Level, Mac, PowerOfTwo, Scheme, Target
from intsim.targets import with_accumulator

IMAGES = 1000
FEW = 10
"""Images that the ap_fixed simulation does in a call: one after the other, so that 1,000 take 100 times longer."""
SECTION = "what people use"
GOALS: dict[str, Goal] = {QONNX: (20.0, None), AP_FIXED: (20.0, None), FAKE: (3.0, None)}

MACHINE = Target(
    name="fixed_point",
    description="ap_fixed<8, I> everywhere: scales that are powers of two, half to even, no zero points",
    scheme=Scheme(
        zero_points=False,
        power_of_two=True,
        per_channel=(),
        keeps_scale=("AveragePool", "Concat", "GlobalAveragePool"),
    ),
    mac=Mac(levels=(Level(bits=32),)),
    requantize=PowerOfTwo(rounding=Rounding.HALF_EVEN),
    average_pool=Divide(rounding=Rounding.HALF_EVEN),
    mean=Divide(rounding=Rounding.HALF_EVEN),
)
"""What all of them can say: QONNX's ROUND, AP_RND_CONV and torch round half to even."""


def section(quick: bool, threads: int) -> Iterator[Callable[[], Work]]:
    """The CNN with wide and with 16-bit saturating accumulators."""
    for bits in (None, 16):
        yield partial(work, "cnn", bits, 100 if quick else IMAGES, threads=threads)


def work(name: str, bits: int | None, images: int, *, threads: int = 1) -> Work:
    """The network with a 32-bit accumulator, or with one of `bits` bits that saturates at every MAC."""
    graph = float_network(name)
    quantized = quantize(graph, ranges(graph, pixels_of(graph, 256)), MACHINE.scheme)
    machine = MACHINE if bits is None else with_accumulator(MACHINE, bits, Overflow.SATURATE)
    program = lower(quantized, machine)
    about = "32 bits" if bits is None else f"{bits} bits saturating"
    return Work(
        name=f"{name}, {about}, {images} images",
        program=integers_in(program),
        x=np.ascontiguousarray(entered(program, pixels_of(graph, images))),
        threads=threads,
        section=SECTION,
        goals=GOALS,
    )


def _register(work: Work) -> int | None:
    """The bits of a register that is narrower than 32; work of this section only."""
    (machine,) = work.program.targets.values()
    bits = machine.mac.levels[-1].bits
    return None if bits == 32 else bits


def _real(work: Work) -> tuple[np.ndarray, Affine]:
    """The input's real numbers, and the output's affine."""
    (source,), (out,) = work.program.inputs.values(), work.program.outputs.values()
    return work.x.astype(np.float32) * np.float32(source.affine.scale[0]), out.affine


def _integers(y: np.ndarray, affine: Affine) -> np.ndarray:
    assert affine.type == IntType(8)
    return np.rint(y / np.float32(affine.scale[0])).astype(np.int8)


def qonnx_execution(work: Work) -> Peer | None:
    """qonnx's executor; with a narrow register it clips once, after the sum, which is not what the register does."""
    if work.section != SECTION:
        return None
    bits, (x, out) = _register(work), _real(work)
    run = qonnx.network(work.program.source, len(x), bits)
    return Peer(name=QONNX, function=lambda: _integers(run(x), out), equal=bits is None)


def ap_fixed_simulation(work: Work) -> Peer | None:
    """Vendor types compiled by g++: the same bits, register and all."""
    if work.section != SECTION or work.threads > 1:
        return None
    run, x = ap_fixed.compiled(work.program), inside(work.x[:FEW])
    return Peer(name=AP_FIXED, function=lambda: run(x), samples=len(x))


def fake_quantized(work: Work) -> Peer | None:
    """A torch module; with a narrow register it clips once, after the sum."""
    if work.section != SECTION:
        return None
    bits, (x, out) = _register(work), _real(work)
    run = fake.network(work.program.source, work.threads, bits)
    return Peer(name=FAKE, function=lambda: _integers(run(x), out), equal=bits is None)
