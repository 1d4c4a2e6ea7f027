"""Contact sheets: the frames tell who agrees."""

from pathlib import Path

import pytest
from PIL import Image, ImageColor

from components.figures import sheet
from components.figures.sheet import Item, frame_colour, write_search_sheet


@pytest.mark.parametrize(
    ("values", "query_values", "colour"),
    [
        ({"v"}, {"v"}, sheet.AGREES),
        ({"v", "deep_v"}, {"deep_v"}, sheet.AGREES),
        ({"round"}, {"v"}, sheet.DIFFERS),
        (set(), {"v"}, sheet.UNKNOWN),
        ({"v"}, set(), sheet.UNKNOWN),
    ],
)
def test_frame_colour(values: set[str], query_values: set[str], colour: str) -> None:
    assert frame_colour(values, query_values) == colour


def test_the_query_comes_first_then_the_items_in_order(tmp_path: Path) -> None:
    items = []
    for name, value in (("query", "v"), ("same", "v"), ("other", "round"), ("unknown", "")):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (30, 50), "yellow").save(path)
        items.append(Item(path=path, values={value} - {""}, similarity=0.5))
    out = tmp_path / "sheets/sheet.png"
    write_search_sheet(items[0], items[1:], out, attribute="neckline")
    with Image.open(out) as image:
        pixels = image.convert("RGB")
        y = 14 + 40 + 3  # inside the frame of the first row of tiles
        frames = [pixels.getpixel((14 + column * 194 + 90, y)) for column in range(4)]
    expected = [sheet.QUERY, sheet.AGREES, sheet.DIFFERS, sheet.UNKNOWN]
    assert frames == [ImageColor.getrgb(colour) for colour in expected]
