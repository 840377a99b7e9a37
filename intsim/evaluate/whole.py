"""The whole evaluation: a model, machines, attacks and data in; rows, curves and a verdict out."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from intsim import tasks
from intsim.attack.catalogue import Attack, find, pixel_steps
from intsim.attack.craft import BATCH
from intsim.attack.twin import twin
from intsim.errors import IntsimError
from intsim.evaluate.camera import Strengths, attacked, digest, on_grid
from intsim.evaluate.judged import judged
from intsim.evaluate.judges import Run, float_judge, null_judge, program_judge
from intsim.evaluate.null import restored
from intsim.evaluate.records import Evaluation, Images, Judge, Row
from intsim.evaluate.verdict import curves, verdict
from intsim.graph import Graph, Pixels
from intsim.program import Program
from intsim.quantized import QuantizedGraph
from intsim.target import Target
from intsim.tasks import Data, Right, top1

PACKAGES = ("intsim", "numpy", "scipy", "torch")
