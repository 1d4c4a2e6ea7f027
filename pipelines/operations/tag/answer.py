"""What `hemline tag` answers: tables for people, JSON for programs, and a sheet of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from components.errors import HemlineError
from components.figures.sheet import Tile, write_tiles
from components.images.paths import region_of
from components.tagging.audit import Accuracy, Doubt
from components.tagging.folder import VALUES, TagsFolder
from pipelines.shell.reporting import console, plain, print_with_paths, table

_FITTED = (
    "labels of train are fitted: network and prototypes were made from them, wrong ones included, "
    "so that more of them may be wrong than are listed, and accuracy on them says little"
)


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """What was written, and what labels say of it.

    Attributes:
        folder: the folder of the tags.
        num_made: parts of an attribute that were made; the others were there.
        measured: how often tags are right, by attribute; {} without labels.
        doubts: labels that look wrong, most doubtful first; None where they were not asked for.
        addresses: path or address of each of their files.
    """

    folder: TagsFolder
    num_made: int
    measured: dict[str, list[Accuracy]]
    doubts: Sequence[Doubt] | None
    addresses: Sequence[str]


def content_of(tagged: Tagged) -> dict[str, Any]:
    """Returns the answer for programs; shares are percentages."""
    made = tagged.folder
    return {
        "model": f"models:/{made.model_name}/{made.model_version}",
        "tags": str(made.folder / VALUES),
        "num_items": made.num_items,
        "num_parts": len(made.crc32),
        "num_made": tagged.num_made,
        "calibrations": made.calibrations,
        "accuracy": [
            {
                "attribute": name,
                "split": row.split,
                "num_items": row.num_items,
                "accuracy": 100 * row.accuracy,
                "most_frequent": 100 * row.most_frequent,
                "calibration_error": 100 * row.calibration_error,
            }
            for name, rows in tagged.measured.items()
            for row in rows
        ],
        "doubts": [
            {
                "rank": rank,
                "image": doubt.image,
                "path": address,
                "split": doubt.split,
                "is_fitted": doubt.split == "train",
                "attribute": doubt.attribute,
                "labels": doubt.labels,
                "value": doubt.value,
                "confidence": 100 * doubt.confidence,
                "log_odds": doubt.log_odds,
            }
            for rank, (doubt, address) in enumerate(
                zip(tagged.doubts or (), tagged.addresses, strict=True), start=1
            )
        ],
    }


def print_tables(tagged: Tagged) -> None:
    """Prints accuracies, and the labels that look wrong where they were asked for."""
    if tagged.measured:
        console.print(
            table(
                "tags that are one of an item's labels, percent",
                ["attribute", "split"],
                ["items", "right", "most frequent value", "calibration error"],
                rows=[
                    (
                        name,
                        row.split,
                        str(row.num_items),
                        *(
                            f"{100 * share:.1f}"
                            for share in (row.accuracy, row.most_frequent, row.calibration_error)
                        ),
                    )
                    for name, rows in tagged.measured.items()
                    for row in rows
                ],
            )
        )
    if tagged.doubts is not None:
        print_with_paths(partial(_table_of_doubts, tagged.doubts), tagged.addresses)
        if any(doubt.split == "train" for doubt in tagged.doubts):
            console.print(plain(f"note: {_FITTED}"))
    made = tagged.folder
    console.print(plain(f"{made.num_items} items, {len(made.calibrations)} attributes"))
    console.print(plain(f"table: {made.folder / VALUES}"))


def _table_of_doubts(doubts: Sequence[Doubt], paths: Sequence[str]) -> Table:
    rows = [
        (
            str(rank),
            doubt.attribute,
            ", ".join(doubt.labels),
            doubt.value,
            f"{100 * doubt.confidence:.1f}",
            doubt.split,
            str(doubt.image),
            path,
        )
        for rank, (doubt, path) in enumerate(zip(doubts, paths, strict=True), start=1)
    ]
    columns = ["", "attribute", "label", "likely", "percent", "split", "image", "path"]
    found = table("labels that the model contradicts most", columns, rows=rows)
    for column in ("", "percent", "image"):
        place = columns.index(column)
        found.columns[place].justify, found.columns[place].no_wrap = "right", True
    return found


def write_sheet(tagged: Tagged, out: Path) -> None:
    """Writes a contact sheet of the labels that look wrong.

    Raises:
        HemlineError: a picture is missing, or there is none.
    """
    doubts = tagged.doubts or ()
    places = [region_of(Path(address)) for address in tagged.addresses]
    missing = [file for file, _ in places if not file.is_file()]
    if missing or not doubts:
        why = f"{missing[0]} is missing" if missing else "no label is contradicted"
        raise HemlineError(f"no sheet: {why}; leave --sheet out")
    tiles = [
        Tile(
            file,
            "differs",
            (
                f"{rank}.  {doubt.attribute}",
                f"{', '.join(doubt.labels)}: {doubt.value}? {100 * doubt.confidence:.0f}%",
            ),
            box,
        )
        for rank, (doubt, (file, box)) in enumerate(zip(doubts, places, strict=True), start=1)
    ]
    write_tiles(tiles, out, title="labels, and what the model takes the pictures for")
