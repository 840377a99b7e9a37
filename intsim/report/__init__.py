"""Results as pages and pictures: matplotlib and jinja2 are imported when something is drawn."""

from intsim.report.examples import examples
from intsim.report.outcomes import outcomes
from intsim.report.page import check, render
from intsim.report.record import Accumulator, Amplified, Behind, Counted, Example, Results, Width, results, searching
from intsim.report.sentences import headlines
from intsim.report.summary import picture
from intsim.report.words import telling

__all__ = [
    "Accumulator",
    "Amplified",
    "Behind",
    "Counted",
    "Example",
    "Results",
    "Width",
    "check",
    "examples",
    "headlines",
    "outcomes",
    "picture",
    "render",
    "results",
    "searching",
    "telling",
]
