"""What the pages show that a command makes: the table of machines, the bench's ratios, the picture of the demo.

`python benchmarks/readme.py` writes the tables between the markers of README.md and docs/speed.md, and docs/demo.svg
where demo/results.json lies (`make demo` puts it there). tests/test_docs.py holds the pages to it.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from intsim import TARGETS, report
from intsim.bench import BEST, Bench, Mean, Row, met
from intsim.bench.records import ORT
from intsim.cli.targets import accumulators, requantization
from intsim.targets import FAMILIES

ROOT = Path(__file__).parents[1]


def machines() -> str:
    """The Markdown table of every machine: its accumulator, its requantization, what it was held against."""
    lines = ["| target | what it is | accumulator | requantization | held against |", "|---|---|---|---|---|"]
    for name, target in TARGETS.items():
        against = f"**verified**: {target.verified_with}" if target.verified_with else target.fidelity
        cells = (
            f"`{name}`",
            target.description,
            "; ".join(accumulators(target)),
            requantization(target.requantize),
            against,
        )
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def families() -> str:
    """The catalogue in short: each family's machines by how sure they are, and what the verified ones are held to."""
    lines = ["| family | verified, bit for bit | from source or RTL | by definition, or assumed |", "|---|---|---|---|"]
    for family, targets in FAMILIES.items():
        cells: dict[str, list[str]] = {"verified": [], "source": [], "other": []}
        for target in targets:
            cells[target.fidelity if target.fidelity in cells else "other"].append(f"`{target.name}`")
        held = sorted({re.split(r"[:(]", t.verified_with)[0].strip() for t in targets if t.verified_with})
        if held:
            cells["verified"].append(f"against {' and '.join(held)}")
        lines.append(f"| {family} | " + " | ".join(", ".join(cell) for cell in cells.values()) + " |")
    return "\n".join(lines)


def results() -> list[tuple[str, Bench]]:
    """What `make bench` has found, by the file of each CPU."""
    found = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    return [(path.name, msgspec.json.decode(path.read_bytes(), type=Bench)) for path in found]


def speed_in_short() -> str:
    """The sections' means against onnxruntime, and against the best of everybody, one table for each CPU."""
    lines = []
    for name, bench in results():
        lines += [f"{_machine(bench)} (`benchmarks/results/{name}`):", ""]
        lines += ["| geometric mean of | threads | against | peer's time / ours | goal |", "|---|---|---|---|---|"]
        means = [mean for mean in bench.means if mean.peer in (ORT, BEST)]
        lines += [f"| {m.section} | {m.threads} | {m.peer} | **{m.ratio:.2f}** | {_goal(m)} |" for m in means]
        lines.append("")
    return "\n".join(lines).rstrip()


def speed() -> str:
    """Every ratio, one table for each CPU."""
    lines = []
    for name, bench in results():
        lines += [f"### {_machine(bench)}", "", f"`benchmarks/results/{name}`", ""]
        lines += ["| work | threads | against | peer's time / ours | quartiles | goal |", "|---|---|---|---|---|---|"]
        for row in bench.rows:
            quartiles = f"{row.low:.2f} to {row.high:.2f}"
            best = " (the best)" if row.best else ""
            cells = (row.work, str(row.threads), row.peer + best, f"**{row.ratio:.3g}**", quartiles, _goal(row))
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", *(f"- {note}" for note in bench.notes), ""]
    return "\n".join(lines).rstrip()


SUITE = ROOT / "tests" / "conformance"


def conformance() -> str:
    """What the conformance suite compared: a line for each target and operator, the kinds of networks together."""
    found = json.loads((SUITE / "results.json").read_text(encoding="utf-8"))
    lines = ["| target | op | runtime | networks | values | mismatches |", "|---|---|---|---|---:|---:|"]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        if row["values"]:
            about = (f"{row['runtime']} {row['version']}", row["kernels"], row["instruction_set"])
            groups.setdefault((row["target"], row["op"], ", ".join(filter(None, about))), []).append(row)
    for (target, op, about), rows in groups.items():
        values, wrong = (sum(row[field] for row in rows) for field in ("values", "mismatches"))
        kinds = ", ".join(row["kind"] for row in rows)
        lines.append(f"| `{target}` | {op} | {about} | {kinds} | {values:,} | {wrong} |")
    values, wrong = (sum(row[field] for row in found["rows"]) for field in ("values", "mismatches"))
    lines.append(f"| **all** | | | | **{values:,}** | **{wrong}** |")
    lines += [f"\nNot run: `{target}`: {why}." for target, why in found["not_run"].items()]
    return "\n".join(lines)


def mutation() -> str:
    """What the suite noticed of changed targets, and what it did not."""
    lines = [
        "| target | changed fields | noticed | proven equal | refused at lowering | out of reach | unnoticed |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    beyond, unnoticed = [], []
    for row in json.loads((SUITE / "mutation.json").read_text(encoding="utf-8")):
        numbers = [row[field] for field in ("mutants", "killed", "equivalent", "refused")]
        cells = " | ".join(map(str, [*numbers, sum(row["unmet"].values()), len(row["survived"])]))
        lines.append(f"| `{row['target']}` | {cells} |")
        beyond += [f"| `{row['target']}` | {count} | {why} |" for why, count in row["unmet"].items()]
        if row["survived"]:
            unnoticed.append(f"Unnoticed of `{row['target']}`: " + ", ".join(f"`{one}`" for one in row["survived"]))
    reasons = ["| out of reach | fields | because |\n|---|---:|---|", *beyond]
    return "\n\n".join(["\n".join(lines), "\n".join(reasons), *unnoticed])


def proofs() -> str:
    """Why a changed field may change nothing: the theorems, and the single proofs."""
    sys.path.append(str(SUITE.parent))  # the suite is no package that is installed
    try:
        from conformance.equivalent import EQUIVALENT
        from conformance.theorems import PROOFS
    finally:
        sys.path.pop()
    lines = [PROOFS.strip(), "", "| target | field | changed to | it is no change, because |", "|---|---|---|---|"]
    for (targets, field, values), why in EQUIVALENT.items():
        names, others = (", ".join(f"`{one}`" for one in text.split("|")) for text in (targets, values))
        lines.append(f"| {names} | `{field}` | {others} | {why} |")
    return "\n".join(lines)


def sweeps() -> str:
    """What a sweep costs beside its engine, how it grows with workers, and what a thousand of them would need."""
    folder = ROOT / "benchmarks" / "results" / "sweep"
    lines = []
    for path in sorted(folder.glob("throughput-*.json")):
        one = json.loads(path.read_text(encoding="utf-8"))
        shared = folder / path.name.removeprefix("throughput-")
        if shared.exists():
            lines += [_sharing(json.loads(shared.read_text(encoding="utf-8")), shared.name), ""]
        lines += [*_workers(one, path.name), "", _thousand(one)]
    return "\n".join(lines)


def _sharing(found: dict[str, Any], name: str) -> str:
    return (
        f"{found['network']}, 5 accumulators, 2 modes, {found['radii']} radii, {found['images']:,} images, one thread "
        f"(`{name}`): the whole takes **{found['whole_to_engine']:.2f}** times what the engine takes for the distinct "
        f"layers (goal {found['goal']:g}); without float's own pass {found['whole_but_float_to_engine']:.2f}. The "
        f"store takes {100 * found['store_to_whole']:.2g} % of it."
    )


def _workers(one: dict[str, Any], name: str) -> list[str]:
    lines = [
        f"{one['machine']['cpu']}, {one['machine']['cores']} cores (`{name}`); {one['images']:,} images, "
        f"{one['ways']['process 1']['cells']:.0f} cells, medians of {one['rounds']} rounds:",
        "",
        "| workers | seconds, all of it | cells a second, once all work | times one worker, by round |",
        "|---|---:|---:|---:|",
    ]
    for way, row in one["ways"].items():
        kind, count = way.split()
        times = _by_round(one["grown"][kind]) if count == "2" else ""
        words = {"process": "processes", "dask": "Dask workers"}[kind]
        lines.append(f"| {words}: {count} | {row['seconds']:.0f} | {row['steady']:.1f} | {times} |")
    slower = _by_round(one["slower"]["process"])
    lines += [
        "",
        f"Two workers share a machine: for the same cells two processes compute {slower} times as long as one.",
    ]
    return lines


def _by_round(ratios: Sequence[float]) -> str:
    return f"**{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"


def _thousand(one: dict[str, Any], workers: int = 1_000, cells: int = 100_000) -> str:
    """The estimate for many workers, from the figures of one."""
    alone, way = one["alone"], one["ways"]["process 1"]
    each = alone["examples"] / one["images"] / way["steady"]  # seconds of one worker for a cell
    tasks = cells / alone["cells_a_task"]
    work, hand = cells * each / workers, tasks / alone["tasks_a_second"]
    most = alone["tasks_a_second"] * alone["cells_a_task"] * each
    traffic = alone["answer_bytes"] + alone["task_bytes"]
    return (
        f"**{cells:,} cells of {alone['examples']:,} images on {workers:,} workers**, if every cell costs what these "
        f"cost: {each:.1f} s of a worker each, {work / 60:.0f} minutes in all. Handing out and writing {tasks:,.0f} "
        f"tasks takes one process {hand:.0f} s, at {alone['tasks_a_second']:.0f} tasks a second with "
        f"{alone['in_flight']:,} under way (measured, without anybody who computes): it becomes the bottleneck beyond "
        f"some {most:,.0f} workers. {traffic / 1e3:.0f} kB a task travel, {tasks * traffic / work / 1e6:.1f} MB a "
        f"second; the store grows to {cells * alone['store_bytes_a_cell'] / 1e9:.1f} GB. Planning takes "
        f"{cells / alone['planned_cells_a_second']:.0f} s before the first task."
    )


def _machine(bench: Bench) -> str:
    facts = bench.machine
    packages = f"numba {facts['numba']}, onnxruntime {facts['onnxruntime']}"
    return f"{facts['cpu']}, {facts['instruction_set']}, {facts['cores']} cores, {packages}"


def _goal(found: Row | Mean) -> str:
    if found.goal is None:
        return ""
    stretch = "" if found.stretch is None else f" / {found.stretch:g}"
    return f"{found.goal:g}{stretch}: {met(found)}"


PAGES = {
    "README.md": {"machines": families, "speed in short": speed_in_short},
    "docs/speed.md": {"speed": speed},
    "docs/sweep.md": {"sweeps": sweeps},
    "docs/targets.md": {"all machines": machines, "conformance": conformance, "mutation": mutation, "proofs": proofs},
}
"""The parts of the pages that are made here, by the name in their markers."""


def made(page: str, part: str) -> str:
    """A part with its markers, as it must stand on the page."""
    return f"<!-- {part}: made by benchmarks/readme.py -->\n{PAGES[page][part]()}\n<!-- end of {part} -->"


def main() -> None:
    """Rewrites the tables and the picture."""
    for page, parts in PAGES.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        for part in parts:
            marked = f"<!-- {part}: made by .*?<!-- end of {part} -->"
            text = re.sub(marked, lambda _, page=page, part=part: made(page, part), text, flags=re.S)
        (ROOT / page).write_text(text, encoding="utf-8")
    results = ROOT / "demo" / "results.json"
    if results.exists():
        (ROOT / "docs" / "demo.svg").write_bytes(report.picture(json.loads(results.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
