"""What the tensors are called that the network does not have: copies for another machine, and what one node makes."""

from collections.abc import Container


def copied(tensor: str, machine: str, network: Container[str]) -> str:
    """TENSOR@MACHINE: a tensor of the network in another machine's integers; a name that the network does not have."""
    return _apart(f"{tensor}@{machine}", network)


def between(name: str, kind: str, network: Container[str]) -> str:
    """NAME#KIND: between the steps of one node; a name that the network does not have."""
    return _apart(f"{name}#{kind}", network)


def network_name(tensor: str, network: Container[str]) -> str | None:
    """What the network calls a Program's tensor: its own name, of a copy that of the tensor copied, else None."""
    if tensor in network:
        return tensor
    original, _, _ = tensor.rpartition("@")
    return original if original in network and "#" not in tensor[len(original) :] else None


def _apart(name: str, network: Container[str]) -> str:
    while name in network:
        name += "_"
    return name
