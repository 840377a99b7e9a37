"""Attacks against targets: the same attacked images judged by float, by its null, and by every machine."""

from intsim.evaluate.records import Curve, Evaluation, Images, Judge, Row
from intsim.evaluate.whole import Prepared, concluded, evaluate, evaluated, prepared

__all__ = [
    "Curve",
    "Evaluation",
    "Images",
    "Judge",
    "Prepared",
    "Row",
    "concluded",
    "evaluate",
    "evaluated",
    "prepared",
]
