"""Overflow counts: added up over batches, as a table, and as an error where the machine forbids them."""

from collections.abc import Mapping, Sequence

from intsim.cli.console import Out, table
from intsim.errors import IntsimError
from intsim.integers import Overflow
from intsim.program import Dot, Overflows, Program

FIELDS = ("outputs", "of_outputs", "adds", "of_adds", "persistent")


def added(parts: Sequence[Mapping[str, Overflows]]) -> dict[str, Overflows]:
    """The counts of several batches together, by step."""
    steps = list(dict.fromkeys(name for part in parts for name in part))
    return {
        name: Overflows(**{field: sum(getattr(part[name], field) for part in parts) for field in FIELDS})
        for name in steps
    }


def forbidding(program: Program) -> set[str]:
    """The steps whose sums must not overflow at all."""
    found = set()
    for step in program.steps:
        if isinstance(step.compute, Dot):
            mac, bias = step.compute.mac, step.compute.bias_rule
            modes = [level.overflow for level in mac.levels] + [bias.overflow if bias.bits else Overflow.WRAP]
            if mac.product is not None:
                modes.append(mac.product.overflow)
            if Overflow.FORBID in modes:
                found.add(step.name)
    return found


def violations(program: Program, counts: Mapping[str, Overflows]) -> dict[str, Overflows]:
    """The forbidden overflows that happened, by step."""
    forbidden = forbidding(program)
    return {name: count for name, count in counts.items() if name in forbidden and count.outputs}


def refuse(program: Program, counts: Mapping[str, Overflows]) -> None:
    """IntsimError where an overflow that the machine forbids happened."""
    found = violations(program, counts)
    for name, count in found.items():
        raise IntsimError(
            f"{count.outputs} of {count.of_outputs} sums overflow where the machine forbids it, in {len(found)} layers",
            where=name,
            mend="give it a wider accumulator, fewer bits, or leave out --strict",
        )


def show(out: Out, program: Program, counts: Mapping[str, Overflows]) -> None:
    """The table of overflows, one row a step that adds products."""
    forbidden = forbidding(program)
    columns = ("layer", "sums", "overflowed", "share", "adds", "overflowed adds", "persistent", "forbidden")
    rows = [
        (
            name,
            c.of_outputs,
            c.outputs,
            f"{c.outputs / c.of_outputs:.2%}" if c.of_outputs else None,
            c.of_adds,
            c.adds,
            c.persistent,
            name in forbidden,
        )
        for name, c in counts.items()
    ]
    table(out, columns, rows, title="overflows", right=columns[1:-1])
