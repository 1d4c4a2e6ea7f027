"""All items' neighbours, by one comparison after another: those that a folder lacks are made.

A part's key is a hash of everything that its lists are made from, so a run that was killed resumes
where it stopped, and one that is repeated makes nothing. Where items came, changed or went, lists
are made from earlier ones as far as these stay right (`changes.py`); exact lists are then the same
as if all were made in whole, to the bit, and have the same keys.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components import files
from components.embedding.embeddings import Embeddings
from components.images import keyed_parts
from components.neighbours.by_index import Probes, measured_probes
from components.neighbours.changes import changes_since
from components.neighbours.folder import (
    COMPARED,
    MANIFEST,
    NEAREST,
    NEIGHBOURS,
    Comparison,
    NeighbourPart,
    NeighboursFolder,
    bring_in,
    comparison_name,
    items_path,
    part_file,
    read_neighbours,
)
from components.neighbours.parts import PartMade, PartsMaker
from components.neighbours.wanted import Wanted
from components.search.finder import Finder
from components.search.index import build_index, read_index
from components.search.request import SearchRequest

OnProgress = Callable[[int], None]
"""Called with the number of lists done since its last call."""

Say = Callable[[str], None]
"""Called with what is being done."""

RunParts = Callable[[PartsMaker, list[tuple[str, slice]]], Iterator[PartMade]]
"""Makes parts of the given keys and rows, yields them in any order."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a run did: the folder, and how many lists it made in whole, from earlier ones, or kept.

    Lists in parts that were there, of a killed run too, are kept.
    """

    folder: NeighboursFolder
    num_whole: int
    num_merged: int
    num_kept: int


def make_neighbours(
    finder: Finder,
    embedded: Embeddings,
    requests: Sequence[SearchRequest],
    out: Path,
    *,
    run_parts: RunParts,
    work: AbstractContextManager[OnProgress],
    say: Say = lambda text: None,
) -> Made:
    """Returns all items' neighbours by each request, and makes those that are missing.

    Args:
        finder: over the embeddings: it knows which items a request allows.
        embedded: the embeddings.
        requests: one for each comparison, with the same `top_k` and conditions.
        out: folder of the neighbours.
        run_parts: makes parts, here or on Ray.
        work: entered where anything is left to make; gives a function that is told of progress.
        say: told what takes long.
    """
    earlier = read_neighbours(out) if (out / MANIFEST).exists() else None
    made_before = tuple(_as_it_was(finder, embedded, request, earlier) for request in requests)
    if all(made_before):
        folder = _manifest(embedded, requests, [each for each in made_before if each], out)
        bring_in(folder)
        kept = sum(part.num_items for each in folder.comparisons for part in each.parts)
        return Made(folder=folder, num_whole=0, num_merged=0, num_kept=kept)
    comparisons, counts = [], np.zeros(3, int)
    with work as on_progress:
        for request, before in zip(requests, made_before, strict=True):
            if before is not None:
                num_items = sum(part.num_items for part in before.parts)
                on_progress(num_items)
                comparisons.append(before)
                counts += (0, 0, num_items)
                continue
            comparison, its_counts = _compare(
                Wanted.read(finder, embedded, request),
                embedded,
                earlier,
                out,
                run_parts=run_parts,
                on_progress=on_progress,
                say=say,
            )
            comparisons.append(comparison)
            counts += its_counts
    folder = _manifest(embedded, requests, comparisons, out)
    bring_in(folder)
    num_whole, num_merged, num_kept = counts.tolist()
    return Made(folder=folder, num_whole=num_whole, num_merged=num_merged, num_kept=num_kept)


def _as_it_was(
    finder: Finder,
    embedded: Embeddings,
    request: SearchRequest,
    earlier: NeighboursFolder | None,
) -> Comparison | None:
    """Returns an earlier comparison where it is just what would be made, and whole."""
    before = earlier.comparison(request.weights) if earlier else None
    if earlier is None or before is None:
        return None
    if not earlier.is_whole(before):
        return None
    wanted = Wanted.read(finder, embedded, request).or_better(before.method)
    return before if before.made_from == wanted.made_from else None


def _compare(
    wanted: Wanted,
    embedded: Embeddings,
    earlier: NeighboursFolder | None,
    out: Path,
    *,
    run_parts: RunParts,
    on_progress: OnProgress,
    say: Say,
) -> tuple[Comparison, tuple[int, int, int]]:
    """Makes a comparison's parts, and returns it, and how many lists were whole, merged, kept."""
    request, name = wanted.request, comparison_name(wanted.request.weights)
    before = earlier.comparison(request.weights) if earlier else None
    if before and (
        before.top_k != request.top_k or before.method != wanted.or_better(before.method).method
    ):
        before = None
    changes = changes_since(earlier, before, wanted.compared, method=wanted.method)
    if before and changes:
        wanted = wanted.or_better(before.method)
    probes, history = _probes(wanted, embedded, before if changes else None, say=say)
    if changes and wanted.method == "index":
        history = changes.made_from
    maker = PartsMaker(
        embedded=replace(embedded, folder=embedded.folder.absolute()),
        name=name,
        weights=dict(request.weights),
        items=wanted.items,
        candidates=wanted.candidates,
        top_k=request.top_k,
        num_probes=probes.number if probes else None,
        changes=changes,
        out=out.absolute(),
    )
    keys = wanted.keys(history=history)
    written = earlier.written() if earlier else {}
    parts = {}
    for key, rows in keys.items():
        file, path = part_file(key, request.weights), out / NEAREST
        found = keyed_parts.finished(
            path, file, schema=NEIGHBOURS, written=written.get(path / file)
        )
        if found is not None:
            parts[key] = NeighbourPart.of(found, key, num_items=rows.stop - rows.start)
    num_kept = sum(part.num_items for part in parts.values())
    on_progress(num_kept)
    num_whole = num_merged = 0
    todo = [(key, rows) for key, rows in keys.items() if key not in parts]
    for made in run_parts(maker, todo) if todo else ():
        parts[made.part.key] = made.part
        num_whole += made.num_whole
        num_merged += made.part.num_items - made.num_whole
        on_progress(made.part.num_items)
    files.write_table(wanted.compared, items_path(out, wanted.made_from), schema=COMPARED)
    comparison = Comparison(
        name=name,
        weights=dict(request.weights),
        top_k=request.top_k,
        method=wanted.method,
        recall=probes.recall if probes else None,
        num_probes=probes.number if probes else None,
        made_from=wanted.made_from,
        parts=tuple(parts[key] for key in keys),
    )
    return comparison, (num_whole, num_merged, num_kept)


def _probes(
    wanted: Wanted, embedded: Embeddings, before: Comparison | None, *, say: Say
) -> tuple[Probes | None, str]:
    """Returns how many lists of the index to look into, and what tells the index from others.

    An index that is missing is built. Where earlier lists go on, so do their figures.
    """
    if wanted.method == "exact":
        return None, ""
    if before is not None and before.num_probes is not None and before.recall is not None:
        return Probes(before.num_probes, before.recall), ""
    (attribute,) = wanted.request.weights
    index = read_index(embedded, attribute)
    if index is None:
        index = build_index(embedded, attribute, on_progress=lambda step: say(f"index of {step}"))
    return measured_probes(wanted.candidates, index, top_k=wanted.request.top_k), str(
        index.facts.crc32
    )


def _manifest(
    embedded: Embeddings,
    requests: Sequence[SearchRequest],
    comparisons: Sequence[Comparison],
    out: Path,
) -> NeighboursFolder:
    return NeighboursFolder(
        folder=out,
        model_name=embedded.model_name,
        model_version=embedded.model_version,
        model_sha256=embedded.model_sha256,
        embeddings_digest=embedded.digest,
        conditions=tuple(map(str, requests[0].conditions)),
        all_items=requests[0].all_items,
        comparisons=tuple(comparisons),
    )
