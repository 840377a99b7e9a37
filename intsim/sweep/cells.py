"""The cells of a plan: who judges which images, each with a digest that says all it depends on."""

import hashlib
from collections.abc import Iterator
from itertools import product

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from intsim import __version__, archive
from intsim.attack.catalogue import Attack, find, pixel_steps
from intsim.attack.losses import OF_VALUES
from intsim.errors import IntsimError
from intsim.evaluate.camera import planned
from intsim.evaluate.records import CLEAN, FLOAT, NULL
from intsim.integers import Overflow, Rounding
from intsim.quantize import options
from intsim.quantize.options import settled
from intsim.sweep import shared
from intsim.sweep.plan import Plan, Skip
from intsim.targets.change import arithmetic


class Cell(Struct, frozen=True, kw_only=True):
    """One judge on one set of images: values of the axes. 0 and "" are the machine's own.

    `target`: a machine's name, FLOAT (the network itself; it has no bits), or NULL. `eps_steps`: steps of 1/255.
    """

    network: str
    target: str
    weight_bits: int = 0
    activation_bits: int = 0
    accumulator: int = 0
    overflow: str = ""
    rounding: str = ""
    attack: str = CLEAN
    eps_steps: float = 0.0
    seed: int = 0


def cells(plan: Plan) -> dict[str, list[Cell]]:
    """The cells of a plan by their digests, several where they come to the same. Raises IntsimError; see `checked`."""
    found: dict[str, list[Cell]] = {}
    for cell in _all(plan):
        found.setdefault(digest(plan, cell), []).append(cell)
    return found


def checked(plan: Plan) -> Plan:
    """The plan, once every name in it is known, its data is read, and every machine takes its quantization.

    Raises IntsimError with the field's path and the mend.
    """
    axes = plan.axes
    for field, kind in (("overflows", Overflow), ("roundings", Rounding)):
        known = [member.value for member in kind]
        for index, name in enumerate(getattr(axes, field)):
            if name not in known and not (field == "roundings" and not name):
                what = f'there is no "{name}"'
                raise IntsimError(what, where=f"axes.{field}[{index}]", mend=f"choose {', '.join(known)}")
    if bool(axes.attacks) != bool(axes.eps):
        raise IntsimError("attacks and eps go together", where="axes", mend="give both, or neither for clean images")
    for index, name in enumerate(axes.attacks):
        _at(f"axes.attacks[{index}]", lambda name=name: _attack(name))
        for place, eps in enumerate(axes.eps):
            _at(f"axes.eps[{place}]", lambda eps=eps, name=name: pixel_steps(eps, find(name).norm))
    for index, name in enumerate(axes.networks):
        _at(f"axes.networks[{index}]", lambda name=name: shared.examples(plan, name))
    _at("calibration", lambda: shared.calibration_images(plan))
    for index, name in enumerate(axes.targets):
        for weights, activations, accumulator, overflow, rounding in _machines(plan):
            cell = Cell(
                network="", target=name, accumulator=accumulator, overflow=overflow, rounding=rounding,
                weight_bits=weights, activation_bits=activations,
            )  # fmt: skip
            if not any(_skipped(skip, cell, "") for skip in plan.skip):
                _at(f"axes.targets[{index}]", lambda cell=cell: _settled(plan, cell))
    if not cells(plan):
        raise IntsimError("leaves no cell", where="skip", mend="leave out less")
    return plan


def digest(plan: Plan, cell: Cell) -> str:
    """SHA-256 of all that the cell's outcome depends on: equal for equal work, whatever it is called in its plan.

    That is this version, the network, the data, the attack with its radius and (where anything is random) its seed,
    and for a machine the calibration's data, the options, what the machine requires of them and its arithmetic.
    """
    parts: list[object] = [__version__, archive.digest(shared.graph(plan, cell.network)), shared.data_digest(plan)]
    parts += [*images_parts(cell), FLOAT if cell.target == FLOAT else "", plan.logits, plan.answers]
    if cell.target != FLOAT:
        parts += _judge_parts(plan, cell)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _judge_parts(plan: Plan, cell: Cell) -> list[object]:
    """What the integers of the cell's judge depend on beside the network."""
    machine = shared.machine(cell)
    options, scheme = archive.digest(shared.asked(plan, cell)), archive.digest(machine.scheme)
    last: list[object] = [NULL, cell.seed] if cell.target == NULL else [archive.digest(arithmetic(machine))]
    return [shared.calibration_digest(plan), options, scheme, *last]


def images_parts(cell: Cell) -> list[object]:
    """What the cell's images depend on beside the network, the data, and the chip that an attack knows."""
    if cell.attack == CLEAN:
        return [CLEAN]
    attack = find(cell.attack)
    return [archive.digest(replace(attack, name="")), cell.eps_steps, cell.seed if is_random(attack) else 0]


def images_digest(plan: Plan, cell: Cell) -> str:
    """The name that a cell's images have in the cache: SHA-256 of all that they depend on."""
    parts: list[object] = [__version__, archive.digest(shared.graph(plan, cell.network)), shared.data_digest(plan)]
    parts += [*images_parts(cell), *(_judge_parts(plan, cell) if knows_chip(cell.attack) else ())]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def is_random(attack: Attack) -> bool:
    """Whether the attack's images depend on the seed."""
    return attack.start != "clean" or attack.search != "gradient"


def knows_chip(attack: str) -> bool:
    """Whether the attack of that name crafts images on each cell's own chip, which alone judges them."""
    return attack != CLEAN and find(attack).knows == "chip"


# ---- the product of the axes --------------------------------------------------------------------------------------


def _all(plan: Plan) -> Iterator[Cell]:
    axes = plan.axes
    eps_of = {text: {name: pixel_steps(text, find(name).norm) for name in axes.attacks} for text in axes.eps}
    for network, seed in product(axes.networks, axes.seeds):
        sets = [(CLEAN, 0.0, "")]
        for text, steps in eps_of.items():
            made = planned(
                [replace(find(name), name=name) for name in axes.attacks], {name: [at] for name, at in steps.items()}
            )
            sets += [(attack.name, at, str(text)) for attack, at in made]
        for (attack, at, text), judge in product(sets, _judges(plan, network)):
            cell = replace(judge, attack=attack, eps_steps=at, seed=seed)
            if knows_chip(attack) and judge.target in (FLOAT, NULL):
                continue
            if not any(_skipped(skip, cell, text) for skip in plan.skip):
                yield cell


def _judges(plan: Plan, network: str) -> Iterator[Cell]:
    axes = plan.axes
    yield Cell(network=network, target=FLOAT)
    if plan.null:
        for weights, activations in product(axes.weight_bits, axes.activation_bits):
            yield Cell(network=network, target=NULL, weight_bits=weights, activation_bits=activations)
    for name, (weights, activations, accumulator, overflow, rounding) in product(axes.targets, _machines(plan)):
        yield Cell(
            network=network, target=name, weight_bits=weights, activation_bits=activations,
            accumulator=accumulator, overflow=overflow, rounding=rounding,
        )  # fmt: skip


def _machines(plan: Plan) -> list[tuple[int, int, int, str, str]]:
    """(weight bits, activation bits, accumulator, overflow, rounding): one's own accumulator overflows in one way."""
    axes, found = plan.axes, dict[tuple[int, int, int, str, str], None]()
    for w, a, bits, overflow, rounding in product(
        axes.weight_bits, axes.activation_bits, axes.accumulators, axes.overflows, axes.roundings
    ):
        found[w, a, bits, overflow if bits else "", rounding] = None
    return list(found)


def _skipped(skip: Skip, cell: Cell, eps: str) -> bool:
    """Whether the cell is one to leave out; `eps`: as the plan spells it."""
    values = {
        "networks": cell.network,
        "targets": cell.target,
        "weight_bits": cell.weight_bits,
        "activation_bits": cell.activation_bits,
        "accumulators": cell.accumulator,
        "overflows": cell.overflow,
        "roundings": cell.rounding,
        "attacks": cell.attack,
        "eps": eps,
        "seeds": cell.seed,
    }
    named = {axis: getattr(skip, axis) for axis in values if getattr(skip, axis) is not None}
    return all(values[axis] in (map(str, wanted) if axis == "eps" else wanted) for axis, wanted in named.items())


# ---- checks -------------------------------------------------------------------------------------------------------


def _at(where: str, check: object) -> None:
    """check(), whose error says where in the plan it is."""
    try:
        check()  # type: ignore[operator]
    except IntsimError as error:
        raise IntsimError(error.what, where=f"{where}: {error.where}".rstrip(": "), mend=error.mend) from None


def _attack(name: str) -> Attack:
    attack = find(name)
    if attack.function or attack.towards == "given":
        raise IntsimError("is no attack of a catalogue", where=name, mend="choose one, or see intsim attack")
    if attack.loss in OF_VALUES:
        raise IntsimError("is of values, a sweep counts classes", where=name, mend="see intsim attack --right")
    return attack


def _settled(plan: Plan, cell: Cell) -> None:
    settled(options(shared.asked(plan, cell)), shared.machine(cell).scheme)
