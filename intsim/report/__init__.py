"""Results as pages and pictures: matplotlib and jinja2 are imported when something is drawn."""

from intsim.report.examples import examples
from intsim.report.page import check, render
from intsim.report.record import Behind, Counted, Example, Results, Rung, Width, results, searching
from intsim.report.sentences import headlines
from intsim.report.summary import picture
from intsim.report.words import telling

__all__ = [
    "Behind",
    "Counted",
    "Example",
    "Results",
    "Rung",
    "Width",
    "check",
    "examples",
    "headlines",
    "picture",
    "render",
    "results",
    "searching",
    "telling",
]
