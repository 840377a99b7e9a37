"""The page holds everything, belongs to itself, and celebrates nothing that it should not."""

import base64
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import partial
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image
from sample_results import sample

from intsim.attack.catalogue import ATTACKS
from intsim.errors import IntsimError
from intsim.evaluate.judged import judged
from intsim.evaluate.records import FLOAT, Images, Judge
from intsim.evaluate.verdict import broken, crossed, curves, verdict
from intsim.report import Results, Width, chart, headlines, picture, render, results, telling
from intsim.report.chart import spread
from intsim.report.figures import attack_lines
from intsim.report.gallery import LARGEST, added, data_uri, thumbnail, unpacked
from intsim.report.record import curve_of, row_of, rows_of
from intsim.report.words import RULE


@pytest.fixture(scope="module")
def found():
    return sample()


@pytest.fixture(scope="module")
def page(found):
    return render(found)


class _Tables(HTMLParser):
    """The texts of a page's table cells, table by table, row by row; all attributes that were seen."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.tables[-1][-1][-1] += data


# ---- the page as a file ----------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(page):
    seen = _Tables(page)
    assert not re.search(r"https?://|//\w+\.\w+/|@import|file:", page)
    assert not seen.tags & {"script", "link", "iframe", "object", "embed"}
    for tag, name, value in seen.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value[:60])
    assert all(inside.startswith("#") for inside in re.findall(r"url\(([^)]*)\)", page))


def test_every_id_of_the_page_is_there_once_and_every_reference_has_one(page):
    seen = _Tables(page)
    ids = [value for _, name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 10
    wanted = {value[1:] for _, name, value in seen.attributes if name == "href" and value.startswith("#")}
    wanted |= {inside[1:] for inside in re.findall(r"url\(([^)]*)\)", page)}
    assert wanted
    assert wanted <= set(ids)


def test_the_page_is_a_function_of_the_results(found, page):
    assert render(found) == page
    assert render(msgspec.json.decode(msgspec.json.encode(found))) == page


def test_the_page_stays_small(page):
    assert len(page) < 2_000_000


def test_nothing_heavy_is_imported_before_something_is_drawn():
    code = "import sys, intsim.report; assert not {'matplotlib', 'jinja2', 'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_text_and_never_markup(found):
    evil = '<script>alert("$x^2$")</script>'
    rows = tuple(replace(r, target=evil) if r.target == "nvdla_small" else r for r in found.rows)
    page = render(replace(found, rows=rows, of=evil, command=evil, class_names=(evil,) * 10, versions={evil: evil}))
    assert "script" not in _Tables(page).tags
    assert "&lt;script&gt;alert(" in page
    assert page.count("$x^2$") > 5, "a dollar sign is no formula"


# ---- what stands on it -----------------------------------------------------------------------------------------


def test_every_row_stands_on_the_page(found, page):
    everything = _Tables(page).tables[-1]
    assert len(everything) == len(found.rows) + 1
    for row, cells in zip(found.rows, everything[1:], strict=True):
        assert cells[:3] == [row.network, row.target, row.attack]
        assert cells[4:6] == [str(row.correct), str(row.n)]
        assert cells[7] == f"{100 * row.low:.1f}–{100 * row.high:.1f}"
        assert float(cells[6].replace("%", "")) == pytest.approx(100 * row.correct / row.n, abs=0.051)


def test_the_transfer_tables_hold_every_machine_attack_and_strength(found, page):
    transfer = [table for table in _Tables(page).tables if table[0][0] == "who"]
    assert len(transfer) == 4 + 2  # FGSM at four strengths, PGD at two
    for table in transfer:
        assert [row[0].split("net")[0] for row in table[1:]] == [
            "floatcrafted here", "ideal", "ideal", "ideal", "cmsis_nn_s8", "nvdla_small",
        ]  # fmt: skip
    row = row_of(found, "net w8", "nvdla_small", "fgsm", 2.0)
    line = transfer[0][-1]
    assert line[6:8] == [str(row.paired[FLOAT].gained), str(row.paired[FLOAT].lost)]
    assert line[4].startswith(f"{100 * row.transferred.value:.1f}")
    assert f"of {row.transferred.n}" in line[4]


def test_a_crossing_is_ringed_where_the_curves_cross_and_nowhere_else(found, page):
    rings = re.findall(r'id="([\w-]*crossing-\d+)"', page)
    assert sorted(rings) == ["apart-4-crossing-0", "strength-0-crossing-0", "strength-1-crossing-0"]
    said = [sentence for sentence in headlines(found) if "crosses float" in sentence]
    assert len(said) == 1
    at = [float(number) for number in re.findall(r"([\d.]+)/255, 95", said[0])]
    assert at == pytest.approx([3.2, 3.2], abs=0.8), "0.92 - 0.05 e = 0.84 - 0.025 e at e = 3.2"
    assert "below float before and above it after" in said[0]
    assert "not a gain" in said[0]


def test_a_crossing_that_chance_explains_is_not_ringed(found):
    curve = curve_of(found, "net w4", "ideal", "fgsm")
    assert crossed(curve) == curve.crossing is not None
    assert crossed(replace(curve, sure=False)) is None
    assert crossed(replace(curve, crossing=replace(curve.crossing, high=None))) is None
    assert crossed(replace(curve, crossing=replace(curve.crossing, low=None))) is None
    unsure = tuple(replace(c, sure=False) for c in found.curves)
    assert "crossing-0" not in render(replace(found, curves=unsure))
    assert not [sentence for sentence in headlines(replace(found, curves=unsure)) if "crosses float" in sentence]


def _two(seed: int, tilt: float) -> Results:
    """Float and a chip at 11 strengths, 1000 images: apart by an own luck of each, and by `tilt` points a step."""
    n, steps = 1000, range(12)
    rng = np.random.default_rng(seed)
    shared = rng.random(n)
    luck = {who: shared + rng.normal(0, 0.05, n) for who in (FLOAT, "chip")}

    def answer(who: str, x: np.ndarray) -> np.ndarray:
        step = int(x[0, 0, 0, 0])
        rate = 0.9 - 0.06 * step + (tilt * (step - 5) if who == "chip" else 0.0)
        return np.eye(10)[(np.arange(n) + (luck[who] >= rate)) % 10]

    sets = [
        Images(
            attack=ATTACKS["fgsm"] if step else None,
            eps_steps=float(step),
            grid=255,
            x=np.full((n, 1, 1, 1), step, np.uint8),
            digest=str(step),
        )
        for step in steps
    ]
    panel = [
        Judge(network="net" if who == FLOAT else "net w4", target=who, answer=partial(answer, who)) for who in luck
    ]
    rows = judged(panel, iter(sets), np.arange(n) % 10)
    return Results(
        rows=tuple(rows), curves=tuple(curves(rows)), attacks=(ATTACKS["fgsm"],), n=n, classes=10, seed=seed, grid=255,
        data="", versions={}, verdict=(), widths=(Width(bits=4, network="net w4", target="chip"),),
    )  # fmt: skip


def test_two_exchangeable_judges_cross_nowhere_and_two_that_really_cross_do():
    often = 0
    for seed in range(8):
        chance = _two(seed, 0.0)
        at = curve_of(chance, "net w4", "chip", "fgsm").crossing
        often += at is not None and at.share >= 0.95
        assert attack_lines(chance, "fgsm")[1] == [], seed
        assert not [sentence for sentence in headlines(chance) if "crosses float" in sentence], seed
        if at is not None:
            assert any("no more surely than by chance" in told for told in attack_lines(chance, "fgsm")[2])
    assert often >= 4, "nearly every draw of such judges crosses somewhere: no evidence of anything"
    for seed in range(3):
        real = _two(seed, 0.015)
        (mark,) = attack_lines(real, "fgsm")[1]
        assert mark.at == pytest.approx(5, abs=1.5)
        assert [sentence for sentence in headlines(real) if "At 4 bits accuracy crosses float's" in sentence]


def test_an_accumulator_that_overflows_under_attack_alone_is_counted(found):
    def told(clean: int, hit: int) -> list[str]:
        kept = [count for count in found.overflows if count.target == "machine+acc20_wrap"]
        counts = tuple(replace(count, outputs=clean if count.attack == "clean" else hit) for count in kept)
        return [s for s in headlines(replace(found, overflows=counts)) if s.startswith("Where sums overflow at all")]

    assert told(0, 0) == []
    (said,) = told(0, 500)
    assert "+5.0 points under FGSM" in said
    (said,) = told(500, 0)
    assert "−5.0 points under FGSM" in said


def test_a_collapsed_width_is_marked_and_never_counted_in_its_favour(found, page):
    assert broken(row_of(found, "net w2", "ideal", "clean", 0.0))
    assert page.count("2 bits, collapsed") == 2
    assert "2 bits (collapsed)" in page
    (said,) = [sentence for sentence in headlines(found) if "collapsed" in sentence]
    assert said.startswith("At 2 bits")
    assert not re.search(r"At 2 bits accuracy crosses", page)
    table = next(table for table in _Tables(page).tables if table[0][0] == "who")
    line = next(row for row in table if row[0].startswith("idealnet w2"))
    assert line[0].endswith("collapsed")
    assert line[4] == "–", "no transfer rate of a network that has given up"


def test_what_the_rounding_of_the_input_does_alone_is_told_apart(found, page):
    (said,) = [sentence for sentence in headlines(found) if "float behind an input of 16 levels" in sentence]
    eps = telling(found, "fgsm")
    for who in ("ideal", "float, same input"):
        one = row_of(found, "net w4", who, "fgsm", eps).paired[FLOAT]
        assert f"{100 * one.difference:+.1f}" in said
    assert said.endswith("For all of them most of it happens where the input is rounded, before any arithmetic.")
    assert 'id="apart-4-' in page
    assert page.count("float, same input</text>") == 1, "one line in one chart"

    def less(**p: float) -> str:
        """The headlines where the two comparisons with float have these p-values."""
        of = {("net w4", {"door": "float, same input"}.get(who, who), "fgsm", eps): value for who, value in p.items()}
        changed = [(row, of.get((row.network, row.target, row.attack, row.eps_steps))) for row in found.rows]
        rows = [
            row if value is None else replace(row, paired={**row.paired, FLOAT: replace(row.paired[FLOAT], p=value)})
            for row, value in changed
        ]
        return " ".join(headlines(replace(found, rows=tuple(rows))))

    assert "before any arithmetic" in less(ideal=0.001, door=0.03)
    assert "before any arithmetic" not in less(ideal=0.001, door=0.06)
    assert "float behind an input" in less(ideal=0.001, door=0.06)
    assert "float behind an input" not in less(ideal=0.03, door=0.03), "0.03 twice is no finding"
    away = replace(found, doors=(), rows=tuple(row for row in found.rows if "same input" not in row.target))
    assert "before any arithmetic" not in " ".join(headlines(away))


def test_ten_points_below_float_is_broken_only_where_that_is_sure(found):
    rows = rows_of(found, "net w4", "ideal", "fgsm")
    one = rows[0].paired[FLOAT]
    assert one.high > -0.10
    assert not broken(rows[0])
    sure = replace(rows[0], paired={FLOAT: replace(one, difference=-0.2, low=-0.25, high=-0.15)})
    assert broken(sure)
    assert not sure.collapsed
    changed = tuple(sure if row is rows[0] else row for row in found.rows)
    (said,) = [s for s in verdict(changed, found.curves) if s.startswith("net w4 on ideal")]
    assert "collapsed before any attack" in said, "the verdict and the headlines are of one mind"
    assert any(s.startswith("At 4 bits plain") for s in headlines(replace(found, rows=changed)))
    page = render(replace(found, rows=changed))
    assert RULE in page
    assert "4 bits (collapsed)" in page
    lines = [line for line in _Tables(page).tables[-1] if line[:2] == ["net w4", "ideal"]]
    assert all(line[8:10] == ["", ""] and line[-1].endswith("collapsed") for line in lines)


def test_transfer_is_never_called_robustness(page):
    said = re.findall(r"[^.<>]*robust[^.<>]*", page, re.IGNORECASE)
    assert said
    none, bounds = "no (measure of )?robustness", "robust accuracy (between|lies in)|on (its )?robust accuracy"
    assert [sentence for sentence in said if not re.search(f"(?i){none}|{bounds}", sentence)] == []


def test_the_first_sentence_is_the_clean_accuracy(found):
    row = row_of(found, "net", FLOAT, "clean", 0.0)
    assert f"{100 * row.correct / row.n:.1f}" in headlines(found)[0]


def test_the_telling_strength_is_where_float_has_lost_half(found):
    rates = {row.eps_steps: row.accuracy for row in rows_of(found, "net", FLOAT, "fgsm")}
    eps = telling(found, "fgsm")
    assert abs(rates[eps] - rates[0] / 2) == min(abs(rates[e] - rates[0] / 2) for e in rates if e)


def test_the_accumulators_are_drawn_in_both_modes_and_counted(found, page):
    assert "an overflow wraps" in page
    assert "an overflow saturates" in page
    table = next(table for table in _Tables(page).tables if table[0][0] == "machine")
    assert len(table) == len(found.overflows) + 1
    assert any("30.00" in cell for row in table for cell in row)


def test_sections_without_results_are_left_out(found, page):
    bare = render(
        replace(found, widths=(), ladder=(), overflows=(), gallery=(), class_names=(), digests={}, command="")
    )
    assert "Accuracy against strength" in bare
    for heading in ("Fewer bits", "A narrower accumulator", "Where sums overflow", "What float says"):
        assert f"<h2>{heading}" not in bare
        assert f"<h2>{heading}" in page


# ---- the record ------------------------------------------------------------------------------------------------


def test_a_newer_format_and_what_is_no_record_are_refused(found):
    fields = msgspec.json.decode(msgspec.json.encode(found))
    with pytest.raises(IntsimError, match="newer"):
        results({**fields, "format": 99})
    with pytest.raises(IntsimError, match="results"):
        results({"rows": 3})
    with pytest.raises(IntsimError, match="float network"):
        results({**fields, "rows": [row for row in fields["rows"] if row["target"] != FLOAT]})


def test_no_results_row_is_there_twice(found):
    keys = [(row.network, row.target, row.attack, row.eps_steps) for row in found.rows]
    assert len(keys) == len(set(keys))


# ---- pictures --------------------------------------------------------------------------------------------------


def test_the_picture_is_a_small_standalone_svg_with_text_as_text_or_a_png(found):
    svg = picture(found)
    tree = ET.fromstring(svg)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [t.text for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "float" in texts
    assert len(svg) < 150_000
    assert picture(found) == svg
    image = Image.open(io.BytesIO(picture(found, "png")))
    assert image.size[0] > 1000
    with pytest.raises(IntsimError, match="gif"):
        picture(found, "gif")


def test_rounding_coordinates_leaves_the_texts_alone():
    with chart.figure(300, 200) as (made, axes):
        axes[0, 0].plot([0, 0.000041], [0, 1], label="0.123456789")
        axes[0, 0].set_xticks([0, 0.00002, 0.00004], ["0.00000", "0.00002", "0.00004"])
        axes[0, 0].legend()
        drawn = chart.svg(made, "x", "tiny")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert "0.123456789" in texts
    assert {"0.00000", "0.00002", "0.00004"} <= set(texts)
    assert not re.search(r"\d\.\d{4,}", re.sub(r">[^<]*<", "><", drawn))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_labels_are_moved_apart_and_stay_inside(places):
    moved = spread(places, 10.0, 0.0, 100.0)
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in moved)
    assert all(b - a >= 10 - 1e-6 for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert [moved[i] for i in order] == sorted(moved)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_inside_the_page_has_the_pixels_it_had(channels):
    image = np.random.default_rng(0).integers(0, 256, (channels, 5, 7)).astype(np.uint8)
    kind, text = data_uri(image).split(",")
    assert kind == "data:image/png;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert np.array_equal(read.reshape(5, 7, channels), np.moveaxis(image, 0, -1))
    assert np.array_equal(unpacked(image.tobytes(), image.shape), image)


def test_the_perturbation_is_grey_where_nothing_moved_and_full_at_the_radius():
    clean = np.full((1, 1, 3), 100, np.uint8)
    attacked = np.array([[[92, 100, 108]]], np.uint8)
    assert added(clean, attacked, 8.0).tolist() == [[[0, 128, 255]]]


def test_large_images_are_thinned_out_for_the_page():
    assert thumbnail(np.zeros((3, 224, 224), np.uint8)).shape == (3, 75, 75)
    assert thumbnail(np.zeros((1, LARGEST, 28), np.uint8)).shape == (1, LARGEST, 28)
