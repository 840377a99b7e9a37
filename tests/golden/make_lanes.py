"""Asks LiteRT's three resolvers for the integers in lanes.npz.xz; run as make_litert.py is, with tflite too."""

import sys
from importlib.metadata import version

import numpy as np

from golden.files import keep
from golden.lanes import lanes, older_arrays, older_average
from golden.layers import packed
from golden.make_litert import RESOLVERS, ask
from intsim.tflite_io import tflite_model


def main() -> None:
    kept: dict[str, np.ndarray] = {"versions": np.array(f"ai-edge-litert {version('ai-edge-litert')}")}
    asked = [(one.name, one.source, one.x, packed(one)) for one in lanes()]
    arrays = older_arrays()
    asked += [(f"average {k}x{k}", older_average(arrays, k), (arrays["x0"],), arrays) for k in (2, 3, 4)]
    for name, source, x, parts in asked:
        model = tflite_model(source, batch=len(x[0]))
        answers = {runtime: ask(model, x, resolver) for runtime, resolver in RESOLVERS.items()}
        for key, array in (parts | {f"answer {k}": v for k, v in answers.items()}).items():
            kept[f"{name}/{key}"] = array
        differ = {k: int((v != answers["litert_ref"]).sum()) for k, v in answers.items()}
        sys.stdout.write(f"{name}: {answers['litert_ref'].size} values, differing from litert_ref: {differ}\n")
    keep("lanes", kept)


if __name__ == "__main__":
    main()
