"""Figures as text of a page: escaped, in the page's colours, ids of their own."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest
from builders import noise
from PIL import Image

from components.figures.charts import learning_svg, quality_svg
from components.figures.pictures import to_data_uri
from components.figures.space import scatter_svg

RUDE = '<script>alert("1")</script> & $\\frac$'
UNDERSCORED = "_v"
POINTS = np.random.default_rng(0).normal(size=(40, 2))


def scatter(name: str = "a") -> str:
    groups = [RUDE, UNDERSCORED, "round", "square"] * 10
    return scatter_svg(POINTS, groups, name=name, description=f"of {RUDE}")


def learning() -> str:
    return learning_svg([0, 1], [20, 40], {"loss": [2, 1]}, name="l", description="curves")


def quality() -> str:
    scores = {RUDE: {"map": 60, "map_low": 50, "map_high": 70}}
    others = {"random": {RUDE: 20.0}, "nobody": {}}
    return quality_svg(scores, others, name="q", description="scores")


@pytest.mark.parametrize("draw", [scatter, learning, quality])
def test_a_figure_is_an_element_that_loads_nothing(draw):
    text = draw()
    root = ET.fromstring(text)
    wide, narrow = (element for element in root.iter() if element.tag.endswith("svg"))
    for chart in (wide, narrow):
        assert chart.get("role") == "img"
        assert chart.get("aria-label")
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    links = re.findall(r'(?:href|src)="([^"]*)"', text)
    assert all(link.startswith("#") for link in links)
    assert "currentColor" in text
    assert "#000000" not in text, "black would not be seen on black"
    assert draw() == text


@pytest.mark.parametrize("draw", [scatter, learning, quality])
def test_a_chart_is_drawn_for_a_wide_screen_and_for_a_phone(draw):
    """Text is as large in both: 9 or 10 units of the view box, which are a 72nd of an inch."""
    text = draw()
    widths = [float(width) for width in re.findall(r'viewBox="0 0 ([\d.]+)', text)]
    assert widths == pytest.approx([12.6 * 72, 3.8 * 72], abs=1)
    sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", text)}
    assert sizes <= {9, 10}
    assert sizes
    forms = [html.split("</svg>")[0] for html in text.split('<div class="')[1:]]
    assert [form.split('"')[0] for form in forms] == ["wide", "narrow"]


def test_a_name_may_begin_with_an_underscore():
    assert f"{UNDERSCORED} (10)" in scatter()


@pytest.mark.parametrize("draw", [scatter, quality])
def test_names_from_the_data_are_shown_as_they_are(draw):
    texts = ["".join(element.itertext()) for element in ET.fromstring(draw()).iter()]
    assert any(RUDE in text for text in texts)


def test_references_lead_to_ids_and_two_figures_do_not_mix():
    ids = []
    for name in ("first", "second"):
        text = scatter(name)
        own = re.findall(r'\bid="([^"]*)"', text)
        used = re.findall(r'href="#([^"]*)"', text) + re.findall(r"url\(#([^)]*)\)", text)
        assert used
        assert {*used} <= {*own}
        ids.append({*own})
    assert not ids[0] & ids[1]


def markers(text: str) -> Counter[tuple[str, ...]]:
    """Returns how many points have which shape and colour; the legend's are not clipped."""
    text = text.split("</svg>", maxsplit=1)[0]  # the wide form
    plot = "".join(re.findall(r'<g clip-path="[^"]*">(.*?)</g>', text, re.DOTALL))
    return Counter(re.findall(r'<use [^>]*href="#([^"]*)" [^>]*style="([^"]*)"', plot))


@pytest.mark.parametrize(("num_groups", "num_looks"), [(3, 3), (14, 14), (20, 14)])
def test_groups_look_different_and_all_points_are_there(num_groups, num_looks):
    # group g has g + 2 points
    groups = [f"g{group}" for group in range(num_groups) for _ in range(group + 2)]
    points = np.random.default_rng(0).normal(size=(len(groups), 2))
    text = scatter_svg(points, groups, name="a", description="")
    counts = sorted(markers(text).values())
    sizes = sorted(groups.count(group) for group in set(groups))
    if num_groups > 14:
        sizes = sorted([*sizes[-13:], sum(sizes[:-13])])
        assert f"others ({sum(range(2, 9))})" in text
    assert counts == sizes
    assert len(counts) == num_looks


def test_a_picture_becomes_a_smaller_webp():
    uri = to_data_uri(np.asarray(noise(200, 100)), side_px=50)
    kind, data = uri.split(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert (picture.format, picture.size) == ("WEBP", (50, 25))
