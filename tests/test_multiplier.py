"""Multipliers as tables: what they multiply, in the oracle and in the engine, and how they are brought and kept."""

import io
import itertools
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from nets import every_op, images
from programs import Rng, any_input, dot_program, one_of
from test_engine import agree, everything

from intsim import TARGETS, IntsimError, archive, engine, oracle, ranges, targets
from intsim.arithmetic import product
from intsim.check import check
from intsim.cli import main
from intsim.integers import IntType, Overflow, affine
from intsim.lower import lower
from intsim.ops.dot import accumulators, misfit
from intsim.program import Dot, Program
from intsim.target import Float32Requantize, Level, Mac, Table, Target

ZEROS = np.zeros((256, 256), np.int32)


def operands(signed: bool) -> np.ndarray:
    """What each of the 256 patterns stands for."""
    return np.arange(256, dtype=np.uint8).view(np.int8 if signed else np.uint8).astype(np.int64)


def exact(signed_x: bool, signed_w: bool) -> np.ndarray:
    return operands(signed_x)[:, None] * operands(signed_w)


def truncated(columns: int) -> np.ndarray:
    """u8 times u8 without the partial products x_i w_j of the lowest columns, i + j < `columns`."""
    x, w = np.arange(256)[:, None], np.arange(256)
    kept = [(i, j) for i in range(8) for j in range(8) if i + j >= columns]
    return np.sum([((x >> i & 1) * (w >> j & 1)) << (i + j) for i, j in kept], axis=0)


def any_table(rng: Rng) -> np.ndarray:
    """Entries of any size: small, of 16 bits with or without sign, of 32 bits."""
    low, high = one_of(rng, (-100, 100), (-(1 << 15), 1 << 15), (0, 1 << 16), (-(1 << 31), 1 << 31))
    return rng.integers(low, high, (256, 256))


def any_table_program(rng: Rng, mac: Mac | None = None, x: IntType | None = None) -> Program:
    """A random sum of products of 8 bits, on a machine with a random multiplier that takes its operands."""
    kind = IntType(8, bool(rng.integers(2))) if x is None else x
    while True:
        program = dot_program(rng, mac, kind)
        dot = program.steps[0].compute
        assert isinstance(dot, Dot)
        signs = {"signed_activations": bool(rng.integers(2)), "signed_weights": bool(rng.integers(2))}
        multiplied = replace(dot, mac=replace(dot.mac, multiplier=Table(entries=any_table(rng), **signs)))
        if not misfit(multiplied, kind):
            return with_dot(program, multiplied)


def with_dot(program: Program, dot: Dot) -> Program:
    return replace(program, steps=(replace(program.steps[0], compute=dot),))


def the_dot(program: Program) -> Dot:
    dot = program.steps[0].compute
    assert isinstance(dot, Dot)
    return dot


# ---- the same integers -----------------------------------------------------------------------------------------


def test_the_engine_is_the_oracle_for_any_table() -> None:
    """Dense, grouped and depthwise windows, any accumulator, zero points folded or not."""
    used: Counter[str] = Counter()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        wraps = Mac(levels=(Level(bits=13),), zero_point=one_of(rng, "folded", "in_operand"))
        program = any_table_program(rng, None if seed % 4 else wraps)
        for kernel in agree(program, any_input(rng, program, 2)):
            used[kernel.split(";")[0].removeprefix("by arrays: ")] += 1
    assert min(used["table"], used["table, wrapped"], used["tree"]) >= 5, used


@pytest.mark.parametrize("bits", [None, 13])
def test_panels_are_the_oracle_too(bits: int | None) -> None:
    """Few different inputs and many rows, so that looking up first pays."""
    from intsim_kernels.table import pays

    mac, seen = Mac(levels=(Level(bits=bits),)), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        program = any_table_program(rng, mac, IntType(2, signed=False))
        dot, places = the_dot(program), int(np.prod(program.tensors["y"].shape[:-1]))
        depthwise = dot.group > 1 and dot.weight.shape[-1] == 1
        if seen < 10 and places < 20 and not depthwise and pays(20 * places, 4, len(dot.weight) // dot.group):
            used = agree(program, any_input(rng, program, 20))
            seen += used[0].startswith("by arrays: table")
    assert seen == 10


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("size", [10, 31])
@pytest.mark.parametrize(("groups", "outputs", "depth"), [(1, 40, 9), (2, 32, 4), (1, 70, 1), (3, 13, 7)])
def test_both_ways_through_the_kernel_add_the_same(
    dtype: type, size: int, groups: int, outputs: int, depth: int
) -> None:
    """Against numpy's own lookups; int32 sums wrap."""
    from intsim_kernels.table import pays, table

    rng = np.random.default_rng(depth)
    for rows, panels in ((3, False), (400, True)):
        assert pays(rows, 20, outputs) == panels
        entries = rng.integers(-(1 << size), 1 << size, (20, 50)).astype(np.int16 if size < 16 else dtype)
        x = rng.integers(0, 20, (rows, groups * depth)).astype(np.uint8)
        index = rng.integers(0, 50, (groups, depth, outputs)).astype(np.uint16)
        taps = np.arange(depth)
        found = np.ones((rows, groups * outputs), dtype)
        wanted = np.ones((rows, groups, outputs), dtype)
        for g, k in itertools.product(range(groups), range(depth)):
            wanted[:, g] += entries.astype(dtype)[x[:, g * depth + k][:, None], index[g, k]]
        columns = np.ascontiguousarray(np.pad(entries.T, ((0, 0), (0, 4))))
        table(x.reshape(-1), x.shape[1], np.zeros(1, np.int64), taps, depth, 0, entries, columns, index, found)
        np.testing.assert_array_equal(found, wanted.reshape(rows, -1))


@pytest.mark.parametrize(
    ("name", "narrow"),
    [("ort_x86_vnni", None), ("ort_x86_avx2", None), ("litert_xnnpack", None), ("gemmini_ws", None)]
    + [("ort_x86_vnni", mode) for mode in (Overflow.WRAP, Overflow.SATURATE, Overflow.SATURATE_ZERO)],
)
def test_a_table_of_exact_products_changes_nothing(name: str, narrow: Overflow | None) -> None:
    """Every tensor, accumulator and count is the one of the machine without a table."""
    machine = TARGETS[name] if narrow is None else targets.with_accumulator(TARGETS[name], 14, narrow)
    scheme, x = machine.scheme, images(5)
    table = exact(scheme.activations[0].signed, scheme.weights[0].signed)
    plain = lower(every_op(scheme), machine)
    multiplied = lower(every_op(scheme), targets.with_multiplier(machine, table))
    for count in (False, True):
        right = engine.run(plain, x, trace=everything(plain), count=count)
        found = engine.run(multiplied, x, trace=everything(multiplied), count=count)
        assert found.overflows == right.overflows
        for tensor, integers in right.traced.items():
            np.testing.assert_array_equal(found.traced[tensor], integers, err_msg=tensor)
    np.testing.assert_array_equal(engine.run(multiplied, x).integers["gemm_y"], right.integers["gemm_y"])
    kernels = [kernel for _, kernel, _ in engine.describe(multiplied)]
    assert any("tree" in k if narrow in (Overflow.SATURATE, Overflow.SATURATE_ZERO) else "table" in k for k in kernels)


@pytest.mark.parametrize("name", ["ort_x86_avx2", "vta"])
def test_a_network_with_a_random_table_is_the_oracles(name: str) -> None:
    machine = targets.with_multiplier(TARGETS[name], any_table(np.random.default_rng(7)) // 5)
    program, x = lower(every_op(machine.scheme), machine), images(3)
    agree(program, x, threads=2)
    right = oracle.run(program, x).integers["gemm_y"]
    np.testing.assert_array_equal(engine.run(program, x).integers["gemm_y"], right)  # as fast as it goes: no traces
    exact_ones = lower(every_op(machine.scheme), TARGETS[name])
    assert (engine.run(exact_ones, x).integers["gemm_y"] != right).any()


@pytest.mark.parametrize("signed_x", [False, True])
@pytest.mark.parametrize("signed_w", [False, True])
def test_the_row_is_the_activations_pattern_and_the_column_the_weights(signed_x: bool, signed_w: bool) -> None:
    """Every pair of operands finds its own entry: the table says which one it is."""
    table = Table(entries=np.arange(1 << 16).reshape(256, 256), signed_activations=signed_x, signed_weights=signed_w)
    x, w = operands(signed_x), operands(signed_w)
    assert [product(int(v), int(w[3]), table) for v in x] == [256 * row + 3 for row in range(256)]
    program = gemm(w[:, None], Mac(levels=(Level(bits=None),), multiplier=table), IntType(8, signed_x))
    acc = engine.run(program, x[:, None].astype(IntType(8, signed_x).dtype), trace=["y:accumulator"])
    np.testing.assert_array_equal(acc.traced["y:accumulator"], np.arange(1 << 16).reshape(256, 256))


def test_an_operand_less_its_zero_point_is_what_is_multiplied_or_else_the_raw_one() -> None:
    """`in_operand` looks up x - zx, and T[0, w] in the padding; `folded` looks up x and pays what zx owes exactly."""
    rng = np.random.default_rng(3)
    entries = rng.integers(-500, 500, (256, 256))
    table = Table(entries=entries, signed_activations=False)
    weight, x, zx = np.array([[3, -7]]), np.array([[20, 200]], np.uint8), 12
    sums = {}
    for where in ("in_operand", "folded"):
        mac = Mac(levels=(Level(bits=None),), multiplier=table, zero_point=where)
        program = gemm(weight, mac, IntType(8, signed=False), zx)
        sums[where] = accumulators(the_dot(program), x.astype(object))[0].tolist()
    assert sums["in_operand"] == [[entries[8, 3] + entries[188, 249]]]
    assert sums["folded"] == [[entries[20, 3] + entries[200, 249] - zx * (3 - 7)]]


def gemm(weight: np.ndarray, mac: Mac, kind: IntType, zx: int = 0) -> Program:
    """A matrix product with the given weights `[o, k]` and nothing else, its first columns' worth of inputs."""
    rng = np.random.default_rng(0)
    while True:
        program = dot_program(rng, mac, kind)
        dot = the_dot(program)
        if not dot.window.kernel and not isinstance(dot.rescale.rule, Float32Requantize):
            break
    outputs, depth = weight.shape
    dot = replace(
        dot,
        weight=weight.astype(np.int64).astype(np.int16),
        weight_zero_point=np.zeros(1, np.int64),
        bias=np.zeros(outputs, np.int64),
        bias_rule=replace(dot.bias_rule, when="end", bits=None),
        input_zero_point=zx,
        rescale=replace(dot.rescale, **{n: None if (a := getattr(dot.rescale, n)) is None else a[:1] for n in NUMBERS}),
    )
    source = affine(0.5, zx, kind)
    doors = {"x0": replace(program.inputs["x0"], shape=(depth,), affine=source)}
    tensors = {
        "x0": replace(program.tensors["x0"], shape=(depth,), affine=source),
        "y": replace(program.tensors["y"], shape=(outputs,)),
    }
    out = {"y": replace(program.outputs["y"], shape=(outputs,))}
    return with_dot(replace(program, inputs=doors, outputs=out, tensors=tensors), dot)


NUMBERS = ("multiplier", "exponent", "thresholds")


# ---- a known multiplier ----------------------------------------------------------------------------------------


def test_a_truncated_multiplier_loses_what_its_dropped_columns_weigh() -> None:
    """u8 x u8 without the 4 lowest columns: never more than 49 too small a product, and 0 where they are empty."""
    table = truncated(4)
    lost = exact(False, False) - table
    assert (lost.min(), lost.max()) == (0, sum((k + 1) << k for k in range(4)))
    assert not lost[::16].any()
    assert not lost[:, ::16].any()
    np.testing.assert_array_equal(truncated(0), exact(False, False))
    rng = np.random.default_rng(1)
    weight, x = rng.integers(0, 256, (6, 40)), rng.integers(0, 256, (9, 40)).astype(np.uint8)
    mac = Mac(multiplier=Table(entries=table, signed_activations=False, signed_weights=False))
    program = gemm(weight, mac, IntType(8, signed=False))
    agree(program, x)
    acc = engine.run(program, x, trace=["y:accumulator"]).traced["y:accumulator"]
    np.testing.assert_array_equal(acc, x.astype(int) @ weight.T - lost[x[:, None], weight[None]].sum(2))


# ---- bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zero_point", ["in_operand", "folded"])
def test_the_bounds_of_a_tables_sums_are_attained(zero_point: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        zx = int(rng.integers(-2, 2))
        table = Table(entries=any_table(rng))
        mac = Mac(levels=(Level(bits=None),), multiplier=table, zero_point=zero_point)
        program = gemm(rng.integers(-9, 9, (1, 3)), mac, IntType(8), zx)
        dot = the_dot(program)
        x = np.array(list(itertools.product(range(-2, 3), repeat=3)))
        sums = accumulators(dot, x.astype(object))[0][:, 0].tolist()
        found = ranges.registers(dot, -2, 2)
        assert (found.value[0][0], found.value[1][0]) == (min(sums), max(sums))


# ---- brought and kept ------------------------------------------------------------------------------------------


def multiplied(seed: int = 0, name: str = "ort_x86_avx2") -> Target:
    return targets.with_multiplier(TARGETS[name], np.random.default_rng(seed).integers(-999, 999, (256, 256)))


def test_a_machine_gets_its_multiplier_everywhere_and_another_name() -> None:
    machine = multiplied()
    macs = [machine.mac, *(o.mac for o in machine.overrides if o.mac)]
    assert len(macs) > 1
    assert len({mac.multiplier for mac in macs}) == 1
    assert machine.name != "ort_x86_avx2"
    assert machine.fidelity == "assumed"
    assert machine.mac.multiplier is not None
    assert (machine.mac.multiplier.signed_activations, machine.mac.multiplier.signed_weights) == (False, True)
    assert machine != multiplied(1)
    assert machine == multiplied()
    assert hash(machine) == hash(multiplied())


def test_a_multiplier_cannot_be_changed_behind_a_machines_back() -> None:
    entries = ZEROS.copy()
    table = Table(entries=entries)
    entries[0, 0] = 1
    assert table.entries[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        table.entries[0, 0] = 1


def test_a_machine_with_a_multiplier_survives_a_trip_through_toml(tmp_path: Path) -> None:
    machine = multiplied()
    (written,) = targets.write_toml(machine, tmp_path / "mine.toml")
    assert written.parent == tmp_path
    assert targets.target(str(tmp_path / "mine.toml")) == machine
    assert len((tmp_path / "mine.toml").read_text()) < 5000
    targets.write_toml(machine, tmp_path / "again.toml")
    np.save(written, ZEROS)
    with pytest.raises(IntsimError, match="holds another multiplier"):
        targets.write_toml(machine, tmp_path / "mine.toml")
    with pytest.raises(IntsimError, match="sha256"):
        targets.target(str(tmp_path / "mine.toml"))


def test_a_toml_names_a_file_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", truncated(3))
    text = targets.toml(TARGETS["vta"]) + '\n[mac.multiplier]\nfile = "mine.npy"\nsigned_weights = false\n'
    (tmp_path / "mine.toml").write_text(text)
    found = targets.target(str(tmp_path / "mine.toml")).mac.multiplier
    assert found == Table(entries=truncated(3), signed_weights=False)


def test_other_fields_of_a_machine_with_a_multiplier_can_be_set() -> None:
    machine = multiplied()
    changed = targets.set_fields(machine, {"mac.multiplier.signed_weights": "false", "mac.order": "chw"})
    assert changed.mac.multiplier == replace(machine.mac.multiplier, signed_weights=False)
    assert changed.overrides[0].mac == machine.overrides[0].mac
    with pytest.raises(IntsimError, match=r"--multiplier FILE"):
        targets.set_fields(machine, {"mac.multiplier.sha256": "0"})


def test_a_program_holds_its_table_once_and_keeps_its_bits(tmp_path: Path) -> None:
    machine = multiplied()
    program = lower(every_op(machine.scheme), machine)
    archive.write(program, tmp_path / "p.intsim")
    again = check(archive.read(tmp_path / "p.intsim"))
    assert again.targets == program.targets
    assert archive.digest(again) == archive.digest(program)
    x = images(1)
    assert np.array_equal(oracle.run(program, x).integers["gemm_y"], oracle.run(again, x).integers["gemm_y"])
    assert (tmp_path / "p.intsim").stat().st_size < 1 << 18
    other = lower(every_op(machine.scheme), replace(multiplied(1), name=machine.name))
    assert archive.digest(other) != archive.digest(program)


def test_a_program_whose_table_is_damaged_is_refused(tmp_path: Path) -> None:
    """Another shape, or entries that are not those that its sha256 names."""
    machine = multiplied()
    path = tmp_path / "p.intsim"
    archive.write(lower(every_op(machine.scheme), machine), path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    arrays = {n: np.load(io.BytesIO(data)) for n, data in members.items() if n.endswith(".npy")}
    (name,) = [n for n, array in arrays.items() if array.shape == (256, 256)]
    for wrong in (ZEROS, ZEROS[:, :9], ZEROS.astype(np.float32)):
        data = io.BytesIO()
        np.save(data, wrong)
        with zipfile.ZipFile(path, "w") as file:
            for member, content in {**members, name: data.getvalue()}.items():
                file.writestr(member, content)
        with pytest.raises(IntsimError, match="multiplier") as raised:
            archive.read(path)
        assert "\n" not in str(raised.value)


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: None, "cannot be read"),
    (lambda path: path.write_bytes(b"no array"), r"is no \.npy file"),
    (lambda path: np.save(path, np.array([{}]), allow_pickle=True), r"is no \.npy file"),
    (lambda path: np.save(path, np.zeros((256, 128), np.int32)), r"256 x 256 integers, not int32 \(256, 128\)"),
    (lambda path: np.save(path, np.zeros((256, 256))), "256 x 256 integers, not float64"),
    (lambda path: np.save(path, np.full((256, 256), 1 << 31)), "fit int32, not 2147483648"),
]


@pytest.mark.parametrize(("make", "what"), WRONG, ids=[what for _, what in WRONG])
def test_a_file_that_is_no_multiplier_is_refused_in_one_line(
    make: Callable[[Path], object], what: str, tmp_path: Path
) -> None:
    make(tmp_path / "mine.npy")
    (tmp_path / "mine.toml").write_text(targets.toml(TARGETS["vta"]) + '\n[mac.multiplier]\nfile = "mine.npy"\n')
    for call in (
        lambda: targets.with_multiplier(TARGETS["vta"], tmp_path / "mine.npy"),
        lambda: targets.target(str(tmp_path / "mine.toml")),
    ):
        with pytest.raises(IntsimError, match=what) as raised:
            call()
        assert "mine.npy" in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "what"), [("signed_weights = true", "names no file"), ('file = "../mine.npy"', "beside the TOML")]
)
def test_a_toml_whose_multiplier_is_not_beside_it_is_refused(fields: str, what: str, tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    folder.mkdir()
    np.save(tmp_path / "mine.npy", ZEROS)
    (folder / "mine.toml").write_text(targets.toml(TARGETS["vta"]) + f"\n[mac.multiplier]\n{fields}\n")
    with pytest.raises(IntsimError, match=what):
        targets.target(str(folder / "mine.toml"))


def test_operands_that_8_bits_do_not_hold_are_refused_when_the_network_is_lowered() -> None:
    """An s8 activation with zero point -128 less that zero point is 0..255: no signed multiplier takes that."""
    scheme = TARGETS["litert_ref"].scheme
    with pytest.raises(
        IntsimError, match=r"conv .*activations less their zero points are 0 to 255.*takes s8"
    ) as raised:
        lower(every_op(scheme), targets.with_multiplier(TARGETS["litert_ref"], ZEROS))
    assert "\n" not in str(raised.value)
    unsigned = targets.with_multiplier(TARGETS["gemmini_ws"], ZEROS, signed_weights=False)
    with pytest.raises(IntsimError, match=r"weights less their zero points are -\d+ to \d+, the multiplier takes u8"):
        lower(every_op(unsigned.scheme), unsigned)


def test_a_damaged_program_whose_operands_do_not_fit_is_refused() -> None:
    machine = targets.with_multiplier(TARGETS["vta"], ZEROS)
    program = lower(every_op(machine.scheme), machine)
    dot = the_dot(program)
    wide = replace(dot, weight=dot.weight.astype(np.int16) * 2)
    with pytest.raises(IntsimError, match="weights"):
        check(replace(program, steps=(replace(program.steps[0], compute=wide), *program.steps[1:])))


def test_the_command_line_takes_a_multiplier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "none.npy", ZEROS)
    np.savez(tmp_path / "x.npz", x=images(3))
    machine = TARGETS["ort_x86_vnni"]
    archive.write(lower(every_op(machine.scheme), machine), tmp_path / "p.intsim")
    table = ["--multiplier", str(tmp_path / "none.npy")]
    mine = tmp_path / "out" / "mine.toml"
    mine.parent.mkdir()
    assert main(["targets", "export", machine.name, *table, "-o", str(mine), "--json", str(tmp_path / "t.json")]) == 0
    assert sorted(p.name for p in mine.parent.iterdir()) == ["mine.toml", "none.npy"]
    assert (tmp_path / "t.json").stat().st_size < 10000
    assert main(["targets", machine.name, *table]) == 0
    assert "products by none.npy" in capsys.readouterr().out
    logits = []
    for said in (["--target", machine.name, *table], ["--target", str(mine)]):
        out = tmp_path / f"{len(logits)}.npz"
        files = ["--input", str(tmp_path / "x.npz"), "-o", str(out)]
        assert main(["run", str(tmp_path / "p.intsim"), *said, *files, "--quiet"]) == 0
        logits.append(np.load(out)["logits"])
    np.testing.assert_array_equal(*logits)
    assert main(["run", str(tmp_path / "p.intsim"), "--target", machine.name, "--multiplier", "no.npy", *files]) == 2
    assert "no.npy: cannot be read" in capsys.readouterr().err
