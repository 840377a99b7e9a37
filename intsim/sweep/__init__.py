"""Grids of runs: a plan in TOML, its cells computed once each, in a store that survives whatever happens."""

from intsim.sweep.evaluations import evaluations
from intsim.sweep.plan import Plan, read
from intsim.sweep.running import Outcome, sweep

__all__ = ["Outcome", "Plan", "evaluations", "read", "sweep"]
