"""The TOSA reference model on Programs of a step or a few, as TOSA's operators, in a process of its own.

TOSA has multipliers, shifts and zero points, no scales: those are the Program's own, chosen by the target's rule. What
is compared is what the specification says of the sums, the averages and the roundings.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.program import Program, inside, outside
from intsim.reference import Reference, tosa_graph

PROCESS = Path(__file__).with_name("tosa_process.py")


class Answers(Struct, frozen=True, kw_only=True, eq=False):
    """What the model is, and each graph's output `[n, c, ...]`, or in a few words why there is none."""

    reference: Reference
    outputs: tuple[np.ndarray | str, ...]


def run(programs: Sequence[tuple[Program, Mapping[str, np.ndarray]]], python: Path) -> Answers:
    """Each Program on its inputs, integers `[n, c, ...]` of the machine's own types; the last step's output.

    `python`: of the environment that has tosa-tools. Raises IntsimError where it is not there.
    """
    if not python.exists():
        raise IntsimError("is not installed", where="tosa-tools", mend="make conformance makes .venv-tosa")
    graphs: list[tosa_graph.Graph] = []
    arrays: dict[str, np.ndarray] = {}
    outputs = [""] * len(programs)
    for number, (program, x) in enumerate(programs):
        try:
            graph, constants = tosa_graph.graph(program, {name: inside(q) for name, q in x.items()})
        except IntsimError as reason:
            outputs[number] = str(reason)
            continue
        graphs.append({**graph, "number": number})
        arrays |= {f"{number}/{name}": value for name, value in constants.items()}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "graphs.json").write_text(json.dumps(graphs))
        np.savez(Path(folder) / "arrays.npz", **arrays)  # type: ignore[arg-type]
        command = [str(python), str(PROCESS), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise IntsimError(f"ended with status {done.returncode} ({done.stderr[-300:]})", where="tosa-tools")
        said = json.loads((Path(folder) / "said.json").read_text())
        with np.load(Path(folder) / "outputs.npz") as found:
            shapes = {str(g["number"]): g["shape"] for g in graphs}
            given = {key: outside(found[key].reshape(shapes[key])) for key in found.files}
    reference = Reference(name="TOSA reference model", version=said["version"])
    every = [given.get(str(n), said["wrong"].get(str(n), why)) for n, why in enumerate(outputs)]
    return Answers(reference=reference, outputs=tuple(every))
