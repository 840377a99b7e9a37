"""Asks LiteRT's three resolvers and TFLite Micro what a .tflite gives.

What uses it runs by hand, in an environment of its own: pip install ai-edge-litert==2.3.0 tflite-micro flatbuffers
msgspec tomli-w, then `PYTHONPATH=.:tests python tests/golden/make_moves.py` on an x86 machine with AVX2.
"""

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro import runtime as micro

RESOLVERS = {
    "litert_ref": "BUILTIN_REF",
    "litert_ruy_x86": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "litert_xnnpack": "AUTO",
}


def ask(model: bytes, x: tuple[np.ndarray, ...], resolver: str) -> np.ndarray:
    """One of LiteRT's resolvers."""
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=getattr(OpResolverType, resolver)
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), x, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def ask_micro(model: bytes, x: tuple[np.ndarray, ...]) -> np.ndarray:
    """TFLite Micro."""
    interpreter = micro.Interpreter.from_bytes(model, arena_size=4 << 20)
    for index, value in enumerate(x):
        interpreter.set_input(value, index)
    interpreter.invoke()
    return np.array(interpreter.get_output(0))
