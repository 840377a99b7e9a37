"""Named causes: a machine with one rule changed is found out by its integers alone, and noise is not explained away."""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from msgspec.structs import fields, replace
from small_networks import Net, any_affine

from intsim import TARGETS, Program, QuantizedGraph
from intsim.compare import Comparison, Layer, compare
from intsim.compare.explain import MOST
from intsim.compare.steps import placed, some_nodes
from intsim.compare.trials import REFUSED
from intsim.compare.vocabulary import Variant, at, changed, plain, variants
from intsim.compare.wording import said, side
from intsim.engine import run
from intsim.integers import Affine, Overflow, Rounding
from intsim.lower import lower
from intsim.quantized import dequantized, quantized
from intsim.reference import ort
from intsim.target import FixedPoint, Target
from intsim.target.requantize import Float32Scale

Images = dict[str, np.ndarray]
REF = TARGETS["litert_ref"]
engine = partial(run, threads=1)


# ---- layers that tell rules apart: scales that are powers of two, so that ties are many, and one that is not --------


def _conv(net: Net, x: str, out: Affine) -> str:
    """Half of the channels with small weights and scales that make ties, half with big sums and other scales."""
    small = net.rng.integers(-3, 4, (4, 6, 3, 3))
    values = np.concatenate([small, net.rng.integers(-127, 128, (4, 6, 3, 3))]).astype(np.int8)
    scales = [2.0**-1] * 4 + [2.0**-6 * factor for factor in (1, 1.25, 0.7, 1.1)]
    y = net.conv(x, 8, (3, 3), pads=(1, 1, 1, 1), values=values, bias=700, of=out)
    name = net.nodes[-1].inputs[1]
    net.affines[name] = replace(net.affines[name], scale=tuple(float(np.float32(s)) for s in scales))
    return y


@cache
def _network(op: str) -> QuantizedGraph:
    net = Net(np.random.default_rng(7), "s8", "s8n")
    x = net.input(6, 5, 5, of=any_affine(net.rng, "s8", scale=2.0**-8, zero=-128))
    out = any_affine(net.rng, "s8", scale=2.0**-4, zero=5)
    if op in ("Conv", "Relu"):
        y = _conv(net, x, out)
        if op == "Relu":
            net.keep("Relu", y)
    elif op == "Add":
        net.add(
            x,
            net.input(6, 5, 5, of=any_affine(net.rng, "s8", scale=2.0**-7, zero=-128)),
            of=replace(out, scale=(2.0**-6,)),
        )
    elif op == "AveragePool":
        net.pool("AveragePool", x, (2, 3), of=net.affines[x])
    elif op == "GlobalAveragePool":
        net.mean(x, of=replace(out, scale=(2.0**-7,)))
    elif op == "Concat":
        other = net.input(6, 5, 5, of=any_affine(net.rng, "s8", scale=2.0**-8, zero=-128))
        net.concat(x, other, of=any_affine(net.rng, "s8", scale=2.0**-6, zero=-60))
    return net.done(net.nodes[-1].outputs[0])


@cache
def _images(op: str) -> Images:
    network, rng = _network(op), np.random.default_rng(2)
    return {n: rng.integers(0, 256, (6, *network.graph.shapes[n])).astype(np.uint8) for n in network.graph.inputs}


def _device(program: Program) -> Callable[[Images], Mapping[str, np.ndarray]]:
    """A reference of which nothing is known but its integers."""
    made = [step.outputs[0] for step in program.steps]

    def device(images: Images) -> Mapping[str, np.ndarray]:
        traced = engine(program, images, trace=("*",)).traced
        return {name: traced[name] for name in made}

    return device


def _found(op: str, ours: Target, theirs: Target, images: Images | None = None) -> Layer:
    network = _network(op)
    reference = _device(lower(network, theirs))
    found = compare(lower(network, ours), reference, _images(op) if images is None else images, run=engine)
    return found.layers[-1]


def _plain(op: str, target: Target) -> Target:
    program = lower(_network(op), target)
    return plain(program.steps[-1], target)


@cache
def _telling(op: str, target: str) -> dict[str, tuple[Variant, ...]]:
    """By place, the changes of the machine that show in the layer's integers."""
    base = _plain(op, TARGETS[target])
    x = _images(op)
    (output,) = _network(op).graph.outputs
    own = engine(lower(_network(op), base), x, trace=(output,)).traced[output]
    telling: dict[str, tuple[Variant, ...]] = {}
    seen: set[Target] = set()
    for variant in variants(base, op):
        try:
            target = changed(base, variant)
            if target in seen:  # a whole rule that is one word away was met as that word
                continue
            seen.add(target)
            program = lower(_network(op), target)
            other = engine(program, x, trace=(output,)).traced[output]
        except REFUSED:
            continue
        if not np.array_equal(own, other):
            place = ".".join(variant.path)
            telling[place] = (*telling.get(place, ()), variant)
    return telling


def _words(op: str, target: str) -> dict[tuple[type, str], str]:
    """The places that show, by the record and the field that stand there: what one machine showed, another need not."""
    base = _plain(op, TARGETS[target])
    return {(type(at(base, tuple(place.split("."))[:-1])), place): place for place in _telling(op, target)}


CASES = [
    ("Conv", "litert_ref", 1),
    ("Conv", "ort_x86_avx2", 1),
    ("Add", "litert_ref", 1),
    ("Add", "litert_xnnpack", 2),
    ("AveragePool", "litert_ref", 1),
    ("GlobalAveragePool", "litert_ref", 1),
    ("Concat", "litert_ref", 1),
]


@pytest.mark.parametrize(("op", "name", "each"), CASES)
def test_every_place_of_the_vocabulary_is_named_when_it_alone_is_changed(op: str, name: str, each: int) -> None:
    """One rule changed, the rest as ours: that very change is among those that explain everything."""
    base = _plain(op, TARGETS[name])
    earlier = [other for also, other, _ in CASES[: CASES.index((op, name, each))] if also == op]
    met = {word for other in earlier for word in _words(op, other)}
    telling = {place: _telling(op, name)[place] for word, place in _words(op, name).items() if word not in met}
    assert telling
    for place, changes in telling.items():
        for variant in changes[:: max(1, len(changes) // each)][:each]:
            layer = _found(op, base, changed(base, variant))
            assert layer.explanation is not None
            assert layer.mismatches == layer.explanation.differ > 0
            named = {(c.field, c.reference) for cause in layer.explanation.causes for c in cause.changes}
            assert (place, side(variant, variant.theirs)) in named or len(layer.explanation.causes) >= MOST, named


def test_the_places_that_show_in_a_convolution_are_those_of_the_issue() -> None:
    """Otherwise the test above would prove nothing."""
    assert set(_telling("Conv", "litert_ref")) >= {
        "mac.levels",
        "bias.when",
        "requantize.rounding",
        "requantize.first",
        "requantize.bits",
        "requantize.middle",
        "requantize.zero_point",
        "requantize",
    } - {"bias.when"}
    assert set(_telling("AveragePool", "litert_ref")) >= {"average_pool.rounding", "average_pool.centred"}
    assert set(_telling("Add", "litert_xnnpack")) >= {"add.rounding", "add"}


@pytest.mark.parametrize("theirs", [Rounding.HALF_AWAY, Rounding.HALF_UP])
def test_the_sides_of_a_sentence_are_the_right_ones(theirs: Rounding) -> None:
    base = _plain("Conv", REF)
    rules = {mode: replace(base, requantize=replace(base.requantize, rounding=mode)) for mode in Rounding}
    ours = Rounding.HALF_UP if theirs is Rounding.HALF_AWAY else Rounding.HALF_AWAY
    layer = _found("Conv", rules[ours], rules[theirs])
    count = f"{layer.mismatches} of {layer.elements} elements differ by 1; all {layer.mismatches} are explained by "
    says = f"second rounding {said(theirs)} (reference) / {said(ours)} (litert_ref)"
    assert layer.explanation is not None
    assert says in [cause.says for cause in layer.explanation.causes]
    assert layer.explanation.says == f'{count}"{layer.explained_by}"'
    assert all((step > 0) == (ours is Rounding.HALF_UP) for step, _ in layer.single_differences)


def test_a_known_machine_is_explained_by_what_it_really_has() -> None:
    """Several changes would do; where the reference is a machine of ours, its own rule is told first."""
    program = lower(_network("Conv"), REF)
    (layer,) = compare(program, "litert_xnnpack", _images("Conv"), run=engine).layers
    assert layer.explained_by is not None
    assert layer.explained_by.startswith("requantization float32 scale (reference) / fixed point (first half up")
    machines = {cause.machine for cause in layer.explanation.causes}  # type: ignore[union-attr]
    assert "litert_xnnpack" in machines


def test_two_changed_rules_are_explained_by_the_pair() -> None:
    base = _plain("Conv", REF)
    assert isinstance(base.requantize, FixedPoint)
    requantize = replace(base.requantize, rounding=Rounding.TO_ZERO)
    wrapped = changed(base, next(v for v in variants(base, "Conv") if said(v.theirs) == "16 bits wrap"))
    layer = _found("Conv", base, replace(wrapped, requantize=requantize))
    assert layer.explanation is not None
    pair = {(change.field, change.reference) for change in layer.explanation.causes[0].changes}
    assert pair == {("requantize.rounding", "to zero"), ("mac.levels", "16 bits wrap")}
    assert " and " in str(layer.explained_by)


def _noisy(program: Program, tensor: str, many: int = 1) -> Callable[[Images], Mapping[str, np.ndarray]]:
    exact = _device(program)

    def noisy(images: Images) -> Mapping[str, np.ndarray]:
        found = dict(exact(images))
        q = found[tensor].copy()
        q.reshape(len(q), -1)[:, :many] ^= 3
        return {**found, tensor: q}

    return noisy


def test_noise_is_explained_by_nothing() -> None:
    program = lower(_network("Conv"), REF)
    (layer,) = compare(program, _noisy(program, "conv_0"), _images("Conv"), run=engine).layers
    assert layer.mismatches == layer.single_mismatches == 6
    assert layer.explained_by is None
    assert layer.explanation is not None
    assert layer.explanation.causes == ()
    assert layer.explanation.says.startswith("6 of 1200 elements differ by up to 3; nothing that we know explains")
    assert sum(count for _, count in layer.single_differences) == 6


def test_what_a_rule_explains_of_noisy_integers_is_said_and_what_it_does_not() -> None:
    base = _plain("Conv", REF)
    other = replace(base, requantize=replace(base.requantize, rounding=Rounding.TO_ZERO))
    program = lower(_network("Conv"), base)
    reference = _noisy(lower(_network("Conv"), other), "conv_0")
    (layer,) = compare(program, reference, _images("Conv"), run=engine).layers
    found = layer.explanation
    assert found is not None
    assert found.nearest is not None
    assert layer.explained_by is None
    assert found.nearest.changes[0].field == "requantize.rounding"
    assert 0 < found.unexplained < found.differ
    assert f"all but {found.unexplained} are explained" in found.says


# ---- what is no rule of a machine ------------------------------------------------------------------------------------


def test_a_float_island_is_named() -> None:
    """The reference dequantizes, convolves in float and quantizes again; the reference here is written by hand."""
    network = _network("Conv")
    weight = network.graph.nodes[0].inputs[1]

    def island(images: Images) -> Mapping[str, np.ndarray]:
        q = engine(lower(network, REF), images, trace=("input_0",)).traced["input_0"]
        x = np.pad(dequantized(q, network.affines["input_0"]), ((0, 0), (0, 0), (1, 1), (1, 1)))
        w = dequantized(network.graph.constants[weight], network.affines[weight]).astype(np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3)).astype(np.float64)
        bias = dequantized(network.graph.constants[f"{weight}_bias"], network.affines[f"{weight}_bias"])
        real = np.einsum("nchwij,ocij->nohw", windows, w) + bias[:, None, None]
        return {"conv_0": quantized(real.astype(np.float32), network.affines["conv_0"])}

    (layer,) = compare(lower(network, REF), island, _images("Conv"), run=engine).layers
    assert layer.explanation is not None
    said_of_all = [cause.says for cause in layer.explanation.causes]
    assert any(says.startswith("a float island, float32") for says in said_of_all)


def test_a_missing_clamp_and_a_missing_bias_are_named() -> None:
    program = lower(_network("Relu"), REF)

    def unclamped(images: Images) -> Mapping[str, np.ndarray]:
        conv = engine(program, images, trace=("conv_0",)).traced["conv_0"]
        return {"conv_0": conv, "relu_1": conv}

    _, layer = compare(program, unclamped, _images("Relu"), run=engine).layers
    assert layer.explained_by == "activation's clamp missing (reference) / there (litert_ref)"

    network = _network("Conv")
    (bias,) = (name for name in network.graph.constants if name.endswith("_bias"))
    constants = network.graph.constants | {bias: np.zeros_like(network.graph.constants[bias])}
    without = replace(network, graph=replace(network.graph, constants=constants))
    reference = _device(lower(without, REF))
    (layer,) = compare(lower(network, REF), reference, _images("Conv"), run=engine).layers
    assert layer.explained_by == "bias missing (reference) / there (litert_ref)"


def test_a_multiplier_made_in_float32_is_named() -> None:
    """The wrong precision moves a multiplier by some 2^-24: it shows where accumulators lie near a tie."""
    net = Net(np.random.default_rng(3), "s8", "s8n")
    x = net.input(16, of=any_affine(net.rng, "s8", scale=1 / 255, zero=0))
    net.gemm(x, 16, scale=0.1, bias=1 << 27, of=any_affine(net.rng, "s8", scale=900.0, zero=0))
    network = net.done("gemm_0")
    rng = np.random.default_rng(1)
    images = {"input_0": rng.integers(0, 128, (400, 16)).astype(np.uint8)}
    program = lower(network, REF)
    exact = replace(program.targets["litert_ref"], overrides=())
    ours = lower(network, exact)
    from intsim.compare.edits import edits

    other = next(made for change, made in edits(ours, network) if change.rule == "real multiplier")
    theirs = replace(ours, steps=other.steps)
    (layer,) = compare(ours, _device(theirs), images, run=engine).layers
    if layer.mismatches:  # where the two multipliers are one number, there is nothing to find
        assert "real multiplier" in str([cause.says for cause in layer.explanation.causes])  # type: ignore[union-attr]


def test_a_fused_activation_hides_its_input_and_not_the_cause() -> None:
    """A runtime that fuses shows no tensor before the activation: both steps are run from what it does show."""
    network = _network("Relu")
    cut = replace(REF, requantize=replace(REF.requantize, rounding=Rounding.TO_ZERO))
    ours, theirs = lower(network, REF), lower(network, cut)

    def fused(images: Images) -> Mapping[str, np.ndarray]:
        return {"relu_1": engine(theirs, images, trace=("relu_1",)).traced["relu_1"]}

    found = compare(ours, fused, _images("Relu"), run=engine)
    (layer,) = found.layers
    assert found.not_compared == ("node_conv_0",)
    assert layer.name == "node_relu_1"
    assert layer.mismatches == layer.single_mismatches > 0
    assert "second rounding to zero (reference) / half away (litert_ref)" in [
        cause.says
        for cause in layer.explanation.causes  # type: ignore[union-attr]
    ]


# ---- the vocabulary --------------------------------------------------------------------------------------------------


def test_a_new_word_is_tried_without_a_line_being_added() -> None:
    """What can stand in a field is read off the field: every member of every enum is an alternative."""
    base = plain(lower(_network("Conv"), REF).steps[0], REF)
    found: dict[str, set[Any]] = {}
    for variant in variants(base, "Conv"):
        if isinstance(variant.theirs, Enum):
            found.setdefault(".".join(variant.path), set()).add(variant.theirs)
    assert found["requantize.rounding"] == set(Rounding) - {Rounding.HALF_AWAY}
    assert found["requantize.first"] == set(Rounding) - {Rounding.HALF_UP}
    assert found["requantize.encoding"] == set(Rounding) - {Rounding.HALF_AWAY}
    assert found["output"] == set(Overflow) - {Overflow.SATURATE}


def test_every_value_that_a_machine_of_the_catalogue_has_is_tried() -> None:
    base = _plain("Conv", REF)
    tried = list(variants(base, "Conv"))
    levels = [v.theirs for v in tried if v.path == ("mac", "levels")]
    rules = [v.theirs for v in tried if v.path == ("requantize",)]
    for target in TARGETS.values():
        for mac in (target.mac, *(o.mac for o in target.overrides if o.mac)):
            assert mac.levels in [*levels, base.mac.levels]
        assert target.requantize == base.requantize or any(
            type(rule) is type(target.requantize) for rule in [*rules, base.requantize]
        )
    assert Float32Scale() in rules


def test_a_change_changes_what_it_says_and_nothing_else() -> None:
    base = _plain("Conv", REF)
    for variant in variants(base, "Conv"):
        assert variant.theirs != variant.ours
        try:
            other = changed(base, variant)
        except ValueError:
            continue
        here = [field.name for field in fields(Target) if getattr(base, field.name) != getattr(other, field.name)]
        assert here == [variant.path[0]]


def test_nodes_alone_are_what_they_are_in_the_network() -> None:
    network = _network("Conv")
    alone = placed(some_nodes(network, ["node_conv_0"]), REF)
    whole = engine(lower(network, REF), _images("Conv"), trace=("*",)).traced
    given = engine(alone, {"input_0": whole["input_0"]}, trace=("conv_0",)).traced["conv_0"]
    np.testing.assert_array_equal(given, whole["conv_0"])


# ---- onnxruntime -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(ort.host_profile() != "ort_x86_avx2", reason="the saturation is that of AVX2 without VNNI")
def test_signed_activations_that_onnxruntime_turns_into_unsigned_ones_are_found_out() -> None:
    """QDQ files with s8 activations: from the level "extended" on, pairs of products saturate on AVX2."""
    net = Net(np.random.default_rng(3), "s8", "s8n")
    x = net.input(4, 6, 6, of=any_affine(net.rng, "s8", scale=2.0**-8, zero=-128))
    y = net.conv(x, 8, (3, 3), scale=2.0**-7, of=any_affine(net.rng, "s8", scale=2.0**-3, zero=0))
    program = lower(net.done(y), TARGETS["ort_x86_avx2"])
    images = {"input_0": np.random.default_rng(1).integers(128, 256, (6, 4, 6, 6)).astype(np.uint8)}

    def against(**options: str) -> Comparison:
        return compare(program, "onnxruntime", images, options=options, run=engine)

    for options in ({}, {"optimization": "all"}, {"form": "qdq"}):
        assert against(**options).mismatches == 0, options
    found = against(form="qdq", optimization="extended")
    (layer,) = found.layers
    assert found.reference.optimization_level == "extended, QDQ"
    assert layer.reference_op == "QLinearConv, s8 turned into u8"
    assert layer.max_difference > 1
    assert layer.explained_by == "the rules of ort_x86_avx2, reading unsigned activations (reference) / ort_x86_avx2"
    assert against(form="qdq").layers[0].reference_op == "Conv in float"
