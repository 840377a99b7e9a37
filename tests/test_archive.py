import json
import zipfile

import numpy as np
import pytest
from msgspec.structs import replace
from nets import every_op, images

from intsim import TARGETS, IntsimError, archive, oracle
from intsim.arithmetic import encoded
from intsim.check import check
from intsim.integers import affine
from intsim.lower import lower
from intsim.program import Add, AveragePool, Clip, Convert, MaxPool, Pad, Program, Rearrange
from intsim.target import PowerOfTwo


@pytest.fixture(scope="module")
def program() -> Program:
    return lower(every_op(TARGETS["ort_x86_avx2"].scheme), TARGETS["ort_x86_avx2"])


@pytest.mark.parametrize("name", TARGETS)
def test_a_program_survives_its_file(name: str, tmp_path) -> None:
    program = lower(every_op(TARGETS[name].scheme), TARGETS[name])
    archive.write(program, tmp_path / "p.intsim")
    again = check(archive.read(tmp_path / "p.intsim"))
    assert archive.digest(again) == archive.digest(program)
    x = images(1)
    assert np.array_equal(oracle.run(program, x).integers["gemm_y"], oracle.run(again, x).integers["gemm_y"])


def test_equal_programs_are_equal_files(program: Program, tmp_path) -> None:
    archive.write(program, tmp_path / "a.intsim")
    archive.write(program, tmp_path / "b.intsim")
    assert (tmp_path / "a.intsim").read_bytes() == (tmp_path / "b.intsim").read_bytes()


def test_the_digest_changes_with_any_weight(program: Program) -> None:
    first = program.steps[0]
    weight = first.compute.weight.copy()
    weight.flat[0] ^= 1
    steps = (replace(first, compute=replace(first.compute, weight=weight)), *program.steps[1:])
    assert archive.digest(replace(program, steps=steps)) != archive.digest(program)


def test_every_truncation_is_refused_in_one_line(program: Program, tmp_path) -> None:
    archive.write(program, tmp_path / "p.intsim")
    data = (tmp_path / "p.intsim").read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "short.intsim").write_bytes(data[:length])
        with pytest.raises(IntsimError) as error:
            archive.read(tmp_path / "short.intsim")
        assert "\n" not in str(error.value)


def rewritten(path, member: str, data: bytes) -> None:
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members[member] = data
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def test_a_newer_format_is_refused_with_the_mend(program: Program, tmp_path) -> None:
    archive.write(program, tmp_path / "p.intsim")
    rewritten(tmp_path / "p.intsim", "intsim.json", json.dumps({"format": 99}).encode())
    with pytest.raises(IntsimError, match=r"format 99.*upgrade"):
        archive.read(tmp_path / "p.intsim")


def test_pickled_arrays_are_not_read(program: Program, tmp_path) -> None:
    archive.write(program, tmp_path / "p.intsim")
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], object), allow_pickle=True)
    rewritten(tmp_path / "p.intsim", "0.npy", (tmp_path / "evil.npy").read_bytes())
    with pytest.raises(IntsimError):
        archive.read(tmp_path / "p.intsim")


def damaged(program: Program, index: int, **fields: object) -> Program:
    steps = list(program.steps)
    steps[index] = replace(steps[index], compute=replace(steps[index].compute, **fields))
    return replace(program, steps=tuple(steps))


def test_numbers_that_do_not_fit_together_never_reach_a_kernel(program: Program) -> None:
    conv, average = program.steps[0].compute, program.steps[4].compute
    shift = encoded(PowerOfTwo(), 0.5, [1.0], 1.0, zero_point=0, low=0, high=255)
    shift = replace(shift, exponent=np.array([1 << 30]))
    step = {type(step.compute): index for index, step in reversed(list(enumerate(program.steps)))}
    broken = [
        damaged(program, 0, weight=np.ascontiguousarray(conv.weight[:, :1])),
        damaged(program, 0, bias=conv.bias[:1]),
        damaged(program, 0, group=3),
        damaged(program, 0, window=replace(conv.window, strides=(0, 1))),
        damaged(program, 0, window=replace(conv.window, begin=(-1, 0))),
        damaged(program, 0, rescale=replace(conv.rescale, multiplier=conv.rescale.multiplier[:2])),
        damaged(program, 0, rescale=replace(conv.rescale, high=1000)),
        damaged(program, step[AveragePool], window=replace(average.window, kernel=(2,))),
        damaged(program, step[Rearrange], shape=(9,)),
        damaged(program, step[Convert], axis=5),
        replace(program, steps=program.steps[1:]),
        replace(program, targets={}),
        replace(program, steps=(*program.steps, program.steps[-1])),
        replace(program, inputs={"x": replace(program.inputs["x"], shape=(2, 60, 60))}),
        replace(program, inputs={"x": replace(program.inputs["x"], table=np.zeros((7, 1), np.uint8))}),
        replace(program, outputs={"gemm_y": replace(program.outputs["gemm_y"], tensor="nowhere")}),
        replace(program, outputs={"gemm_y": replace(program.outputs["gemm_y"], affine=affine(7.0, 3, "u8"))}),
        damaged(program, 0, rescale=replace(conv.rescale, multiplier=None)),
        damaged(program, 0, rescale=replace(conv.rescale, multiplier=conv.rescale.multiplier.astype(np.float64))),
        damaged(program, 0, rescale=replace(conv.rescale, multiplier=conv.rescale.multiplier * np.float32(np.inf))),
        damaged(program, 0, rescale=shift),
        damaged(program, step[MaxPool], window=replace(program.steps[step[MaxPool]].compute.window, begin=(2, 0))),
        damaged(program, step[Add], low=-300),
        damaged(program, step[Add], multiplier=program.steps[step[Add]].compute.multiplier[:1]),
        damaged(program, step[Clip], high=300),
        damaged(program, step[Pad], value=256),
    ]
    for wrong in broken:
        with pytest.raises(IntsimError) as error:
            check(wrong)
        assert "\n" not in str(error.value)
