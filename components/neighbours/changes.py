"""What changed among items since their lists were made, and which lists that leaves.

A list stays right where nothing in it went: then only items that came can be nearer than the last.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import files
from components.errors import HemlineError
from components.neighbours.folder import (
    COMPARED,
    Comparison,
    Method,
    NeighboursFolder,
    items_path,
)

_MOST_CHANGED: dict[Method, float] = {"exact": 0.5, "index": 0.01}
"""Share of the items, beyond which all lists are made again: comparing with all that came, and
making the lists of what went, would take as long."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What became of the items of earlier lists.

    Attributes:
        kept_n: whether an item of today is as it was, by its place.
        came_n: whether it may be a neighbour now, and could not be or was another before.
        gone: numbers of the images that could be neighbours, and cannot now or are others now.
        parts: paths of the earlier parts by their index.
        made_from: digest of what the earlier lists were made from.
    """

    kept_n: NDArray[np.bool_]
    came_n: NDArray[np.bool_]
    gone: NDArray[np.int64]
    parts: dict[int, Path]
    made_from: str


def changes_since(
    earlier: NeighboursFolder | None,
    comparison: Comparison | None,
    compared: pa.Table,
    *,
    method: Method,
) -> Changes | None:
    """Returns what changed since a comparison was made; None where its lists are of no use.

    Args:
        earlier: what the folder holds.
        comparison: the same comparison in it, with as many neighbours, if there is one.
        compared: the items of today, as `COMPARED`.
        method: how all lists would be made again.
    """
    if earlier is None or comparison is None:
        return None
    parts = {
        int(part.key.partition("-")[0]): earlier.part_path(comparison, part)
        for part in comparison.parts
    }
    if not earlier.is_whole(comparison):
        return None
    try:
        path = items_path(earlier.folder, comparison.made_from)
        before = files.read_table(path, schema=COMPARED)
    except HemlineError:
        return None
    same_n, same_b = _same(compared, before)
    could_n, could_b = (each["may_be_found"].to_numpy() for each in (compared, before))
    both_n, both_b = same_n.copy(), same_b.copy()
    both_n[same_n] &= could_b[same_b]
    both_b[same_b] &= could_n[same_n]
    came_n, gone_b = could_n & ~both_n, could_b & ~both_b
    num_changed = int(came_n.sum() + gone_b.sum())
    if num_changed > _MOST_CHANGED[method] * len(compared):
        return None
    return Changes(
        kept_n=same_n,
        came_n=came_n,
        gone=before["image"].to_numpy()[gone_b],
        parts=parts,
        made_from=comparison.made_from,
    )


def _same(now: pa.Table, before: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which rows of both tables are the same item, unchanged; as many of each."""
    images_n, images_b = now["image"].to_numpy(), before["image"].to_numpy()
    _, rows_n, rows_b = np.intersect1d(images_n, images_b, assume_unique=True, return_indices=True)
    prints_n, prints_b = now["fingerprint"].to_numpy(), before["fingerprint"].to_numpy()
    equal = prints_n[rows_n] == prints_b[rows_b]
    same_n, same_b = np.zeros(len(now), bool), np.zeros(len(before), bool)
    same_n[rows_n[equal]] = same_b[rows_b[equal]] = True
    return same_n, same_b
