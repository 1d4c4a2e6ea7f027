"""Contact sheets: pictures in rows, framed by whether they agree with the query."""

from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from components import files
from components.figures.frames import FRAMES, Kind

_TILE_PX = 180
_FRAME_PX = 6
_GAP_PX = 14
_CAPTION_PX = 40
_COLUMNS = 6
_FONT_PX = 14
_BADGE_PX = 26
_DASHES_PX = {"dashed": (18, 9), "dotted": (6, 6)}  # length, and gap behind it

# strokes of the signs in a square of side 1: the font has no glyphs of them
_STROKES = {
    "✓": [[(0.22, 0.55), (0.42, 0.75), (0.8, 0.28)]],
    "✗": [[(0.26, 0.26), (0.74, 0.74)], [(0.26, 0.74), (0.74, 0.26)]],
}


class Tile(NamedTuple):
    """A picture's file, what its frame says, the two lines under it, and what of it is shown.

    That is left, top, right and bottom in pixels of the upright picture; None: all of it.
    """

    path: Path
    kind: Kind
    captions: tuple[str, str]
    box: tuple[float, float, float, float] | None = None


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
    """Returns a picture in its frame, with its sign in the corner."""
    inner = _TILE_PX - 2 * _FRAME_PX
    with Image.open(tile.path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    if tile.box:
        left, top, right, bottom = tile.box
        upright = upright.crop((floor(left), floor(top), ceil(right), ceil(bottom)))
    picture = ImageOps.pad(upright, (inner, inner), color="white")
    framed = _frame(tile.kind)
    framed.paste(picture, (_FRAME_PX, _FRAME_PX))
    if FRAMES[tile.kind].sign:
        framed.paste(_badge(tile.kind), (_TILE_PX - _BADGE_PX, 0))
    return framed


def _frame(kind: Kind) -> Image.Image:
    """Returns an empty tile in the frame's line."""
    frame = FRAMES[kind]
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX), "white")
    draw = ImageDraw.Draw(tile)
    far = _TILE_PX - 1
    if frame.line in _DASHES_PX:
        length, gap = _DASHES_PX[frame.line]
        for start in range(0, _TILE_PX, length + gap):
            for box in (
                (start, 0, start + length - 1, _FRAME_PX - 1),
                (start, far - _FRAME_PX + 1, start + length - 1, far),
            ):
                draw.rectangle(box, fill=frame.colour)
                draw.rectangle((box[1], box[0], box[3], box[2]), fill=frame.colour)
    else:
        draw.rectangle((0, 0, far, far), fill=frame.colour)
    if frame.line == "double":
        third = _FRAME_PX // 3
        draw.rectangle((third, third, far - third, far - third), outline="white", width=third)
    return tile


def _badge(kind: Kind) -> Image.Image:
    """Returns the sign in white on the frame's colour."""
    frame = FRAMES[kind]
    badge = Image.new("RGB", (_BADGE_PX, _BADGE_PX), frame.colour)
    draw = ImageDraw.Draw(badge)
    for stroke in _STROKES.get(frame.sign, ()):
        draw.line([(x * _BADGE_PX, y * _BADGE_PX) for x, y in stroke], fill="white", width=4)
    if frame.sign not in _STROKES:
        middle = (_BADGE_PX / 2, _BADGE_PX / 2)
        font = ImageFont.load_default(20)
        draw.text(middle, frame.sign, fill="white", font=font, anchor="mm")
    return badge
