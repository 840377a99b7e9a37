"""The inner loops are the instructions they were written for: no new compiler can quietly take the speed away."""

import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from intsim_kernels import tile

HERE = Path(__file__).parent

AVX2 = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe"
VNNI = f"{AVX2},+avx512f,+avx512bw,+avx512vl,+avx512dq,+avx512cd,+avx512vnni"
CPUS = {"x86-64": "+sse2", "haswell": AVX2, "icelake-server": VNNI, "alderlake": f"{AVX2},+avxvnni"}


@cache
def compiled_for(cpu: str) -> dict[str, list[Counter[str]]]:
    """Routine to its loops' instructions, counted, and "stack": those that touch it; compiled for that CPU, not run."""
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": CPUS[cpu]}
    done = subprocess.run(
        [sys.executable, str(HERE / "machine_code.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    return {name: [counted(loop) for loop in loops] for name, loops in found.items()}


def counted(loop: list[str]) -> Counter[str]:
    mnemonics = Counter(line.removeprefix("{vex}").split()[0] for line in loop)
    return mnemonics + Counter(stack=sum("%rsp" in line for line in loop))


def busiest(loops: list[Counter[str]], *mnemonics: str) -> Counter[str]:
    return max(loops, key=lambda loop: sum(loop[name] for name in mnemonics))


@pytest.mark.parametrize("cpu", CPUS)
def test_no_loop_multiplies_one_by_one(cpu: str) -> None:
    for name, loops in compiled_for(cpu).items():
        for loop in loops:
            slow = {"imull", "imulq", "vpmulld", "pmulld", "pmuludq", "vpmuludq", "vpmuldq", "vpmullq"} & set(loop)
            assert not (slow and loop["vpaddd"] + loop["paddd"] > 4), f"{name} for {cpu}: {slow}"


def test_avx2_multiplies_pairs_of_words() -> None:
    """A tile of 6 rows by 2 vectors: 12 products and sums, 6 broadcasts, 2 loads, and everything in registers."""
    loop = busiest(compiled_for("haswell")["pairs 2"], "vpmaddwd")
    unrolled = loop["vpmaddwd"] // 12
    assert unrolled in (1, 2), loop
    assert (loop["vpmaddwd"], loop["vpaddd"]) == (12 * unrolled, 12 * unrolled), loop
    assert loop["vpbroadcastd"] == 6 * unrolled, loop
    assert loop["vmovdqu"] == 2 * unrolled, loop
    assert loop["stack"] == 0, loop


def test_avx2_multiplies_pairs_of_bytes() -> None:
    loop = busiest(compiled_for("haswell")["saturating quads 2"], "vpmaddubsw")
    assert loop["vpmaddubsw"] in (12, 24), loop
    assert loop["vpmaddwd"] == loop["vpaddd"] == loop["vpmaddubsw"], loop


def test_vnni_multiplies_fours_of_bytes() -> None:
    found = compiled_for("icelake-server")
    for width, rows in ((4, 6), (2, 12), (1, 8)):
        loop = busiest(found[f"quads {width}"], "vpdpbusd")
        tile = rows * width
        assert loop["vpdpbusd"] in (tile, 2 * tile), (width, loop)
        assert not any(name.startswith(("vpmadd", "vpmul")) for name in loop), (width, loop)
        assert loop["stack"] == 0, (width, loop)
        assert busiest(found[f"pairs {width}"], "vpdpwssd")["vpdpwssd"] in (tile, 2 * tile)


def test_vnni_of_256_bits_multiplies_fours_of_bytes() -> None:
    """Desktop CPUs have VNNI without AVX512."""
    loop = busiest(compiled_for("alderlake")["quads 2"], "vpdpbusd")
    assert loop["vpdpbusd"] in (12, 24), loop
    assert loop["stack"] == 0, loop


def test_any_x86_multiplies_pairs_of_words() -> None:
    loop = busiest(compiled_for("x86-64")["pairs 2"], "pmaddwd")
    assert loop["pmaddwd"] in (12, 24), loop


def test_arm_multiplies_fours_of_bytes() -> None:
    """A tile of 6 rows by 4 vectors, emitted for another architecture: LLVM has it, numba does not ask for it here."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 8), "sums")
    builder = ir.IRBuilder(function.append_basic_block())
    tile.emit(builder, "quads on Arm", 6, 4, 4, *function.args)
    builder.ret_void()
    target = llvm.Target.from_triple("aarch64-linux-gnu").create_target_machine(features="+neon,+dotprod", opt=3)
    parsed = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(target, options)
    passes.getModulePassManager().run(parsed, passes)
    found = Counter(line.split()[0] for line in target.emit_assembly(parsed).splitlines() if line.startswith("\t"))
    assert found["sdot"] in (24, 48), found
    assert found["ld1r"] in (6, 12), found
    assert not {"smull", "smlal", "mul", "mla"} & set(found), found
