"""Why no case meets some fields of LiteRT's machines: what no network that the suite asks can reach."""

_BOTH = ("litert_xnnpack", "litert_ruy_x86", "litert_ruy_portable")
UNMET: dict[tuple[str, str], str] = {
    (name, prefix): reason
    for name in _BOTH
    for prefix, reason in {
        "conversions": (
            "moves between types: a file of the suite has tensors of one sign and 8 bits; tests/test_moves.py holds "
            "these rules to the runtimes"
        ),
    }.items()
} | {
    ("litert_xnnpack", "resize.linear"): (
        "up to 48 outputs of 23 inputs an axis, a place in float32 differs from the exact one only where both "
        "interpolate to the same neighbour; a fraction of 11 bits ties from some 2,000 outputs an axis on"
    ),
}
"""(target, how the path of a field begins) to the reason."""
