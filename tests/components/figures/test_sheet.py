"""Contact sheets: frames and signs tell who agrees, in any colours."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from components.figures.frames import FRAMES
from components.figures.sheet import Tile, write_tiles

SIDE, FRAME, GAP, TITLE, BADGE = 180, 6, 14, 40, 26


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The tile [S, S, 3] of every kind on one sheet."""
    folder = tmp_path_factory.mktemp("sheet")
    made = []
    for kind in FRAMES:
        path = folder / f"{kind}.png"
        Image.new("RGB", (50, 50), "yellow").save(path)
        made.append(Tile(path, kind, (kind, "v")))
    out = folder / "sheets/sheet.png"
    write_tiles(made, out, title="nearest in neckline")
    with Image.open(out) as image:
        pixels = np.asarray(image.convert("RGB"))
    y = GAP + TITLE
    return {
        kind: pixels[y : y + SIDE, x : x + SIDE]
        for kind, x in zip(FRAMES, range(GAP, 10 * SIDE, SIDE + GAP), strict=False)
    }


def line(tile: np.ndarray, kind: str) -> np.ndarray:
    """Returns where the outermost pixels of the lower edge have the frame's colour [S]."""
    return (tile[-1] == ImageColor.getrgb(FRAMES[kind].colour)).all(axis=-1)


def test_lines_are_solid_dashed_dotted_and_double(tiles: dict[str, np.ndarray]) -> None:
    runs = {
        kind: int((np.diff(line(tile, kind).astype(int)) == 1).sum())
        for kind, tile in tiles.items()
    }
    assert line(tiles["agrees"], "agrees").all()
    assert line(tiles["query"], "query").all()
    assert 4 < runs["differs"] < runs["unknown"]
    assert 0.5 < line(tiles["differs"], "differs").mean() < 0.8
    # across the lower edge: the frame's colour, white, the frame's colour, the picture
    across = tiles["query"][::-1, SIDE // 2][:FRAME]
    assert [tuple(x) == (255, 255, 255) for x in across.tolist()] == [False] * 2 + [True] * 2 + [
        False
    ] * 2


def test_signs_are_drawn_in_the_corner(tiles: dict[str, np.ndarray]) -> None:
    """White strokes on the frame's colour: a check, a cross, a question mark, nothing."""
    white = {kind: (tile[:BADGE, -BADGE:] > 200).all(axis=-1) for kind, tile in tiles.items()}
    assert white["agrees"].sum() > 40
    assert white["differs"].sum() > 40
    assert white["unknown"].sum() > 20
    assert (tiles["query"][FRAME:BADGE, -BADGE:-FRAME] == ImageColor.getrgb("yellow")).all()
    cross, check = white["differs"], white["agrees"]
    np.testing.assert_array_equal(cross[8:18, 8:18], cross[8:18, 8:18].T)  # of two diagonals
    left, right = check[:, : BADGE // 2], check[:, BADGE // 2 :]
    assert left.any(axis=1).argmax() > right.any(axis=1).argmax()  # the right arm is the longer one


def test_pictures_stand_inside_their_frames(tiles: dict[str, np.ndarray]) -> None:
    for tile in tiles.values():
        inner = tile[BADGE:-FRAME, FRAME:-FRAME]
        assert (inner == ImageColor.getrgb("yellow")).all()


def test_a_tile_may_show_a_region_of_its_picture(tmp_path) -> None:
    image = Image.new("RGB", (60, 40), "yellow")
    image.paste("blue", (10, 5, 30, 25))
    image.save(tmp_path / "a.png")
    tile = Tile(tmp_path / "a.png", "query", ("query", "v"), (10.0, 5.0, 30.0, 25.0))
    write_tiles([tile], tmp_path / "sheet.png", title="of a region")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    inside = pixels[GAP + TITLE :, GAP:][FRAME : SIDE - FRAME, FRAME : SIDE - FRAME]
    assert (inside[BADGE:, :-BADGE] == ImageColor.getrgb("blue")).all()
