"""Contact sheets: pictures in rows, framed by whether they agree with the query.

Source of the frames: AG-MAN Fig. 5, black where the value agrees with the query's, red where not.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from components import files

Frame = Literal["query", "agrees", "differs", "unknown"]

FRAME_COLOURS = {"query": "#1f77b4", "agrees": "black", "differs": "#d62728", "unknown": "#b0b0b0"}

_TILE_PX = 180
_FRAME_PX = 6
_GAP_PX = 14
_CAPTION_PX = 40
_COLUMNS = 6
_FONT_PX = 14


class Tile(NamedTuple):
    """A picture's file, what its frame says, and the two lines under it."""

    path: Path
    frame: Frame
    captions: tuple[str, str]


def write_tiles(tiles: Sequence[Tile], out: Path, *, title: str) -> None:
    """Writes a PNG of the pictures, six in a row, under a title."""
    step_x = _TILE_PX + _GAP_PX
    step_y = _TILE_PX + _CAPTION_PX + _GAP_PX
    num_rows = -(-len(tiles) // _COLUMNS)
    num_columns = min(len(tiles), _COLUMNS)
    size = (num_columns * step_x + _GAP_PX, num_rows * step_y + _GAP_PX + _CAPTION_PX)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_PX)
    draw.text((_GAP_PX, _GAP_PX), title, fill="black", font=font)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _COLUMNS)
        x = _GAP_PX + column * step_x
        y = _GAP_PX + _CAPTION_PX + row * step_y
        sheet.paste(_framed(tile), (x, y))
        for line, caption in enumerate(tile.captions):
            place = (x, y + _TILE_PX + 2 + line * (_FONT_PX + 2))
            draw.text(place, caption, fill="black", font=font)
    with files.replacing(out) as temporary:
        sheet.save(temporary, format="PNG")


def _framed(tile: Tile) -> Image.Image:
    inner = _TILE_PX - 2 * _FRAME_PX
    with Image.open(tile.path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    picture = ImageOps.pad(upright, (inner, inner), color="white")
    return ImageOps.expand(picture, border=_FRAME_PX, fill=FRAME_COLOURS[tile.frame])
