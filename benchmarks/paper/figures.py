"""The figures of a data set: accuracy over bits and over strength, the crossings, the controls."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from paper.plan import CLAIM_BITS, FGSM, LOSSES

SHOWN = (0.0, 0.03, 0.05, 0.10, 0.15, 0.20)


def draw(summary: dict[str, Any], folder: Path) -> list[Path]:
    """Writes NAME-bits.png, -strength.png, -crossings.png, -controls.png, as far as there is something in them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for kind, painter in (("bits", _bits), ("strength", _strength), ("crossings", _crossings), ("controls", _controls)):
        figure = pyplot.figure(figsize=(9, 3.6), layout="constrained")
        if painter(figure, summary):
            made.append(folder / f"{summary['data']}-{kind}.png")
            figure.savefig(made[-1], dpi=90, metadata={"Software": None})
        pyplot.close(figure)
    return made


def widths(summary: dict[str, Any], prefix: str) -> list[tuple[int, str]]:
    """(bits, group) of the groups that begin so, fewest bits first."""
    groups = (group for group in summary["networks"] if group.startswith(prefix) and not group.endswith("float"))
    found = [(int(group.rsplit("-", 1)[1]), group) for group in groups]
    return sorted(found)


def _bits(figure: Any, summary: dict[str, Any]) -> bool:
    panels = (("self", "mlp-trained-rise-"), ("transfer", "mlp-trained-rise-"), ("self", "mlp-trained-zero-"))
    drawn = False
    for axis, (direction, prefix) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
        groups = [
            (b, g) for b, g in widths(summary, prefix) if f"{FGSM}-{direction}" in summary["networks"][g]["curves"]
        ]
        for eps in SHOWN:
            i = summary["eps"].index(eps)
            means = [summary["networks"][g]["curves"][f"{FGSM}-{direction}"]["mean"][i] for _, g in groups]
            axis.plot([b for b, _ in groups], means, marker="o", markersize=3, label=f"eps {eps:g}")
            drawn |= bool(means)
        axis.set(title=f"{prefix[4:-1]}, FGSM, {direction}", xlabel="weight bits")
        axis.grid(alpha=0.3)
        if direction == "self" and "rise" in prefix:
            axis.set_ylabel("accuracy, %")
            axis.legend(fontsize=7)
    return drawn


def _strength(figure: Any, summary: dict[str, Any]) -> bool:
    drawn = False
    for axis, attack in zip(
        figure.subplots(1, 3, sharey=True), (f"{FGSM}-self", "fgsm_margin-self", f"{FGSM}-transfer"), strict=True
    ):
        groups = [("float", "mlp-float"), *((f"{b} bit", g) for b, g in widths(summary, "mlp-trained-rise-"))]
        for label, group in groups:
            own = attack.replace("transfer", "self") if group == "mlp-float" else attack
            curve = summary["networks"].get(group, {"curves": {}})["curves"].get(own)
            if curve:
                axis.plot(summary["eps"], curve["mean"], label=label, linewidth=2 if group == "mlp-float" else 1)
                drawn = True
        axis.set(title=f"rise, {attack}", xlabel="eps", xlim=(0, 0.4))
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy, %")
    figure.axes[0].legend(fontsize=7)
    return drawn


def _crossings(figure: Any, summary: dict[str, Any]) -> bool:
    drawn = False
    for axis, prefix in zip(
        figure.subplots(1, 2, sharey=True), ("mlp-trained-rise-", "mlp-rounded-rise-"), strict=True
    ):
        for bits, group in widths(summary, prefix):
            found = summary["crossings"].get(group, {})
            seen = found.get(f"{FGSM}-self", {"at": None})
            if seen["at"] is not None:
                low, high = seen["at"] - (seen["low"] or 0), (seen["high"] or 0.4) - seen["at"]
                axis.errorbar(
                    bits,
                    seen["at"],
                    yerr=[[low], [high]],
                    fmt="ko",
                    capsize=3,
                    markersize=4,
                    label="observed, 95 %" if not drawn else None,
                )
                drawn = True
            for key, mark, label in (("weights", "bx", "weights and margins"), ("first_order", "r+", "first order")):
                if found.get(key) is not None and found[key] <= 0.4:
                    axis.plot(bits, found[key], mark, label=label)
        axis.set(title=f"{prefix[4:-1]}: where B bits pass float", xlabel="weight bits")
        axis.grid(alpha=0.3)
        known = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        axis.legend(known.values(), known.keys(), fontsize=7)
    figure.axes[0].set_ylabel("eps*")
    return drawn


def _controls(figure: Any, summary: dict[str, Any]) -> bool:
    names = [
        *(f"{step}-self" for step in LOSSES),
        "pgd_float32-self",
        "pgd_margin-self",
        "pgd_log_odds-self",
        "apgd_targets-self",
        "square-self",
    ]
    axis, drawn = figure.subplots(), False
    for shift, bits in enumerate(CLAIM_BITS):
        rows = summary["controls"].get(f"mlp-trained-rise-{bits}", {})
        at = [i + 0.25 * (shift - 1) for i, name in enumerate(names) if name in rows]
        strong = [rows[name]["strong"] for name in names if name in rows]
        if strong:
            errors = [
                [s["mean"] - (s["low"] if s["low"] is not None else s["mean"]) for s in strong],
                [(s["high"] if s["high"] is not None else s["mean"]) - s["mean"] for s in strong],
            ]
            axis.errorbar(
                at, [s["mean"] for s in strong], yerr=errors, fmt="o", capsize=2, markersize=4, label=f"{bits} bit"
            )
            drawn = True
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(
        range(len(names)), [name.removesuffix("-self") for name in names], rotation=25, ha="right", fontsize=8
    )
    axis.set(title="rise against float at eps .20, by attack: points gained, 90 % over seeds", ylabel="points")
    axis.grid(alpha=0.3)
    if drawn:
        axis.legend(fontsize=7)
    return drawn
