"""Fields of a machine that no case can reach: what its runtime does not have, and what is therefore not claimed."""

from conformance import unmet_ort_tosa, unmet_tflite, unmet_xnnpack_ruy

UNMET: dict[tuple[str, str], str] = {
    **unmet_tflite.UNMET,
    **unmet_xnnpack_ruy.UNMET,
    **unmet_ort_tosa.UNMET,
}
"""(target, how the field's path begins) to the reason."""
