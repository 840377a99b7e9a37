"""Fields of a machine that no case can reach: what its runtime does not have, and what is therefore not claimed."""

UNMET: dict[tuple[str, str], str] = {}
"""(target, how the field's path begins) to the reason."""
