"""What `intsim inspect` says about accumulators: bits by proof, as observed, by L1 norm, and the verdict."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from intsim.cli import sources
from intsim.cli.console import Out, compiling, line, progress, table
from intsim.cli.targets import accumulator
from intsim.program import Dot, Program

if TYPE_CHECKING:
    from intsim.advice import Advice, Layer

LIMIT = 64
"""Images of each set on which sums are observed, unless --limit says otherwise."""


def image_sets(
    program: Program, calibration: str | None, images: str | None, attacked: str | None, limit: int
) -> dict[str, np.ndarray]:
    """The images to observe sums on, by what the option is called."""
    found: dict[str, np.ndarray] = {}
    if (x := sources.calibration_images(calibration)) is not None:
        found["calibration"] = x[:limit]
    for name, text in (("input", images), ("attacked", attacked)):
        if text is not None:
            found[name] = sources.checked(sources.data(text, limit=limit), program).x
    return found


def show(program: Program, sets: Mapping[str, np.ndarray], out: Out) -> dict[str, Any]:
    """The tables, and the numbers for JSON: `accumulators`, a row a layer, and `advice` for the whole."""
    from intsim.advice import advise, plain

    if not any(isinstance(step.compute, Dot) for step in program.steps):
        line(out, "there is no sum of products, and so no accumulator")
        return {"accumulators": [], "advice": None}
    total = sum(map(len, sets.values()))
    with compiling(out), progress(out, "observing sums", total) as advance:
        advice = advise(program, sets, progress=lambda done, _: advance(done))
    macs = {step.name: step.compute.mac for step in program.steps if isinstance(step.compute, Dot)}
    accumulators = {name: accumulator(mac) for name, mac in macs.items()}
    _say(program, advice, accumulators, out)
    told = plain(advice)
    rows = [
        {
            "layer": layer.name,
            "target": layer.target,
            "products": layer.products,
            "accumulator": accumulators[layer.name],
            "needed": layer.proof,
            "proven": layer.proven,
            "needed_by_channel": list(layer.proof_by_channel),
            **{name: row[name] for name in ("bits", "level_bits", "observed", "verdict")},
            **{name: row[name] for name in ("l1", "l1_bits", "l1_limit", "l1_excess")},
        }
        for layer, row in zip(advice.layers, told["layers"], strict=True)
    ]
    return {"accumulators": rows, "advice": {name: told[name] for name in ("proof", "observed", "l1")}}


def _say(program: Program, advice: "Advice", accumulators: Mapping[str, str], out: Out) -> None:
    sets = list(advice.observed)
    columns = ("layer", "runs on", "products a sum", "accumulator", "any input", *sets, "it has", "verdict")
    rows = [
        (
            layer.name,
            layer.target,
            layer.products,
            accumulators[layer.name],
            layer.proof,
            *(layer.observed[name].bits for name in sets),
            "exact" if layer.bits is None else layer.bits,
            layer.verdict,
        )
        for layer in advice.layers
    ]
    title = f"accumulator bits on {' + '.join(program.targets)}: enough for ..."
    table(out, columns, rows, title=title, right=(columns[2], *columns[4:-1]))
    observed = "".join(f", {bits} as observed ({name})" for name, bits in advice.observed.items())
    line(out, f"the narrowest accumulator for all layers, at every MAC: {advice.proof} bits by proof{observed}")
    if sets:
        line(out, "observed are all partial sums, in the machine's order of the products, bias included")
    norms = [
        (layer.name, layer.l1, layer.l1_bits, layer.l1_limit, _excess(layer))
        for layer in advice.layers
        if layer.l1_limit is not None
    ]
    columns = ("layer", "L1 norm", "bits that it needs", "allowed by this accumulator", "of what is allowed")
    if norms:
        title = "weights' L1 norms (A2Q, arXiv 2308.13504): the largest of all output channels"
        table(out, columns, norms, title=title, right=columns[1:])
    line(out, f"by their L1 norms the weights need {advice.l1} bits")


def _excess(layer: "Layer") -> str:
    return "-" if layer.l1_excess is None else f"{layer.l1_excess:.2f} x"
