"""Certificates hold for every image of their box, and prove something."""

import collections
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from nets import activation
from programs import any_dot, other_program
from small_networks import Net

from intsim import TARGETS, IntsimError, oracle
from intsim.certify.carried import dot_ends
from intsim.certify.dots import dot_sums
from intsim.certify.lines import curve, lines
from intsim.certify.rescales import rescaled
from intsim.certify.spans import span
from intsim.certify.steps import stepped
from intsim.certify.whole import certify, label_of
from intsim.cli import main
from intsim.evaluate.records import Judge
from intsim.evaluate.whole import certified
from intsim.graph import Pixels
from intsim.integers import Affine, Overflow, Rounding
from intsim.lower import lower
from intsim.ops import meaning
from intsim.ops.dot import accumulators, requantized_array
from intsim.program import Program
from intsim.quantized import QuantizedGraph
from intsim.target import Divide, FixedPoint, Float32Scale, Scheme, TwoMultipliers
from intsim.targets import with_accumulator


def inside(low: list[np.ndarray], high: list[np.ndarray], free: list[tuple[int, int]]) -> list[np.ndarray]:
    """Every input of the box whose integers (input, place) in `free` go from low to high."""
    ranges = [range(low[i].reshape(-1)[j], high[i].reshape(-1)[j] + 1) for i, j in free]
    found: list[list[np.ndarray]] = [[] for _ in low]
    for values in itertools.product(*ranges):
        one = [side.copy() for side in low]
        for (i, j), value in zip(free, values, strict=True):
            one[i].reshape(-1)[j] = value
        for i, array in enumerate(one):
            found[i].append(array[0])
    return [np.array(arrays).astype(object) for arrays in found]


def any_box(rng: np.random.Generator, shapes: list, kinds: list) -> tuple[list, list, list]:
    """The ends of a box with three free integers, and every input in it."""
    low = [rng.integers(kind.low, kind.high + 1, (1, *shape)) for kind, shape in zip(kinds, shapes, strict=True)]
    high, width = [side.copy() for side in low], int(rng.choice([1, 2, 4]))
    every = [(i, j) for i, side in enumerate(low) for j in range(side.size)]
    free = [every[k] for k in rng.choice(len(every), min(3, len(every)), replace=False)]
    for i, j in free:
        high[i].reshape(-1)[j] = min(low[i].reshape(-1)[j] + width, kinds[i].high)
    return low, high, inside(low, high, free)


def test_every_input_of_a_box_agrees_with_what_is_proven_of_its_sum() -> None:
    proven = missed = tight = 0
    for seed in range(160):
        rng = np.random.default_rng(seed)
        dot, shape, source, _ = any_dot(rng)
        if int(np.prod(shape)) * dot.weight.size > 2000:
            continue
        (low,), (high,), (inputs,) = any_box(rng, [shape], [source.type])
        sums = dot_sums(dot, low, high)
        acc, overflows = accumulators(dot, inputs)
        assert ((sums.held.low <= acc) & (acc <= sums.held.high)).all(), f"seed {seed}"
        assert overflows.outputs == 0 or not sums.free.all(), f"seed {seed}: proven free of overflow, and it overflows"
        missed += bool(overflows.outputs == 0 and not sums.free.all())
        ends, got = dot_ends(dot, sums), requantized_array(dot, acc).astype(np.int64)
        assert ((ends[0] <= got) & (got <= ends[1])).all(), f"seed {seed}: outside its bounds"
        proven += bool(sums.free.all())
        tight += bool((ends[0][0] == got.min(0)).all() and (ends[1][0] == got.max(0)).all())
    assert 20 < proven < 130
    assert missed < 4, "what overflows nowhere in the box is nearly always proven"
    assert tight > 60


def test_every_input_of_a_box_agrees_with_what_is_proven_of_any_other_step() -> None:
    kinds = collections.Counter[str]()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        program = other_program(rng)
        (step,) = program.steps
        tensors = [program.tensors[name] for name in step.inputs]
        low, high, inputs = any_box(rng, [t.shape for t in tensors], [t.affine.type for t in tensors])
        ends = stepped(step.compute, list(zip(low, high, strict=True)))
        if ends is None:
            assert step.op == "Softmax"
            continue
        got = meaning(step.compute, *inputs).astype(np.int64)
        assert ((ends[0] <= got) & (got <= ends[1])).all(), f"seed {seed}: {step.compute}"
        kinds[step.op] += bool((ends[0][0] == got.min(0)).all() and (ends[1][0] == got.max(0)).all())
    attained = {"Add", "AveragePool", "Clip", "Convert", "Extreme", "Interpolate", "Lookup", "MaxPool", "Multiply"}
    assert attained <= kinds.keys()


# ---- tiny networks, every image of their boxes -----------------------------------------------------------------------


def tiny(seed: int, scheme: Scheme = TARGETS["ideal"].scheme) -> QuantizedGraph:
    """Four pixels; conv, relu, max pool, conv with padding, add, clip, average pool, three classes."""
    rng = np.random.default_rng(seed)
    given = scheme.weights[0]
    weight = str(replace(given, narrow_range=given.signed and given.bits > 1))
    net = Net(rng, str(scheme.activations[0]), weight)

    def of(scale: float, zero: int) -> Affine:
        return activation(scale, zero - 128, scheme)

    per_channel = {"per_channel": bool(scheme.per_channel)}
    fixed = scheme.weight_scale or (2.0**-7 if scheme.power_of_two else None)
    power = {} if fixed is None else {"scale": fixed}
    wide = {"bias": False} if scheme.bias_shift else {}
    x = net.input(1, 2, 2, of=of(1 / 255, 0))
    a = net.keep("Relu", net.conv(x, 2, (2, 2), pads=(1, 1, 1, 1), of=of(0.01, 0), **per_channel, **power, **wide))
    a = net.pool("MaxPool", a, (2, 2))
    b = net.conv(a, 2, (2, 2), pads=(1, 0, 0, 1), of=of(0.03, 120), **per_channel, **power, **wide)
    b = net.keep("Clip", net.add(b, a, of=of(0.04, 100)), min=-1.0, max=3.0)
    flat = net.keep("Flatten", net.mean(b, of=of(0.02, 100)), (2,))
    return net.done(net.gemm(flat, 3, of=of(0.04, 128), **per_channel, **power, **wide), pixels={x: Pixels()})


def every_image(x: np.ndarray, radius: int) -> np.ndarray:
    """Every image of the box around one of a few pixels, uint8 `[m, ...]`."""
    ends = [range(max(0, v - radius), min(255, v + radius) + 1) for v in x.ravel().tolist()]
    return np.array(list(itertools.product(*ends)), np.uint8).reshape(-1, *x.shape)


def hold(program: Program, *, seed: int = 0) -> collections.Counter:
    """Asserts that both certificates are true of every image of two boxes; what was proven."""
    x = np.random.default_rng(seed).integers(0, 256, (2, 1, 2, 2)).astype(np.uint8)
    said, by_box = collections.Counter[str](), [oracle.run(program, every_image(one, 1), count=True) for one in x]
    intervals, linear = (certify(program, x, 1, method=method) for method in ("interval", "linear"))
    for i, result in enumerate(by_box):
        got = next(iter(result.integers.values())).astype(np.int64)
        for found in (intervals, linear):
            assert ((found.low[i] <= got) & (got <= found.high[i])).all(), found.method
            if found.label[i] >= 0:
                assert set(got.argmax(1).tolist()) == {int(found.label[i])}, found.method
                said[f"label, {found.method}"] += 1
        quiet = {name for name, free in linear.overflow_free.items() if free[i]}
        assert all(result.overflows[name].outputs == 0 for name in quiet)
        said["free"] += len(quiet)
        said["not free"] += len(linear.overflow_free) - len(quiet)
        said["narrower"] += int(((linear.high - linear.low)[i] < (intervals.high - intervals.low)[i]).sum())
    assert ((intervals.low <= linear.low) & (linear.high <= intervals.high)).all(), "lines are never looser"
    assert ((intervals.label < 0) | (intervals.label == linear.label)).all()
    return said


@pytest.mark.parametrize("overflow", Overflow)
def test_certificates_hold_in_every_box_whatever_an_accumulator_does(overflow: Overflow) -> None:
    said = collections.Counter[str]()
    for seed, bits in enumerate((14, 16)):
        narrow = with_accumulator(TARGETS["ideal"], bits, overflow)
        said += hold(lower(tiny(seed), narrow), seed=seed)
    assert said["free"]
    assert said["not free"]


@pytest.mark.parametrize("overflow", Overflow)
def test_certificates_hold_in_every_box_whatever_an_output_does(overflow: Overflow) -> None:
    for seed in range(2):
        assert hold(lower(tiny(seed), replace(TARGETS["ideal"], output=overflow)), seed=seed)["free"]


@pytest.mark.parametrize("rounding", Rounding)
def test_certificates_hold_in_every_box_whatever_rounds(rounding: Rounding) -> None:
    once, said = FixedPoint(rounding=rounding), collections.Counter[str]()
    twice = FixedPoint(first=Rounding.HALF_UP, rounding=rounding, bits=15)
    for seed, rule in enumerate((once, twice, Float32Scale(rounding=rounding))):
        machine = replace(
            TARGETS["ideal"],
            requantize=rule,
            mean=Divide(rounding=rounding, centred=True),
            add=TwoMultipliers(rounding=rounding),
        )
        said += hold(lower(tiny(seed), machine), seed=seed)
    assert said["label, linear"] or rounding is Rounding.CARRY_SHIFT


def test_lines_narrow_what_intervals_know() -> None:
    narrower, rng = 0, np.random.default_rng(0)
    for seed in range(8):
        program, x = lower(tiny(seed), TARGETS["ideal"]), rng.integers(0, 256, (2, 1, 2, 2)).astype(np.uint8)
        wide, narrow = (certify(program, x, 24, method=method) for method in ("interval", "linear"))
        assert ((wide.low <= narrow.low) & (narrow.high <= wide.high)).all()
        narrower += int(((narrow.high - narrow.low) < (wide.high - wide.low)).sum())
        near = np.clip(x + rng.integers(-24, 25, (30, *x.shape)), 0, 255).astype(np.uint8)
        for images in near:
            got = next(iter(oracle.run(program, images).integers.values()))
            assert ((narrow.low <= got) & (got <= narrow.high)).all()
    assert narrower > 12


@pytest.mark.parametrize("target", sorted(TARGETS)[::5])
def test_certificates_hold_in_every_box_on_machines(target: str) -> None:
    try:
        program = lower(tiny(3, TARGETS[target].scheme), TARGETS[target])
    except IntsimError as refused:
        pytest.skip(str(refused))
    hold(program)


def test_a_certificate_of_one_image_is_its_output() -> None:
    program = lower(tiny(0), with_accumulator(TARGETS["ideal"], 13, Overflow.WRAP))
    x = np.random.default_rng(5).integers(0, 256, (4, 1, 2, 2)).astype(np.uint8)
    result, found = oracle.run(program, x, count=True), certify(program, x, 0)
    got = next(iter(result.integers.values()))
    assert (found.low == got).all()
    assert (found.high == got).all()
    assert {name for name, free in found.overflow_free.items() if free.all()} == {
        name for name, count in result.overflows.items() if not count.outputs
    }


def test_lines_lie_below_and_above_every_step_of_a_rounded_sum() -> None:
    drawn = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        dot, _, _, _ = any_dot(rng)
        channels = len(dot.weight)
        least, width = rng.integers(-3000, 3000, channels), int(rng.integers(1, 4000))
        limits = dot.rescale.low, dot.rescale.high
        found = curve(lambda s, dot=dot: rescaled(dot.rescale, s), least, least + width, *limits)
        if found is None:
            continue
        low = np.sort(rng.integers(0, width + 1, (2, 5, channels)), 0) + least
        sums = low[0] + np.arange(width + 1)[:, None, None]
        inside = np.minimum(sums, low[1])
        y = rescaled(dot.rescale, span(inside, inside)).low
        ends = y.min(0), y.max(0)
        line = lines(found, low[0], low[1], ends)
        assert (line.below_slope * inside + line.below <= y).all(), f"seed {seed}"
        assert (line.above_slope * inside + line.above >= y).all(), f"seed {seed}"
        drawn += 1
    assert drawn > 20


def test_what_no_certificate_is_of_is_refused() -> None:
    program = lower(tiny(0), TARGETS["ideal"])
    x = np.zeros((1, 1, 2, 2), np.uint8)
    refused = ((x.astype(np.float32), 1, "interval"), (x[:0], 1, "interval"), (x, -1, "interval"), (x, 1, "guess"))
    for images, radius, method in refused:
        with pytest.raises(IntsimError):
            certify(program, images, radius, method=method)


def test_of_tied_classes_only_the_first_is_proven() -> None:
    low, high = np.array([[3, 0], [3, 0], [0, 5], [3, 5]]), np.array([[9, 2], [9, 3], [4, 6], [5, 9]])
    assert label_of(low, high).tolist() == [0, 0, 1, -1]


# ---- where certificates are asked for ----------------------------------------------------------------------------


def test_the_lower_end_of_a_bracket_is_what_is_proven_right_in_whole_pixel_steps() -> None:
    asked = list[int]()

    def proven(images: np.ndarray, radius: int) -> np.ndarray:
        asked.append(radius)
        return np.array([1, -1, 0])

    judge = Judge(network="net", target="chip", answer=lambda x: x, proven=proven)
    found = certified([judge], np.zeros((3, 1, 2, 2)), np.array([1, 1, 1]), 255)
    right = found("net", "chip", "linf", 2.5)
    assert right is not None
    assert right.tolist() == [True, False, False]
    assert asked == [2]
    assert found("net", "chip", "l2", 2.0) is None
    assert found("net", "float", "linf", 2.0) is None
    assert certified([judge], np.zeros((3, 1, 2, 2)), np.ones(3), None)("net", "chip", "linf", 2.0) is None


def test_the_command_says_what_is_proven_and_keeps_to_a_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["certify", "mlp", "--target", "cmsis_nn_s8", "--calibration", "fashion", "--data", "fashion"]
    words += ["--limit", "5", "--eps", "1/255,2/255", "--json", str(tmp_path / "found.json")]
    assert main(words) == 0
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["radius"] for row in rows] == [1, 2]
    assert rows[0]["share"] >= rows[1]["share"] > 0
    assert f"within 2/255: {rows[1]['share']:.1%} of 5 images are proven to stay right" in capsys.readouterr().out
    assert main([*words, "--bounds", "interval", "--min-proven", "1.01", "--quiet"]) == 1
