"""What the conformance suite held to a real runtime's integers: the machines, the runtimes, the operators.

Made of tests/conformance/results.json, and held to it by tests/test_conformance.py: an operator stands here only if
all its integers were compared and none differed.
"""

from msgspec.structs import replace

from intsim.target import Target

VERIFIED: dict[str, tuple[str, str]] = {
    "litert_ref": (
        "ai-edge-litert 2.3.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; hard swish; leaky relu; prelu; softmax; resize",
    ),
    "litert_ruy_x86": (
        "ai-edge-litert 2.3.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; hard swish; elu; leaky relu; prelu; softmax; resize",
    ),
    "litert_ruy_portable": (
        "ai-edge-litert 2.3.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; hard swish; elu; leaky relu; prelu; softmax; resize",
    ),
    "litert_xnnpack": (
        "ai-edge-litert 2.3.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; hard swish; elu; leaky relu; prelu; softmax; resize",
    ),
    "litert_16x8": (
        "ai-edge-litert 2.3.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; leaky relu; prelu; softmax; resize",
    ),
    "litert_16x8_builtin": (
        "ai-edge-litert 2.3.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; leaky relu; prelu; softmax; resize",
    ),
    "tflm": (
        "tflite-micro 0.dev20261023182759",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; hard swish; elu; leaky relu; prelu; softmax; resize",
    ),
    "tflm_16x8": (
        "tflite-micro 0.dev20261023182759",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; "
        "max pool; concat; pad; requantize; logistic; tanh; leaky relu; prelu; softmax; resize",
    ),
    "tosa_single": (
        "tosa-tools 2026.8.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; max pool; "
        "concat; pad; requantize",
    ),
    "tosa_double": (
        "tosa-tools 2026.8.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; max pool; "
        "concat; pad; requantize",
    ),
    "tosa_16bit": (
        "tosa-tools 2026.8.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; max pool; "
        "concat; pad; requantize",
    ),
    "finn": (
        "qonnx 1.0.0",
        "conv; depthwise; fully connected; transposed conv; add; sub; mul; max, min; average pool; mean; max pool; "
        "concat; pad; requantize",
    ),
    "hls4ml": (
        "hls4ml 1.3.0",
        "fully connected; add; sub; mul; average pool; mean; max pool; logistic; tanh",
    ),
    "ort_x86_avx2": (
        "onnxruntime 1.32.0",
        "conv; depthwise; fully connected; add; sub; mul; max, min; average pool; mean; max pool; concat; pad; "
        "requantize; logistic; tanh; hard swish; leaky relu; prelu; softmax; resize",
    ),
    "ort_x86_sse41": (
        "onnxruntime 1.32.0",
        "conv; depthwise; fully connected; add; sub; mul; max, min; average pool; mean; max pool; concat; pad; "
        "requantize; logistic; tanh; hard swish; leaky relu; prelu; softmax; resize",
    ),
}
"""Of each machine that is verified the runtime with its version, and the operators, as the suite calls them."""


def verified(target: Target) -> Target:
    """The machine as it stands in the catalogue: verified where the suite held it to a runtime."""
    if target.name not in VERIFIED:
        return target
    return replace(target, fidelity="verified", verified_with=": ".join(VERIFIED[target.name]))
