"""The page stands alone, says in words what it shows, and shows names as they are."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from small_report import report

from components.report.compose import render

RUDE = '<script>alert(1)</script>"><img src=x onerror="alert(2)"> & ünïcode_\U0001f457'
# what loads something, by the elements that do
LOADING = {"src", "href", "xlink:href", "srcset", "data", "poster", "action"}


class Page(HTMLParser):
    """The elements of a page, its texts, and how deep elements lie open at its end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(report(rude=RUDE)))


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in page.elements:
        for name in LOADING & attributes.keys():
            assert attributes[name].startswith(("#", "data:image/webp;base64,")), (tag, name)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    (style,) = [text for text in page.texts if ":root" in text]
    assert "url(" not in style
    assert "@import" not in style


def test_names_from_the_data_are_text(page):
    assert page.open == []
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    (heading,) = [text for text in page.texts if text.startswith(f"title {RUDE[:8]}")][1:]
    assert heading == f"title {RUDE}"


def test_a_name_reads_as_it_is_in_every_place():
    plain = Page(render(report(rude="v_neck")))
    assert "".join(plain.texts).count("v_neck") > 20
    assert len(plain.elements) > 100
    rude = Page(render(report(rude="<b>v_neck")))
    assert len(rude.elements) == len(plain.elements)
    assert "".join(rude.texts).count("<b>v_neck") == "".join(plain.texts).count("v_neck")


def test_pictures_and_charts_are_told_in_words(page):
    pictures = page.of("img")
    assert len(pictures) > 10
    assert all(attributes["alt"] for attributes in pictures)
    charts = page.of("svg")
    assert len(charts) == 2 * 4  # each for screens and for phones
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("caption")) == len(page.of("table")) == 7
    assert {attributes["scope"] for attributes in page.of("th")} == {"col", "row"}


def test_headings_step_down_by_one_and_contents_lead_to_them(page):
    levels = [int(tag[1]) for tag, _ in page.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    links = [attributes["href"] for attributes in page.of("a")]
    assert len(links) == 8
    assert {link.removeprefix("#") for link in links} <= {*ids}


def test_every_framed_picture_carries_a_sign():
    texts = "".join(Page(render(report())).texts)
    for sign, lines in (("✓", "1. 0.9"), ("✗", "2. 0.8")):
        assert f"{sign} {lines}" in texts


def test_what_there_is_not_is_said():
    whole = report()
    bare = replace(whole.attributes[0], attention=None, confused=[], triplets=[])
    text = render(replace(whole, papers=None, attention=[], failures=[], attributes=[bare]))
    assert "No query found less than half" in text
    assert "No query's nearest items have another value" in text
    assert "Not drawn." in text
    assert 'href="#attention"' not in text
