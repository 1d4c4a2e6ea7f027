"""Columns of the table format that say where things are in an image: its box and its landmarks.

`box_left`, `box_top`, `box_right` and `box_bottom` are where its item is, and for each landmark
`landmark_<name>_x`, `landmark_<name>_y` and, if wanted, `landmark_<name>_visibility`, with an
underscore for each blank of the name. All are in pixels of the upright image. Empty cells say
nothing; a landmark with a place and without a visibility is visible.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.datasets.labelled import Box, Landmark
from components.datasets.table_file import TextRow, text_in
from components.errors import HemlineError
from components.tables import VISIBILITIES

BOX = tuple(f"box_{edge}" for edge in ("left", "top", "right", "bottom"))
_LANDMARK = re.compile(r"(landmark_(.+))_(?:x|y|visibility)")


@dataclass(frozen=True, kw_only=True)
class PlaceColumns:
    """Which of these columns a table has.

    `landmarks` has what the columns of each begin with, such as `landmark_left_collar`, by name.
    """

    names: Sequence[str]
    landmarks: Mapping[str, str]

    def box(self, row: TextRow, image: str, *, where: str) -> Box | None:
        """Returns the box in a row; None where its cells are empty.

        Raises:
            HemlineError: some of them are empty, or none is a number.
        """
        edges = [_number(row, name, where=where) for name in BOX if name in self.names]
        known = [edge for edge in edges if edge is not None]
        if not known:
            return None
        if len(known) < len(BOX):
            empty = BOX[edges.index(None)]
            raise HemlineError(f"{where}: column {empty} is empty; a box needs all four, or none")
        return Box(image, *known)

    def points(self, row: TextRow, image: str, *, where: str) -> dict[str, Landmark]:
        """Returns the landmarks in a row, by name.

        Raises:
            HemlineError: a place is half empty or no number, or a visibility is unknown.
        """
        return {
            name: Landmark(image, name, *point)
            for name, column in self.landmarks.items()
            if (point := _point(row, column, where=where))
        }


def place_columns(columns: Sequence[str], *, path: Path) -> PlaceColumns:
    """Returns which columns of a table are boxes and landmarks.

    Raises:
        HemlineError: one is missing beside the others.
    """
    landmarks = {
        found[2].replace("_", " "): found[1]
        for name in columns
        if (found := _LANDMARK.fullmatch(name))
    }
    begin = landmarks.values()
    needed = [f"{landmark}_{axis}" for landmark in begin for axis in ("x", "y")]
    needed += BOX if {*BOX} & {*columns} else ()
    if missing := [name for name in needed if name not in columns]:
        raise HemlineError(
            f"{path}: column {missing[0]} is missing; a box has {', '.join(BOX)}, a landmark "
            "landmark_<name>_x and landmark_<name>_y"
        )
    told = [name for landmark in begin if (name := f"{landmark}_visibility") in columns]
    return PlaceColumns(names=(*needed, *told), landmarks=landmarks)


def _point(row: TextRow, column: str, *, where: str) -> tuple[float, float, str] | None:
    """Returns x, y and visibility of a landmark; None where nothing is said of it."""
    visibility = text_in(row, f"{column}_visibility", where=where)
    if visibility and visibility not in VISIBILITIES:
        raise HemlineError(
            f"{where}: {column}_visibility {visibility!r} is unknown; allowed are "
            f"{', '.join(VISIBILITIES)}, or nothing"
        )
    if visibility == "absent":
        return 0, 0, visibility
    x, y = (_number(row, f"{column}_{axis}", where=where) for axis in ("x", "y"))
    if x is not None and y is not None:
        return x, y, visibility or VISIBILITIES[0]
    if x is None and y is None and not visibility:
        return None
    empty = f"{column}_x" if x is None else f"{column}_y"
    raise HemlineError(f"{where}: column {empty} is empty; a landmark that is there has x and y")


def _number(row: TextRow, column: str, *, where: str) -> float | None:
    text = text_in(row, column, where=where)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise HemlineError(f"{where}: column {column} has {text!r}; expected a number, or nothing")
    return number
