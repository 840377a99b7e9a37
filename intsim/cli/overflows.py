"""Overflow counts: added up over batches, as a table, and as an error where an accumulator forbids them."""

from collections.abc import Mapping, Sequence

from intsim.cli.console import Out, line, table
from intsim.errors import IntsimError
from intsim.integers import Overflow
from intsim.program import Dot, MatMul, Overflows, Program

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
        if isinstance(step.compute, Dot | MatMul):
            mac, bias = step.compute.mac, step.compute.bias_rule
            modes = [level.overflow for level in mac.levels] + [bias.overflow if bias.bits else Overflow.WRAP]
            modes += [to.overflow for to in (mac.product, mac.write_back) if to is not None]
            if Overflow.FORBID in modes:
                found.add(step.name)
    return found


def violations(program: Program, counts: Mapping[str, Overflows]) -> dict[str, Overflows]:
    """The overflows, of any of its accumulators, that happened in each step one of whose accumulators forbids them."""
    forbidden = forbidding(program)
    return {name: count for name, count in counts.items() if name in forbidden and count.outputs}


def said(count: Overflows) -> str:
    """What is wrong with the counts of a step that is among the `violations`."""
    return f"{count.outputs} of {count.of_outputs} sums overflow, in a step whose accumulator forbids it"


def refuse(program: Program, counts: Mapping[str, Overflows]) -> None:
    """IntsimError where sums overflowed in a step whose accumulator forbids it."""
    found = violations(program, counts)
    for name, count in found.items():
        raise IntsimError(
            said(count) + (f", as in {len(found) - 1} more" if len(found) > 1 else ""),
            where=name,
            mend="give it a wider accumulator, fewer bits, or leave out --strict",
        )


def show(out: Out, program: Program, counts: Mapping[str, Overflows]) -> None:
    """The table of overflows, one row a step that adds products."""
    forbidden = forbidding(program)
    several = len(program.targets) > 1
    machines = {step.name: step.target for step in program.steps}
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
    if not several:
        table(out, columns, rows, title="overflows", right=columns[1:-1])
        return
    mixed = [(row[0], machines[row[0]], *row[1:]) for row in rows]
    table(out, ("layer", "runs on", *columns[1:]), mixed, title="overflows", right=columns[1:-1])
    for machine, total in by_machine(program, counts).items():
        line(out, f"{machine}: {total.outputs} of {total.of_outputs} sums overflow")


def by_machine(program: Program, counts: Mapping[str, Overflows]) -> dict[str, Overflows]:
    """The counts of all steps that run on the same machine together."""
    machines = {step.name: step.target for step in program.steps}
    parts: dict[str, list[Overflows]] = {}
    for name, count in counts.items():
        parts.setdefault(machines[name], []).append(count)
    return {machine: added([{machine: count} for count in found])[machine] for machine, found in parts.items()}
