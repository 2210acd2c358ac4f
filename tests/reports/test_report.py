import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ignota.reports.charts import Curve, curve_svg, series_class, thin
from ignota.reports.report import (
    Highlights,
    Legend,
    PictureRow,
    Report,
    Section,
    Table,
    picture_uri,
    render_report,
    write_report,
)
from ignota.structures import InputError

VOID_TAGS = {"meta", "img", "br"}
HOSTILE = '<script>alert("1")</script>&\'"'


class Page(HTMLParser):
    """Collects tags and attributes, and fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words += data


def noise(height=40, width=60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def sample(text: str = "words") -> Report:
    items = (
        Highlights(((text, text),)),
        Legend(((text, (1, 2, 300)),)),
        Table(text, (text, "value"), ((text, 1.0), (text, 2.0)), text, ("", "higher")),
        Curve(text, text, text, {text: ([0, 1], [1, 2])}, text),
        PictureRow(text, ((text, noise()), (text, np.zeros((5, 5, 3), np.uint8)))),
    )
    return Report(
        text, text, tuple(Section(text, f"{text}\n\n{text}", items) for _ in range(3)), {text: text, "n": {"a": 1}}
    )


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_the_page_is_well_formed_and_needs_nothing_beside_itself():
    text = render_report(sample())
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object")
        for name in ("src", "href"):
            value = attributes.get(name) or "data:"
            assert value.startswith(("data:", "#"))
    assert "http" not in text.replace("http-equiv", "").replace("Content-Security-Policy", "")
    assert "@import" not in text and "url(" not in text


def test_the_content_policy_names_the_style_and_script_that_are_there():
    text = render_report(sample())
    policy = next(attributes["content"] for tag, attributes in Page(text).tags if "http-equiv" in attributes)
    for tag in ("style", "script"):
        source = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r'<[^>]+ style="|<[^>]+ on\w+="', text)


def test_all_text_is_escaped_everywhere():
    plain, hostile = Page(render_report(sample())), Page(render_report(sample(HOSTILE)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(a) for _, a in hostile.tags] == [sorted(a) for _, a in plain.tags]
    assert hostile.words.count(HOSTILE) == plain.words.count("words")


def test_the_best_value_is_bold_and_numbers_stand_flush():
    text = render_report(Report("t", "", (Section("s", items=(sample().sections[0].items[2],)),)))
    assert '<td class="number">1.0</td>' in text and '<td class="number best">2.0</td>' in text
    assert '<th scope="col" class="number">value</th>' in text


def test_tables_and_curves_stand_side_by_side():
    table, curve = sample().sections[0].items[2:4]
    text = render_report(Report("t", "", (Section("s", items=(table, table, curve, curve, table)),)))
    assert text.count('class="tables"') == 2 and text.count('class="curves"') == 1


def test_the_same_report_gives_the_same_bytes(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, sample())
    first = path.read_bytes()
    write_report(path, sample())
    assert path.read_bytes() == first == render_report(sample()).encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_that_cannot_be_written_is_said_in_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path / "missing" / "report.html", sample())


def test_an_empty_report_is_a_page():
    Page(render_report(Report("", "", ())))
    Page(
        render_report(
            Report("t", "s", (Section("s", "", (Table("t", (), ()), Curve("c", "x", "y", {}), PictureRow("p", ()))),))
        )
    )


def test_photographs_become_small_jpegs():
    uri, size = picture_uri(noise(500, 1000))
    picture = decoded(uri)
    assert uri.startswith("data:image/jpeg") and picture.size == (640, 320) and size == (320, 640)


def test_label_maps_become_indexed_pngs_with_exact_colours():
    labels = np.kron(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
    uri, size = picture_uri(labels)
    picture = decoded(uri)
    assert uri.startswith("data:image/png") and picture.mode == "P" and size == (80, 120)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), labels)
    wide = decoded(picture_uri(np.repeat(labels, 8, axis=1))[0]).convert("RGB")
    assert wide.size == (640, 53)
    assert {colour for _, colour in wide.getcolors()} <= {tuple(colour) for colour in labels.reshape(-1, 3).tolist()}


def test_noise_of_few_colours_becomes_a_jpeg():
    grey = np.repeat(np.random.default_rng(0).integers(0, 250, (200, 200, 1), np.uint8), 3, axis=2)
    smooth = np.repeat(np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (200, 1, 1)), 3, axis=2)
    assert picture_uri(grey, quality=20)[0].startswith("data:image/jpeg")
    assert picture_uri(smooth)[0].startswith("data:image/png")


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):  # a TypeError where shapes are checked while testing
        picture_uri(wrong)


def test_a_curve_runs_from_corner_to_corner_of_its_ticks():
    svg = curve_svg(Curve("t", "x", "y", {"a": ([0.0, 0.5, 1.0], [1.0, 0.5, 0.0])}))
    points = re.search(r'points="([^"]+)"', svg)[1]
    assert points == "52.0,10.0 280.0,153.0 508.0,296.0"
    assert all(f">{tick}</text>" in svg for tick in ("0", "0.2", "0.4", "0.6", "0.8", "1"))


@pytest.mark.parametrize(
    ("xs", "ys"),
    [([], []), ([3], [4]), ([1, 1], [2, 2]), ([0, np.nan, 2], [0, 1, np.inf]), ([1e-9, 2e-9], [-1e12, 1e12])],
)
def test_odd_curves_are_drawn_without_complaint(xs, ys):
    svg = curve_svg(Curve("t", "x", "y", {"a": (xs, ys)}))
    assert "nan" not in svg and "inf" not in svg
    assert ("polyline" in svg) == (len(xs) == 2) and ("circle" in svg) == (len(xs) in (1, 3))


def test_series_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="'a' has 2 xs and 1 ys"):
        curve_svg(Curve("t", "x", "y", {"a": ([1, 2], [1])}))


def test_thinning_keeps_ends_and_cliffs():
    xs = np.linspace(0, 1, 100_001)
    line = np.stack([xs, (xs < 0.5).astype(float)], axis=1)
    few = thin(line, 100)
    assert len(few) <= 100
    np.testing.assert_array_equal(few[[0, -1]], line[[0, -1]])
    before, after = few[few[:, 1] == 1][-1, 0], few[few[:, 1] == 0][0, 0]
    assert before > 0.47 and after < 0.53
    np.testing.assert_array_equal(thin(line[:50], 100), line[:50])


@pytest.mark.parametrize("stretch", [1.0, 1e6])
def test_thinning_spends_points_on_cliffs_whatever_the_units(stretch):
    xs = np.concatenate([np.linspace(0, 0.5, 1000), np.linspace(0.5, 0.501, 1000), np.linspace(0.501, 1, 1000)])
    line = np.stack([xs * stretch, np.interp(xs, [0, 0.5, 0.501, 1], [1, 1, 0, 0])], axis=1)
    few = thin(line, 100)
    assert 40 <= ((few[:, 1] > 0) & (few[:, 1] < 1)).sum() <= 60


def test_more_series_than_colours_are_dashed():
    assert series_class(3) == "s3" and series_class(11) == "s3 dashed"
