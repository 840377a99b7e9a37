"""`intsim compare` on the command line: limits, levels of a runtime, the page, what is refused."""

import json
import re
from pathlib import Path

import pytest

import intsim
import intsim_models
from intsim import IntsimError
from intsim.cli import main
from intsim.compare import Comparison, compare
from intsim.compare.tally import decibels
from intsim.report.comparison import page

SHIPPED = ["--calibration", "fashion", "--input", "fashion", "--limit", "8"]
REST = ["compare", "lenet5", "--target", "litert_ref", "--with", "litert_xnnpack", *SHIPPED]


@pytest.fixture(scope="module")
def found() -> Comparison:
    images = intsim_models.images()
    program = intsim.build(intsim_models.path("lenet5"), "litert_ref", calibration=images.x_calibration)
    return compare(program, "litert_xnnpack", images.x[:8], threads=1)


def _json(capsys: pytest.CaptureFixture[str], *more: str, status: int = 0) -> dict[str, object]:
    assert main([*REST, *more, "--json", "-"]) == status
    read: dict[str, object] = json.loads(capsys.readouterr().out)
    return read


def test_the_numbers_of_a_layer_fit_together(found: Comparison) -> None:
    assert found.mismatches > 0
    assert [layer.first for layer in found.layers].count(True) == 1
    assert found.first is next(layer for layer in found.layers if layer.mismatches)
    for layer in found.layers:
        assert sum(count for _, count in layer.differences) == layer.mismatches
        assert max((abs(step) for step, _ in layer.differences), default=0) == layer.max_difference
        assert sum(count for _, count in layer.single_differences) == layer.single_mismatches
        assert (layer.snr is None) == (layer.mismatches == 0)
        assert (layer.explanation is None) == (layer.single_mismatches == 0)


def test_a_signal_to_noise_ratio_is_in_decibels() -> None:
    assert decibels(1000.0, 1.0) == 30.0
    assert decibels(5.0, 0.0) is None
    assert decibels(0.0, 5.0) < -100  # type: ignore[operator]


def test_every_limit_has_its_line_and_its_figure(capsys: pytest.CaptureFixture[str], found: Comparison) -> None:
    most, farthest = found.mismatches, found.max_difference
    agreement = found.argmax_agreement
    assert agreement is not None
    enough = ["--max-mismatch", str(most), "--max-difference", str(farthest), "--min-agreement", str(agreement)]
    assert _json(capsys, *enough)["exceeded"] is False
    for limit, value, figure in (
        ("--max-mismatch", str(most - 1), f"more than --max-mismatch {most - 1}: {most} integers differ"),
        ("--max-difference", str(farthest - 1), f"one integer differs by {farthest} steps"),
    ):
        read = _json(capsys, "--no-explain", limit, value, status=1)
        (line,) = read["exceeded_by"]  # type: ignore[misc]
        assert figure in line
        assert main([*REST, "--no-explain", limit, value]) == 1
        assert [text for text in capsys.readouterr().out.splitlines() if figure in text] == [line]


def test_the_json_has_the_fields_of_the_page_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    read = _json(capsys)
    text = (Path(__file__).parents[1] / "docs" / "compare.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"`(\w+)`", text[text.index("`--json FILE`") :]))
    assert set(read) - {"intsim", "verb", "max_mismatch"} <= keys
    layers: list[dict[str, object]] = read["layers"]  # type: ignore[assignment]
    assert set(layers[0]) <= keys
    differing = next(layer for layer in layers if layer["explanation"])
    assert set(differing["explanation"]) <= keys  # type: ignore[call-overload]
    assert differing["explained_by"] == differing["explanation"]["causes"][0]["says"]  # type: ignore[index]


def test_a_float_model_gives_the_ratio_against_float(capsys: pytest.CaptureFixture[str], found: Comparison) -> None:
    layers: list[dict[str, float]] = _json(capsys, "--no-explain")["layers"]  # type: ignore[assignment]
    assert all(layer["float_snr"] is not None for layer in layers)
    assert layers[-1]["float_snr"] > 15
    assert all(layer.float_snr is None for layer in found.layers)


def test_the_page_is_one_file_without_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*REST, "--report", str(tmp_path / "page.html"), "--max-mismatch", "0"]) == 1
    said = capsys.readouterr().out
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|https?://|<link|src=", text)
    assert "more than --max-mismatch 0" in text
    assert text.count('class="first"') == 1
    (cause,) = {line.partition('"')[2][:-1] for line in said.splitlines() if line.startswith("conv_1: ")}
    assert cause in text.replace("&#34;", '"')


def test_an_equal_pair_has_a_page_too(found: Comparison) -> None:
    images = intsim_models.images()
    program = intsim.build(intsim_models.path("mlp"), "litert_ref", calibration=images.x_calibration)
    text = page(compare(program, program, images.x[:4], threads=1))
    assert "integers are equal" in text
    assert "Differences" not in text
    assert "<b>" not in text


def test_names_on_the_page_are_escaped(found: Comparison) -> None:
    from msgspec.structs import replace

    text = page(replace(found, network="<b>&x</b>"))
    assert "<b>&x" not in text
    assert "&lt;b&gt;&amp;x" in text


def test_options_that_a_reference_does_not_have_are_refused(found: Comparison) -> None:
    images = intsim_models.images()
    program = intsim.build(intsim_models.path("mlp"), "litert_ref", calibration=images.x_calibration)
    for reference, options, match in (
        ("litert_xnnpack", {"optimization": "all"}, "is no runtime and takes no options: leave out --optimization"),
        ("onnxruntime", {"colour": "red"}, 'onnxruntime: has no option "colour": it takes --optimization, --form'),
        ("onnxruntime", {"form": "qoperater"}, 'no form is called "qoperater": did you mean qoperator'),
    ):
        with pytest.raises(IntsimError, match=match):
            compare(program, reference, images.x[:2], options=options)
