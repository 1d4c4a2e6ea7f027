"""Contact sheets of a search: the query, then its neighbours, framed by whether they agree.

Source of the frames: AG-MAN Fig. 5, black where the value agrees with the query's, red where not.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from components import files

AGREES, DIFFERS, UNKNOWN, QUERY = "black", "#d62728", "#b0b0b0", "#1f77b4"

_TILE_PX = 180
_FRAME_PX = 6
_GAP_PX = 14
_CAPTION_PX = 40
_COLUMNS = 6
_FONT_PX = 14


@dataclass(frozen=True, kw_only=True)
class Item:
    """A picture of a sheet: its file, its values of the attribute, its similarity to the query."""

    path: Path
    values: Set[str]
    similarity: float = 1.0

    @property
    def value(self) -> str:
        """The values as shown to people."""
        return ", ".join(sorted(self.values)) or "no label"


def frame_colour(values: Set[str], query_values: Set[str]) -> str:
    """Returns the colour of an item's frame; grey where its value or the query's is unknown."""
    if not values or not query_values:
        return UNKNOWN
    return AGREES if values & query_values else DIFFERS


def write_search_sheet(query: Item, found: Sequence[Item], out: Path, *, attribute: str) -> None:
    """Writes a PNG: the query in blue, then what was found, nearest first."""
    tiles = [_Tile(query.path, QUERY, ("query", query.value))]
    for rank, item in enumerate(found, start=1):
        captions = (f"{rank}.  {item.similarity:.3f}", item.value)
        tiles.append(_Tile(item.path, frame_colour(item.values, query.values), captions))
    _write_tiles(tiles, out, title=f"nearest in {attribute}: black agrees, red differs")


class _Tile(NamedTuple):
    path: Path
    frame: str
    captions: tuple[str, str]


def _write_tiles(tiles: Sequence[_Tile], out: Path, *, title: str) -> None:
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


def _framed(tile: _Tile) -> Image.Image:
    inner = _TILE_PX - 2 * _FRAME_PX
    with Image.open(tile.path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    picture = ImageOps.pad(upright, (inner, inner), color="white")
    return ImageOps.expand(picture, border=_FRAME_PX, fill=tile.frame)
