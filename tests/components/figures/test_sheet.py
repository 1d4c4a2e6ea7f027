"""Contact sheets: the frames tell who agrees."""

from pathlib import Path

from PIL import Image, ImageColor

from components.figures.sheet import FRAME_COLOURS, Tile, write_tiles


def test_pictures_stand_in_order_in_frames_of_their_colours(tmp_path: Path) -> None:
    tiles = []
    for name in FRAME_COLOURS:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (30, 50), "yellow").save(path)
        tiles.append(Tile(path, name, (name, "v")))
    out = tmp_path / "sheets/sheet.png"
    write_tiles(tiles, out, title="nearest in neckline")
    with Image.open(out) as image:
        pixels = image.convert("RGB")
        y = 14 + 40 + 3  # inside the frame of the first row of tiles
        frames = [pixels.getpixel((14 + column * 194 + 90, y)) for column in range(4)]
    assert [*FRAME_COLOURS] == ["query", "agrees", "differs", "unknown"]
    assert frames == [ImageColor.getrgb(colour) for colour in FRAME_COLOURS.values()]
    assert len({*frames}) == 4
