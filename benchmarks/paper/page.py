"""The results sections of docs/paper.md, made of the JSON files in `results` alone."""

import json
from pathlib import Path
from typing import Any

from paper.figures import widths
from paper.plan import FGSM, STEPS

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parents[1] / "docs" / "paper.md"
BEGIN, END = "<!-- results: made by python -m paper -->", "<!-- end -->"
NAMES = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}
SHOWN = (0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
PAPER = (94.85, 96.41, 97.59, 97.76, 97.67, 97.81, 97.83, 97.61, 97.81, 97.73)


def write(summary: dict[str, Any]) -> None:
    """Writes the results of one data set and the page's part that all results files make."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{summary['data']}.json"
    path.write_text(json.dumps(summary, separators=(",", ":")) + "\n", encoding="utf-8")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")


def read() -> list[dict[str, Any]]:
    """All results, whole runs before quick ones, MNIST first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")]
    return sorted(found, key=lambda one: (one["data"].endswith("-quick"), one["data"].split("-")[0] != "mnist"))


def written(page: str, summaries: list[dict[str, Any]]) -> str:
    """The page with its results sections made anew."""
    before, after = page.split(BEGIN, maxsplit=1)[0], page.split(END)[1]
    return before + "\n".join([BEGIN, *(section(one) for one in summaries), END]) + after


def section(s: dict[str, Any]) -> str:
    """Everything that is said of one data set."""
    data, _, quick = s["data"].partition("-")
    title = NAMES.get(data, data) + (", quick run" if quick else "")
    parts = [f"### {title}", _opening(s), *_pictures(s)]
    for heading, rows in (
        ("The claim", [*_claim(s)]),
        ("Accuracy under FGSM on the network itself, % (mean ± standard deviation over seeds)", [*_accuracy(s)]),
        ("Controls: points that `rise` is above float, eps .20, by attack", [*_controls(s)]),
        ("What withstands every attack (exploratory)", [*_withstood(s)]),
        ("What masks gradients", [*_masks(s)]),
        ("Crossings: observed and expected", [*_crossings(s)]),
        ("Transfer from the float network, FGSM, eps .10, points above float on its own images", [*_transfer(s)]),
        ("On integer machines", [*_deployed(s)]),
    ):
        if rows:
            parts += [f"#### {heading}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _opening(s: dict[str, Any]) -> str:
    claimed = s["networks"].get("mlp-trained-rise-1", {}).get("seeds", 0)
    grid = min((s["networks"][g]["seeds"] for _, g in widths(s, "mlp-") if "seeds" in s["networks"][g]), default=0)
    widest = max((b for b, _ in widths(s, "mlp-trained-rise-")), default=0)
    return (
        f"Data digest `{s['digest']}`; {s['images']:,} test images, PGD on {s['pgd_images']:,}, Square on"
        f" {s['square_images']}. Networks measured: {len(s['networks'])} groups; {claimed} seeds of 1-bit `rise`, from"
        f" {grid} seeds elsewhere, to {widest} bits. A table shows what has been measured, and nothing else."
    )


def _pictures(s: dict[str, Any]) -> list[str]:
    shown = (
        ("bits", "accuracy over bits"),
        ("strength", "accuracy over strength"),
        ("crossings", "crossings"),
        ("controls", "controls"),
    )
    return [
        f"![{text}](../benchmarks/paper/results/{s['data']}-{kind}.png)"
        for kind, text in shown
        if (RESULTS / f"{s['data']}-{kind}.png").exists()
    ]


# ---- sentences -----------------------------------------------------------------------------------


def verdict(s: dict[str, Any]) -> tuple[str, str]:
    """("confirmed", "refuted" or "open"; "explained", "not explained" or "open"), by the protocol's own rules."""
    rows = s["controls"].get("mlp-trained-rise-1", {})
    if f"{FGSM}-self" not in rows:
        return "open", "open"
    crossing, strong = s["crossings"]["mlp-trained-rise-1"][f"{FGSM}-self"], rows[f"{FGSM}-self"]["strong"]
    crosses = crossing["at"] is not None and crossing["rising"] and crossing["share"] >= 0.95
    inside = crosses and crossing["low"] is not None and crossing["high"] is not None and crossing["high"] < 0.4
    claim = "confirmed" if inside and strong["verdict"] == "above" else "open"
    if not crosses or strong["verdict"] == "within":
        claim = "refuted"
    declared = [rows[name]["strong"]["verdict"] for name in DECLARED if name in rows]
    if len(declared) < len(DECLARED) or claim != "confirmed":
        return claim, "open"
    return claim, "not explained" if "above" in declared else "explained"


DECLARED = ("fgsm_margin-self", "fgsm_float64-self", "pgd_margin-self")
"""The controls that the protocol names."""


def _claim(s: dict[str, Any]) -> list[str]:
    rows = s["controls"].get("mlp-trained-rise-1")
    if not rows:
        return []
    crossing, strong = s["crossings"]["mlp-trained-rise-1"][f"{FGSM}-self"], rows[f"{FGSM}-self"]["strong"]
    claim, masked = verdict(s)
    tests = s["primary"]["tests"]
    better = sum(t["holm"] < 0.05 and t["gained"] > t["lost"] for t in tests)
    lines = [
        f"* **The claim is {claim}** by the protocol's rule ({s['primary']['seeds']} seeds): 1-bit `rise` passes float"
        f" at {_at(crossing)}; at eps .20 it is {strong['mean']:+.2f} points from float (90 %: {_ends(strong)}; margin"
        f" of equivalence {strong['delta']:.2f}). Primary test, exact McNemar with Holm: {better} of {len(tests)} seeds"
        " gain.",
        f"* **Masking as the protocol declared it: {masked}** (margin, float64, PGD on the margin; see Controls).",
    ]
    worst = {g: s["networks"][g]["worst"] for g in ("mlp-float", "mlp-trained-rise-1") if "worst" in s["networks"][g]}
    if len(worst) == 2:
        pairs = "; ".join(
            f"eps {eps}: 1 bit {worst['mlp-trained-rise-1'][eps]:.2f} %, float {value:.2f} %"
            for eps, value in worst["mlp-float"].items()
        )
        lines.append(f"* Exploratory, the worst case over all attacks on {s['square_images']} images: {pairs}.")
    return lines


def _at(crossing: dict[str, Any]) -> str:
    if crossing["at"] is None:
        return "no strength, it is " + ("above" if crossing["sign"] > 0 else "below" if crossing["sign"] else "as good")
    ends = "".join("beyond" if end is None else f"{end:.3f}" for end in [crossing["low"]])
    high = ">.4" if crossing["high"] is None else f"{crossing['high']:.3f}"
    way = "" if crossing["rising"] else ", downwards"
    return f"{crossing['at']:.3f} ({ends} to {high}{way}; in {100 * crossing['share']:.0f} % of draws)"


def _ends(strong: dict[str, Any]) -> str:
    return "one seed" if strong["low"] is None else f"{strong['low']:+.2f} to {strong['high']:+.2f}"


# ---- tables --------------------------------------------------------------------------------------


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [] if not rows else [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def _groups(s: dict[str, Any]) -> list[str]:
    prefixes = (
        "mlp-trained-rise-",
        "mlp-trained-zero-",
        "mlp-trained-ends-",
        "mlp-tuned-zero-",
        "mlp-rounded-rise-",
        "mlp-rounded-zero-",
        "single-trained-rise-",
        "single-trained-zero-",
        "single-rounded-rise-",
        "single-rounded-zero-",
    )
    found = []
    for prefix in prefixes:
        if prefix == "single-trained-rise-" and "single-float" in s["networks"]:
            found.append("single-float")
        found += [group for _, group in widths(s, prefix)]
    return (["mlp-float"] if "mlp-float" in s["networks"] else []) + found


def _accuracy(s: dict[str, Any]) -> list[str]:
    rows = []
    for group in _groups(s):
        curve = s["networks"][group]["curves"].get(f"{FGSM}-self")
        if curve:
            cells = [f"{curve['mean'][i]:.1f} ± {curve['sd'][i]:.1f}" for i in map(s["eps"].index, SHOWN)]
            bits = int(group.rsplit("-", 1)[1]) if "float" not in group else 0
            paper = f"{PAPER[bits - 1]:.2f}" if "mlp-trained" in group and s["data"].startswith("mnist") else ""
            rows.append([group, str(curve["seeds"]), paper, *cells])
    steps = [f"eps {eps:g} (E {STEPS[s['eps'].index(eps)]})" for eps in SHOWN]
    return _table(["network", "seeds", "paper, clean", *steps], rows)


def _controls(s: dict[str, Any]) -> list[str]:
    groups = list(s["controls"])
    names = list(dict.fromkeys(name for group in groups for name in s["controls"][group]))
    rows = []
    for name in names:
        row = [name.removesuffix("-self")]
        for group in groups:
            found = s["controls"][group].get(name)
            if found is None:
                row += ["", ""]
                continue
            strong, at = found["strong"], found["crossing"]
            row.append(f"{strong['mean']:+.2f} ({_ends(strong)}), {strong['verdict']}, {strong['seeds']} seeds")
            row.append("" if at is None else "none" if at["at"] is None else f"{at['at']:.3f}")
        rows.append(row)
    return _table(["attack", *(word for group in groups for word in (group, "crosses at"))], rows)


def _withstood(s: dict[str, Any]) -> list[str]:
    rows = []
    for group, found in s["withstood"].items():
        for eps, one in found.items():
            shares = [f"{one[key]:.2f}" for key in ("right", "of_fallback", "labelled")]
            rows.append([group, eps, *shares, str(one["seeds"])])
    head = ["network", "eps", "right, %", "right and of the fallback class, %", "of that class, %", "seeds"]
    lines = _table(head, rows)
    return lines and [
        f"Worst case over every single step and PGD, the first {s['pgd_images']:,} images. The fallback class is the"
        " answer of a network all of whose hidden units are 0; 'of that class' is its share of the labels.",
        "",
        *lines,
    ]


def _masks(s: dict[str, Any]) -> list[str]:
    rows = []
    for group in _groups(s):
        n = s["networks"][group]
        if "saturated" in n and not group.startswith("single"):
            percents = [
                f"{100 * n[key]:.1f}"
                for key in ("saturated", "zero_gradients", "zero_margin_gradients", "zero_pixels", "dead_units")
            ]
            rows.append([group, *percents, f"{n['active_units']:.1f}", f"{n['mean_logit']:.1f}"])
    head = [
        "network",
        "p_y = 1 in float32, %",
        "zero gradient of cross entropy, %",
        "zero gradient of the margin, %",
        "pixels without it, %",
        "dead hidden units, %",
        "active units an image",
        "mean abs logit",
    ]
    return _table(head, rows)


def _crossings(s: dict[str, Any]) -> list[str]:
    rows = []
    for group in _groups(s):
        found = s["crossings"].get(group)
        if found:
            observed = [
                _at(found[name]).split(";")[0].removesuffix(")") + ")" if found[name]["at"] is not None else "none"
                for name in (f"{FGSM}-self", "fgsm_margin-self", f"{FGSM}-transfer")
                if name in found
            ]
            expected = ["none" if found[key] is None else f"{found[key]:.3f}" for key in ("weights", "first_order")]
            rows.append([group, *observed, *expected])
    head = ["network", "FGSM, float32 (95 %)", "FGSM, margin", "transfer", "expected: weights", "expected: first order"]
    return _table(head, [row for row in rows if len(row) == len(head)])


def _transfer(s: dict[str, Any]) -> list[str]:
    rows = []
    for group, found in s["transfer"]["at"].items():
        name = "**null: another float network**" if group == "mlp-float" else group
        name = name.replace("mlp-permuted", "**null** permuted") if "permuted" in group else name
        rows.append([name, f"{found['mean']:+.2f}", _ends(found), found["verdict"], str(found["seeds"])])
    lines = _table(["judged network", "points", "90 % over seeds", "against ±delta", "seeds"], rows)
    tests = s["transfer"]["family"]
    if tests:
        gain = sum(t["holm"] < 0.05 and t["gained"] > t["lost"] for t in tests)
        lost = sum(t["holm"] < 0.05 and t["gained"] < t["lost"] for t in tests)
        lines += [
            "",
            f"Second family, exact McNemar with Holm over {len(tests)} tests (`rise`, 1 to 3 bits): {gain} gain,"
            f" {lost} lose.",
        ]
    return lines


def _deployed(s: dict[str, Any]) -> list[str]:
    rows = []
    shown = [s["eps"].index(eps) for eps in (0.0, 0.05, 0.10, 0.20)]
    for group, found in s["deployed"].items():
        if int(group.rsplit("-", 1)[1]) not in (1, 2, 4, 8):
            continue
        for name in ("ideal-self", "litert_ref-self", "ideal-transfer", "litert_ref-transfer"):
            if name in found:
                own, float_ = found[name], found[f"grid-{name.rsplit('-', 1)[1]}"]
                cells = [f"{own['mean'][i]:.1f} ({own['mean'][i] - float_[i]:+.1f})" for i in shown]
                rows.append(
                    [
                        group,
                        name.replace("-", ", "),
                        *cells,
                        f"{max(own['differ']):.2f}",
                        f"{max(own['ties']):.2f}",
                        str(own["seeds"]),
                    ]
                )
    head = [
        "network",
        "machine, images from",
        *(f"E {STEPS[i]}" for i in shown),
        "answers that differ, at most %",
        "ties, at most %",
        "seeds",
    ]
    lines = _table(head, rows)
    return lines and [
        "In brackets: points from the fake-quantized float network on the same images. An answer differs"
        " where one of the two is right and the other is not.",
        "",
        *lines,
    ]
