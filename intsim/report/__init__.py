"""Results as pages and pictures: matplotlib and jinja2 are imported when something is drawn."""

from intsim.report.page import render
from intsim.report.record import Counted, Example, Results, Rung, Width, results
from intsim.report.summary import picture

__all__ = ["Counted", "Example", "Results", "Rung", "Width", "picture", "render", "results"]
