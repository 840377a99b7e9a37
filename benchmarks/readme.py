"""What the README shows that a command makes: the table of machines, and the picture of the demo's results.

`python benchmarks/readme.py` writes the table between the README's markers, and docs/demo.svg where demo/results.json
lies (`make demo` puts it there). tests/test_docs.py holds the README to it.
"""

import json
import re
from pathlib import Path

from intsim import TARGETS, report
from intsim.cli.targets import accumulators, requantization

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- machines: made by benchmarks/readme.py -->", "<!-- end of machines -->"


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


def main() -> None:
    """Rewrites the README's table and the picture."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    block = f"{BEGIN}\n{machines()}\n{END}"
    readme.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.S), encoding="utf-8")
    results = ROOT / "demo" / "results.json"
    if results.exists():
        (ROOT / "docs" / "demo.svg").write_bytes(report.picture(json.loads(results.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
