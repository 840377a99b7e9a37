"""Asks onnxruntime for the golden integers in ort_x86_avx2.npz: unsigned activations, signed weights.

Run by hand on an x86 CPU with AVX2 and without VNNI: `PYTHONPATH=.:tests:kernels python tests/golden/make_ort.py`.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from test_ort_conformance import LAYERS, case

from intsim.onnx_io import qoperator_model
from intsim.reference import ort


def main() -> None:
    """Writes each layer as an ONNX file, its inputs and onnxruntime's output."""
    assert ort.host_profile() == "ort_x86_avx2"
    arrays = {"version": np.array(onnxruntime.__version__)}
    for layer in LAYERS:
        network, feeds, output = case(layer, "u8", "s8")
        model = qoperator_model(network, io="integer").SerializeToString(deterministic=True)
        arrays[f"{layer}:model"] = np.frombuffer(model, np.uint8)
        arrays |= {f"{layer}:{name}": value for name, value in feeds.items()}
        arrays[f"{layer}:output"] = output
    np.savez_compressed(Path(__file__).with_name("ort_x86_avx2.npz"), **arrays)


if __name__ == "__main__":
    main()
