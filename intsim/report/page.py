"""One page from the results: self-contained, every number of it from the record."""

from collections.abc import Mapping
from typing import Any

from intsim.evaluate.records import Evaluation
from intsim.report import accumulators, bounds, chart, figures, sentences, tables, words
from intsim.report.record import Results, results, searching
from intsim.report.templates import template


def render(found: Results | Evaluation | Mapping[str, Any]) -> str:
    """The page as HTML, a function of the results alone: a record, or what was read from a results.json.

    Sections whose part of the record is empty are left out. Raises IntsimError for what is no results record, and
    where matplotlib or jinja2 is not installed.
    """
    record = results(found)
    attacks = searching(record)
    return template("page.html").render(
        found=record,
        verdict=bounds.sentence(record),
        brackets=bounds.brackets(record),
        bracket_table=bounds.bracket_table(record),
        steps=bounds.steps(record),
        step_table=bounds.step_table(record),
        gates=bounds.gate_table(record),
        amplified=bounds.amplified(record),
        matrices=bounds.matrices(record),
        knows=any(attack.knows == "chip" for attack in record.attacks),
        again=_again(record),
        headlines=sentences.headlines(record),
        first_attack=words.attack_name(record, attacks[0]) if attacks else "",
        strengths=figures.strengths(record),
        differences=figures.differences(record),
        machines=figures.machines(record),
        tables=tables.transfer(record),
        ladder=accumulators.ladder(record),
        heat=accumulators.heat(record),
        overflows=accumulators.overflows(record),
        counts=tables.counts(record),
        gallery=tables.shown(record),
        rule=words.RULE,
        everything=tables.everything(record),
        made=_made(record),
    )


def check() -> None:
    """Nothing, if pages can be made. Raises IntsimError where matplotlib or jinja2 is not installed."""
    with chart.figure(100, 100):
        template("page.html")


def _again(record: Results) -> str:
    """What stands below every figure: the command that draws it again, and the digest of the images."""
    return f"{record.command or 'intsim.report.render'} · images {record.data[:12]}"


def _made(record: Results) -> list[tuple[str, str]]:
    """(name, value) of what is needed to do it again."""
    said = [("command", record.command)] if record.command else []
    said += [("seed", str(record.seed)), ("images and labels, SHA-256", record.data)]
    said += [(words.attack_name(record, attack.name), attack.described) for attack in record.attacks]
    said += [(f"{name}, SHA-256", digest) for name, digest in record.digests.items()]
    said += [("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()))]
    return said
