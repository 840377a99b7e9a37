"""The works that the goals speak of, by section; a goal is the ratio to be reached, then the one to be tried."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from msgspec.structs import replace

from intsim.bench import narrow, networks, people
from intsim.bench.records import ORT, WIDE, Goal, Work
from intsim.bench.shapes import Conv, convolution, gemm
from intsim.reference import ort

Maker = Callable[[], Work]
"""Makes a work when its turn comes. Raises IntsimError where it cannot be done here."""

Section = Callable[[bool, int], Iterator[Maker]]
"""(quick, threads) to the works of a section."""

HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+avx,+fma,+bmi,+bmi2,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+popcnt,+f16c,+lzcnt,+movbe",
}
"""What makes numba compile for AVX2 only; the name alone would leave the host's features on."""

MEANS: dict[str, Goal] = {
    "networks, batch 32, 1 thread": (1.4, 1.8),
    "networks, batch 32, 2 threads": (1.4, 2.0),
    "networks, batch 1, 1 thread": (1.5, 2.0),
}
"""Goals that a section's geometric mean against onnxruntime has, rather than each of its works."""


def _gemms(quick: bool, threads: int) -> Iterator[Maker]:
    sizes: dict[tuple[int, int, int], Goal] = {
        (1024, 1024, 1024): (1.0, 1.1),
        (1000, 256, 784): (1.05, 1.15),
        (3136, 64, 576): (1.15, 1.25),
    }
    for size, goal in list(sizes.items())[1 if quick else 0 :]:
        yield partial(gemm, *size, threads=threads, section="gemm", goals={ORT: goal})


def _convs(quick: bool, threads: int) -> Iterator[Maker]:
    layers = (
        Conv(h=56, w=56, c=64, kernel=(3, 3), outputs=64),
        Conv(h=56, w=56, c=128, kernel=(3, 3), outputs=128, stride=2),
        Conv(h=14, w=14, c=256, kernel=(3, 3), outputs=256),
        Conv(h=7, w=7, c=512, kernel=(3, 3), outputs=512),
    )
    goals: dict[str, Goal] = {"float32": (1.02, 1.1), "pow2": (1.02, 1.1), "double": (1.0, 1.05), "single": (1.0, 1.05)}
    for rule, goal in goals.items():
        for layer in layers[: 1 if quick else None]:
            yield _conv(replace(layer, rule=rule), threads, f"conv 3x3, {rule}", goal)
    narrow_goals: dict[str, Goal] = {"single": (0.85, 1.0), "double": (0.75, 0.9)}
    for rule, goal in narrow_goals.items():
        yield _conv(
            Conv(h=56, w=56, c=64, kernel=(1, 1), outputs=256, rule=rule), threads, "conv 1x1 with 64 inputs", goal
        )


def _few_channels(quick: bool, threads: int) -> Iterator[Maker]:
    size = 112 if quick else 224
    layers = (
        Conv(h=size, w=size, c=3, kernel=(7, 7), outputs=64, stride=2),
        Conv(h=32, w=32, c=16, kernel=(3, 3), outputs=16),
        Conv(h=32, w=32, c=3, kernel=(3, 3), outputs=16),
    )
    for layer in layers:
        yield _conv(layer, threads, "conv with at most 16 inputs", (1.8, 2.5))


def _depthwise(quick: bool, threads: int) -> Iterator[Maker]:
    goals: dict[int, Goal] = {64: (1.8, 2.5), 32: (1.4, 2.0), 16: (0.9, 1.4)}
    for channels, goal in goals.items():
        layer = Conv(h=56, w=56, c=channels, kernel=(3, 3), outputs=channels, group=channels)
        yield _conv(layer, threads, "depthwise 3x3", goal)


def _conv(conv: Conv, threads: int, section: str, goal: Goal) -> Maker:
    return partial(convolution, conv, threads=threads, section=section, goals={ORT: goal})


def _networks(quick: bool, threads: int) -> Iterator[Maker]:
    names = ("cnn", "dscnn") if quick else ("resnet20", "mlp", "lenet5", "cnn", "resnet8", "dscnn")
    for batch in (32, 1):
        unit = "thread" if threads == 1 else "threads"
        section = f"networks, batch {batch}, {threads} {unit}"
        for name in names:
            yield partial(networks.network, name, batch, threads=threads, section=section)


def _perceptrons(quick: bool, threads: int) -> Iterator[Maker]:
    goals: dict[int, Goal] = {1000: (1.1, 1.3), 1: (2.0, 3.0)}
    for batch, goal in goals.items():
        yield partial(networks.network, "mlp256", batch, threads=threads, section="mlp 784-256-10", goals={ORT: goal})


def _narrow(quick: bool, threads: int) -> Iterator[Maker]:
    size = (256, 64, 576) if quick else narrow.SIZE
    for bits in (12,) if quick else (8, 12, 16, 20, 24):
        yield partial(narrow.wrapping, bits, size=size, threads=threads, goal=(0.95, None))
    for heavy, goal in {0.0: 0.8, 0.02: 0.75, 0.1: 0.6}.items():
        yield partial(narrow.saturating, 17, heavy, size=size, threads=threads, goal=(goal, None))
    for bits in (16, 12) if quick else (16, 17, 20, 24, 8, 12, 14):
        goal = 0.24 if bits >= 16 else 0.2
        yield partial(narrow.saturating, bits, 1.0, size=size, threads=threads, goal=(goal, None))
    for name in ("cnn",) if quick else ("cnn", "resnet8"):
        for attack in (False, True):
            batch = 32 if quick else 100
            yield partial(narrow.network, name, 16, attack=attack, batch=batch, threads=threads, goal=(0.4, None))
    yield partial(narrow.table, size=size, threads=threads, goal=(0.07, None), loop_goal=(5.0, None))
    yield partial(narrow.sixteen_bits, size=size, threads=threads, goal=(0.4, None))
    if ort.instruction_set() == "vnni":
        yield partial(_avx2_only, size, threads)


def _avx2_only(size: tuple[int, int, int], threads: int) -> Work:
    """Ours compiled for AVX2 beside ours with VNNI, in two processes."""
    work = gemm(*size, threads=threads, section="AVX2 only", goals={WIDE: (0.3, None)}, name="AVX2 only, against VNNI")
    return replace(work, wide=work.program, environment=HASWELL)


SECTIONS: Mapping[str, Section] = {
    "gemm": _gemms,
    "conv": _convs,
    "few": _few_channels,
    "depthwise": _depthwise,
    "networks": _networks,
    "mlp": _perceptrons,
    "narrow": _narrow,
    "people": people.section,
}
"""What `--section` takes."""
