"""The widths that are advised are enough, by proof and as observed, and one bit less is not."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from nets import every_op, images
from programs import any_input, dot_program

from intsim import TARGETS, IntsimError, archive, oracle
from intsim.advice import advise, l1_bits, l1_limit
from intsim.advice.running import running
from intsim.arithmetic import cast, product
from intsim.cli import main
from intsim.integers import Overflow
from intsim.lower import lower
from intsim.ops.dot import _taps, shape_of_dot
from intsim.program import Clip, Dot, Program, Step, inside
from intsim.target import Cast
from intsim.targets import with_accumulator


def walked(dot: Dot, x: np.ndarray) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """By brute force, a sum at a time: what each level's register meets, and what a single one does."""
    met: list[list[int]] = [[0] for _ in dot.mac.levels]
    alone = [0]
    spatial = shape_of_dot(dot, x.shape[1:])[:-1]
    for n, *place, o in itertools.product(range(len(x)), *map(range, (*spatial, len(dot.weight)))):
        zx, zw = dot.input_zero_point, int(np.broadcast_to(dot.weight_zero_point, (len(dot.weight),))[o])
        taps, owed = _taps(dot, x[n], tuple(place), o), int(dot.bias[o])
        if dot.mac.zero_point == "in_operand":
            taps = [(a - zx, w - zw) for a, w in taps]
        else:
            owed += sum((a - zx) * (w - zw) - a * w for a, w in taps)
        first = dot.bias_rule.when == "init"
        items = [cast(product(*tap, dot.mac.multiplier), dot.mac.product or Cast(bits=500)) for tap in taps]
        alone += list(itertools.accumulate(items, initial=owed if first else 0))
        back = dot.mac.write_back
        total = sum(items) + owed if first or back is None else cast(sum(items), back) + owed
        for level, seen in zip(dot.mac.levels, met, strict=True):
            size = level.size or len(items)
            cuts = [0, size] if level.first_only else range(0, len(items), size)
            groups = [items[a : a + size] for a in cuts]
            rest = items[size:] if level.first_only else []
            start = owed if first and level.size is None else 0
            groups = groups[:1] if level.first_only else groups
            seen += [v for group in groups for v in itertools.accumulate(group, initial=start)]
            items = [sum(group) for group in groups] + rest
        alone.append(total)
        met[-1].append(total)
    return [(min(seen), max(seen)) for seen in met], (min(alone), max(alone))


def test_what_is_observed_is_what_brute_force_meets() -> None:
    """Over random machines: levels of any size, products cast or from a table, folded zero points, both orders."""
    kinds = set()
    for seed in range(60):
        program = dot_program(np.random.default_rng(seed))
        dot = program.steps[0].compute
        assert isinstance(dot, Dot)
        x = inside(any_input(np.random.default_rng(seed), program, 2)["x0"])
        found = running(dot, x)
        levels, alone = walked(dot, x)
        assert (list(found.levels), found.single) == (levels, alone), seed
        kinds.add((len(dot.mac.levels), dot.mac.zero_point, dot.mac.order, dot.bias_rule.when))
    assert len(kinds) > 12


@pytest.mark.parametrize("name", ["litert_ref", "cmsis_nn_s8", "gemmini_os"])
def test_the_observed_width_never_overflows_and_one_bit_less_does(name: str) -> None:
    source, x = every_op(TARGETS[name].scheme), images(4)
    advice = advise(lower(source, TARGETS[name]), {"some": x})
    for step in ("conv", "depthwise", "gemm"):
        layer = next(layer for layer in advice.layers if layer.name == step)
        bits = layer.observed["some"].bits
        assert bits <= layer.proof
        for width, overflows in ((bits, False), (bits - 1, True)):
            narrow = with_accumulator(TARGETS[name], width, Overflow.WRAP)
            program = lower(source, TARGETS[name], nodes={step: narrow})
            found = oracle.run(program, x, count=True).overflows[step]
            assert bool(found.outputs) == overflows, (step, width)
    assert advice.observed["some"] == max(layer.observed["some"].bits for layer in advice.layers)


def test_a_width_that_is_proven_holds_every_image_in_every_order() -> None:
    """The worst input of each layer, and both orders of its products."""
    source = every_op(TARGETS["litert_ref"].scheme)
    advice = advise(lower(source, TARGETS["litert_ref"]))
    assert advice.observed == {}
    assert advice.proof == max(layer.proof for layer in advice.layers)
    for bits, proven in ((advice.proof, True), (advice.proof - 1, False)):
        machine = with_accumulator(TARGETS["litert_ref"], bits, Overflow.SATURATE)
        found = advise(lower(source, machine))
        assert all(layer.verdict == "safe by proof" for layer in found.layers) == proven
        assert all(layer.bits == bits for layer in found.layers)


def test_the_verdicts() -> None:
    source, x = every_op(TARGETS["litert_ref"].scheme), images(3)
    wide = advise(lower(source, TARGETS["litert_ref"]), {"input": x})
    needed = wide.observed["input"]
    seen = set()
    for bits in (32, needed, 8):
        machine = with_accumulator(TARGETS["litert_ref"], bits, Overflow.WRAP)
        for layer in advise(lower(source, machine), {"input": x[:1], "attacked": x}).layers:
            seen.add(layer.verdict.split(" in ")[0])
            counted = layer.observed["attacked"].overflows
            if layer.verdict.startswith("overflows"):
                assert f"{counted.outputs} of {counted.of_outputs} outputs (attacked)" in layer.verdict
            else:
                assert counted.outputs == 0
    assert seen == {"safe by proof", "safe as observed", "overflows"}
    assert {layer.verdict for layer in advise(lower(source, machine)).layers} == {"not proven"}


def test_the_l1_bound_is_that_of_the_worst_input() -> None:
    """The largest norm that is allowed fits for inputs that all reach 2^(N - s); one more does not."""
    for bits, n, signed in itertools.product((8, 12, 16, 20, 32), (1, 4, 8), (False, True)):
        reach, most = 1 << (n - signed), (1 << (bits - 1)) - 1
        limit = l1_limit(bits, n, signed)
        assert limit * reach <= most < (limit + 1) * reach
        assert l1_bits(limit, n, signed) <= bits < l1_bits(limit + 1, n, signed)
    # 2,048 weights of magnitude 127 and unsigned bytes: 26 bits and a bit for the sign (A2Q, section 3).
    assert l1_bits(2048 * 127, 8, False) == 27


def test_the_l1_bound_is_never_narrower_than_the_proof_without_a_bias() -> None:
    """Where the bias and what is folded are zero, the proof knows more."""
    checked = 0
    for seed in range(200):
        program = dot_program(np.random.default_rng(seed))
        dot = program.steps[0].compute
        assert isinstance(dot, Dot)
        if dot.bias.any() or dot.mac.multiplier or dot.mac.write_back or dot.mac.zero_point == "folded":
            continue
        (layer,) = advise(program).layers
        assert layer.proof <= layer.l1_bits, seed
        checked += 1
    assert checked > 5


def test_inspect_tells_of_proof_observation_and_norms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.intsim"
    archive.write(lower(every_op(TARGETS["esp_dl_s3"].scheme), TARGETS["esp_dl_s3"]), path)
    for name, n in (("x", 3), ("a", 2)):
        np.savez(tmp_path / f"{name}.npz", x=images(n))
    words = ["inspect", str(path), "--target", "esp_dl_s3", "--accumulator", "14", "--overflow", "saturate"]
    words += ["--input", str(tmp_path / "x.npz"), "--attacked", str(tmp_path / "a.npz"), "--limit", "2"]
    assert main([*words, "--json", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr().out
    (on,) = json.loads((tmp_path / "out.json").read_text())["targets"]
    assert set(on["advice"]["observed"]) == {"input", "attacked"}
    assert f"{on['advice']['proof']} bits by proof" in said
    rows = {row["layer"]: row for row in on["accumulators"]}
    assert rows["conv"]["observed"]["input"]["images"] == 2
    assert rows["conv"]["bits"] == 14
    assert rows["conv"]["l1_excess"] == rows["conv"]["l1"] / rows["conv"]["l1_limit"]
    assert rows["conv"]["verdict"] in said
    assert "overflows in" in said


def test_without_a_sum_there_is_nothing_to_advise() -> None:
    program = lower(every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"])
    relu = next(step for step in program.steps if isinstance(step.compute, Clip))
    with pytest.raises(IntsimError, match="no sum of products"):
        advise(only(program, relu))


def only(program: Program, step: Step) -> Program:
    from intsim.compare.steps import one_step

    return one_step(program, step)
