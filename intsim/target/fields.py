"""What the fields of a machine may hold."""


def within(field: str, value: int, low: int, high: int) -> None:
    """ValueError, which msgspec tells as a bad field, unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{field} is {low} to {high}, not {value}")
