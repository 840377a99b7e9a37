"""What the README and the docs say is true now."""

import ast
import re
from pathlib import Path

import pytest
import readme

from intsim.arithmetic import rounded
from intsim.cli import group
from intsim.integers import Rounding

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "models/README.md"]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "part"),
    [(page, part) for page, parts in readme.PAGES.items() for part in parts],
)
def test_what_a_command_makes_is_current(page: str, part: str) -> None:
    assert readme.made(page, part) in text(ROOT / page), "run: python benchmarks/readme.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", text(page)):
        assert link.startswith("https://") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_that_is_named_exists(page: Path) -> None:
    for verb in re.findall(r"^ +\$? ?intsim ([a-z]+)", text(page), flags=re.M):
        assert verb in group.commands, verb


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    for name in re.findall(r"`((?:intsim|tests|kernels|models|benchmarks|docs)/[\w./]+)`", text(page)):
        assert (ROOT / name).exists(), name


def test_the_readme_names_a_cause_in_the_words_of_its_page() -> None:
    quoted = [line.strip() for line in text(ROOT / "README.md").splitlines() if "explained by" in line]
    assert quoted
    assert all(line in text(ROOT / "docs/compare.md") for line in quoted)


def test_the_table_of_roundings_is_the_arithmetic() -> None:
    rows = dict(re.findall(r"^\| ([A-Z_]+) \|[^|]*((?:\| -?\d )+)\|$", text(ROOT / "docs/arithmetic.md"), flags=re.M))
    assert set(rows) == {mode.name for mode in Rounding}
    for name, cells in rows.items():
        expected = [rounded(n, 4, Rounding[name]) for n in (10, -10, 9, -9)]
        assert [int(cell) for cell in cells.split("|")[1:]] == expected, name


def test_every_equation_that_code_cites_stands_in_the_docs() -> None:
    known = {int(n) for n in re.findall(r"^\*\*\((\d+)\)\*\*", text(ROOT / "docs/arithmetic.md"), flags=re.M)}
    assert known == set(range(1, 41))
    cited = set()
    for path in (*(ROOT / "intsim" / "arithmetic").glob("*.py"), *(ROOT / "intsim" / "ops").glob("*.py")):
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.FunctionDef):
                cited |= {int(n) for n in re.findall(r"\((\d+)\)", ast.get_docstring(node) or "")}
    assert cited
    assert cited <= known
