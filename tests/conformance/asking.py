"""One runtime asked in a process of its own, natively or emulated: `python -m conformance.asking RUNTIME IN OUT`."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from conformance import nnet, ours
from conformance.building import Case
from conformance.storing import Answer, answers_packed, answers_unpacked, load, packed, save, unpacked
from conformance.truths import EMULATED, TRUTHS
from intsim import TARGETS
from intsim.errors import IntsimError
from intsim.reference import Reference, runtime, tosa
from intsim.reference.ort import instruction_set

ROOT = Path(__file__).parents[2]
TOSA = ROOT / ".venv-tosa" / "bin" / "python"


def answer(name: str, case: Case) -> Answer:
    """The runtime's output of the case, or why there is none."""
    try:
        return runtime(name).network(case.source, 1)(case.x)["y"]
    except IntsimError as error:
        return str(error)


def answers_for(target: str, cases: Sequence[Case], other: str = "") -> tuple[Reference, dict[str, Answer]]:
    """What the target's ground truth is, or the `other` runtime that must agree with it, and its answers by case.

    Raises IntsimError where it cannot be asked here.
    """
    truth = TRUTHS[target]
    if truth.runtime == "tosa":
        return _tosa(target, cases)
    if truth.runtime == "nnet":
        return nnet.answers(cases)
    return asked(other or truth.runtime, cases, truth.instruction_sets)


def _tosa(target: str, cases: Sequence[Case]) -> tuple[Reference, dict[str, Answer]]:
    """TOSA runs the target's own Programs: it has no rule for multipliers and shifts."""
    refused: dict[str, Answer] = {}
    made = {}
    for case in cases:
        try:
            made[case.name] = case, ours.program(case, TARGETS[target])
        except IntsimError as error:
            refused[case.name] = str(error)
    found = tosa.run([(program, ours.inputs(case, program)) for case, program in made.values()], TOSA)
    outputs = zip(made.values(), found.outputs, strict=True)
    answers = {c.name: y if isinstance(y, str) else ours.output(c, program, y) for (c, program), y in outputs}
    return found.reference, refused | answers


def asked(name: str, cases: Sequence[Case], sets: tuple[str, ...] = ()) -> tuple[Reference, dict[str, Answer]]:
    """What the runtime is, and its answers by case, from a process of its own on a CPU that has one of `sets`.

    Raises IntsimError where this machine has no such CPU and cannot emulate one, or the runtime is not installed.
    """
    command, emulated = [sys.executable], ""
    if sets and instruction_set() not in sets:
        chosen = next((one for one in sets if one in EMULATED), None)
        emulator = shutil.which("qemu-x86_64")
        if chosen is None or emulator is None:
            mend = "apt-get install qemu-user" if chosen else "run on one: qemu emulates none"
            raise IntsimError(f"needs a CPU with {' or '.join(sets)}", where=name, mend=mend)
        command, emulated = [emulator, "-cpu", EMULATED[chosen], sys.executable], f"{chosen}, qemu {EMULATED[chosen]}"
    with tempfile.TemporaryDirectory() as folder:
        sent, got = Path(folder) / "cases.npz", Path(folder) / "answers.npz"
        save(sent, {"cases": packed(cases)})
        path = os.pathsep.join([str(ROOT / "tests"), *(entry for entry in sys.path if entry)])
        environment = {**os.environ, "PYTHONPATH": path}
        command += ["-m", "conformance.asking", name, str(sent), str(got)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 2:
            raise IntsimError(done.stderr.strip().splitlines()[-1])
        if done.returncode:
            raise RuntimeError(f"{name} ended with status {done.returncode}: {done.stderr[-2000:]}")
        arrays = load(got)
    reference = msgspec.json.decode(arrays["reference"]["text"].tobytes(), type=Reference)
    if emulated:  # what the emulated process reads of its CPU is this machine's
        reference = replace(reference, instruction_set=emulated)
    return reference, answers_unpacked(arrays["answers"])


def main(name: str, sent: str, got: str) -> int:
    """Writes the answers."""
    try:
        reference = runtime(name).describe()
    except IntsimError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    answers = {case.name: answer(name, case) for case in unpacked(load(Path(sent))["cases"])}
    text = np.frombuffer(msgspec.json.encode(reference), np.uint8)
    save(Path(got), {"reference": {"text": text}, "answers": answers_packed(answers)})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
