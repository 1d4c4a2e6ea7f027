"""What is true of every picture of a wardrobe: values and boxes of all its attributes."""

import posixpath
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components import files
from components.datasets.labelled import Region

TRUTH_FILE = "truth.parquet"
_EDGES = ("x0", "y0", "x1", "y1")
TRUTH_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("attribute", pa.string()),
        ("labelled", pa.bool_()),
        ("value", pa.string()),
        *((edge, pa.float32()) for edge in _EDGES),
    ]
)
"""One row per image and attribute; `value` and the box in pixels may be null."""


def read_truth(folder: Path, *, root: Path) -> list[Region]:
    """Returns the boxes of the truth that lies in a folder, paths relative to the data root.

    Empty where there is none.
    """
    if not (folder / TRUTH_FILE).exists():
        return []
    truth = files.read_table(folder / TRUTH_FILE, schema=TRUTH_SCHEMA)
    seen = truth.filter(pc.field("x0").is_valid()).select(["path", "attribute", *_EDGES])
    below = folder.relative_to(root).as_posix()
    rows = zip(*seen.to_pydict().values(), strict=True)
    return [Region(posixpath.join(below, path), *others) for path, *others in rows]
