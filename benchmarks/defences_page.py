"""docs/defences.md, written from the record of benchmarks/defences.py."""

import textwrap
from collections.abc import Iterator

import numpy as np
from defences import CHIPS, COLUMNS, COMPARED, EPS, FROM_PLAIN, PLAIN, SQUARE, Found, compared, picked, targets, worst

from intsim.evaluate.records import CLEAN, FLOAT
from intsim.statistics import Paired, holm, wilson

FEW = ("cnn_w4", "cnn_w3", "cnn_w2")

PAGE = """\
# Defence and quantization

Is a network safer because it runs in integers, or because it was trained to be? `benchmarks/defences.py` attacks the
networks that ship for this question, on the first {n:,} embedded test images, at {eps}/255 (L-inf):

- `cnn`: plain training; quantized to 8 bits afterwards
- `cnn_adv`: trained on images that 7 steps of PGD at 8/255 make of the training set; quantized likewise
- `cnn_w4`, `cnn_w3`, `cnn_w2`: weights of 4, 3 and 2 bits (the last: -1, 0, 1) while they train, activations of 8 bits
  calibrated afterwards. The engine runs the very codes that were trained; their float is what the codes stand for.

Right, %. Made on a float network, its own (`fgsm`; `pgd`: 10 steps; `pgd40`) or the plain one: on a chip these are
transfers. Made on the chip itself: straight through it (`ste_pgd`: 40 steps, the chip's own integers forward, the float
gradient backward), or by asking it {questions} times (`square_chip`). *Robust at most*: right when clean and under all
that was judged up to this radius, sets made on the other chips too, image by image, with the 95 % Wilson interval.

| network | runs on | clean | fgsm | pgd | pgd40 | pgd, made on plain | straight through | Square | robust at most |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|
{table}

Transfer is an upper bound, and a loose one: it says what is left by an attacker who never saw the chip. *Robust at
most* is a tighter one, and no more: nothing here proves that no stronger attack exists. Lower bounds are what
certificates are for.

## What it says

{reading}

## What each change does

The same {n:,} images, image by image: gained and lost, the difference with its Newcombe interval, and exact McNemar's
p, adjusted by Holm over this table, whose lines were fixed before anything was judged. "All attacks" is *robust at
most*. One training run each: another seed gives another network, which these intervals do not cover.

| comparison | gained | lost | points [95 %] | p (Holm) |
|---|---:|---:|---:|---:|
{comparisons}

## Gates

{gates}

Record: `benchmarks/results/defences/fashion.json`, which of the images each judge had right on every set. Made by
`python benchmarks/defences.py`; the networks by `make train` ([recipes](../models/README.md)).
"""


def page(found: dict[str, Found]) -> str:
    """docs/defences.md."""
    n = next(iter(found.values()))["n"]
    return PAGE.format(
        n=n,
        eps=EPS,
        questions=SQUARE.steps,
        table="\n".join(line for name in CHIPS if name in found for line in table(name, found[name])),
        reading="\n".join(reading(found)),
        comparisons="\n".join(comparisons(found)),
        gates="\n".join(failures(found)),
    )


def table(name: str, one: Found) -> Iterator[str]:
    """The lines of one network."""
    for target in targets(name):
        clean = picked(one, target, CLEAN, FLOAT, 0)
        assert clean is not None
        marks = [picked(one, target, attack, on) for attack, on in COLUMNS]
        cells = ["" if mark is None else percent(mark) for mark in (clean, *marks)]
        upper = wilson(int(worst(one, target).sum()), one["n"])
        bound = f"{100 * upper.value:.1f} [{100 * upper.low:.1f}, {100 * upper.high:.1f}]"
        yield f"| {name} | {target} | {' | '.join(cells)} | {bound} |"


def percent(mark: np.ndarray) -> str:
    """The share of bool[n], in %."""
    return f"{100 * float(mark.mean()):.1f}"


def comparisons(found: dict[str, Found]) -> Iterator[str]:
    """The lines of the table of pairs."""
    pairs = list(compared(found))
    for (words, pair), p in zip(pairs, holm([pair.p for _, pair in pairs]), strict=True):
        yield f"| {words} | {pair.gained} | {pair.lost} | {points(pair)} | {p:.2g} |"


def points(pair: Paired) -> str:
    """The difference and its interval."""
    return f"{100 * pair.difference:+.1f} [{100 * pair.low:+.1f}, {100 * pair.high:+.1f}]"


def failures(found: dict[str, Found]) -> Iterator[str]:
    """The gates that failed."""
    failed = [(name, gate) for name, one in found.items() for gate in one["gates"]]
    if not failed:
        yield "None of the checks of [gates.md](gates.md) that could be made failed."
    for name, gate in failed:
        masked = " (a sign of masked gradients)" if gate["masking"] else ""
        said = f"- {name} on {gate['target']}, {gate['gate']}{masked}: {gate['said']}"
        yield textwrap.fill(said, 118, subsequent_indent="  ", break_on_hyphens=False)


def reading(found: dict[str, Found]) -> Iterator[str]:
    """What the numbers say, in sentences that follow from them."""
    for said in sentences(found):
        yield textwrap.fill(f"- {said}", 118, subsequent_indent="  ", break_on_hyphens=False)


def sentences(found: dict[str, Found]) -> Iterator[str]:
    """The sentences."""
    least = {name: percent(worst(one, COMPARED)) for name, one in found.items()}
    if "cnn_adv" in found:
        defended, plain = (percent(worst(found[name], FLOAT)) for name in ("cnn_adv", PLAIN))
        yield (
            f"Training against attacks: in 8 bits on {COMPARED}, {least['cnn_adv']} % of the images are right whatever "
            f"was tried, of the plain network {least[PLAIN]} %; in float {defended} % and {plain} %."
        )
    for name in [name for name in FEW if name in found]:
        made = ((FROM_PLAIN, FLOAT), ("pgd", FLOAT), ("ste_pgd", "self"))
        marks = [picked(found[name], COMPARED, attack, on) for attack, on in made]
        from_plain, own, through = (percent(mark) for mark in marks if mark is not None)
        yield (
            f"{name} has {from_plain} % of the images right that were made on the plain network, {own} % of those made "
            f"on its own float, {through} % of those made straight through it, and {least[name]} % whichever there is. "
            f"The first number alone would be read as robustness."
        )
