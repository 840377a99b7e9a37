"""What the pages show that a command makes: the table of machines, the bench's ratios, the picture of the demo.

`python benchmarks/readme.py` writes the tables between the markers of README.md and docs/speed.md, and docs/demo.svg
where demo/results.json lies (`make demo` puts it there). tests/test_docs.py holds the pages to it.
"""

import json
import re
from pathlib import Path

import msgspec

from intsim import TARGETS, report
from intsim.bench import BEST, Bench, Mean, Row, met
from intsim.bench.records import ORT
from intsim.cli.targets import accumulators, requantization

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
    "README.md": {"machines": machines, "speed in short": speed_in_short},
    "docs/speed.md": {"speed": speed},
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
