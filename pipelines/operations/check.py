"""Operation `check`: every stored file against the checksum that was made when it was written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from typer import Exit

from components import files
from components.embedding.embeddings import MANIFEST, read_embeddings
from components.embedding.part_files import listed_files
from components.embedding.remote_embeddings import (
    RemoteFile,
    is_url,
    published_below,
    published_files,
)
from components.errors import HemlineError
from components.images.store import read_shards
from components.neighbours.folder import read_neighbours
from components.registry import versions
from components.search.index import index_files
from components.tables import SCHEMA_FILE, read_schema
from components.tagging.folder import read_tags
from components.training.trained import DESCRIPTION_FILE, trained_files
from pipelines.shell import options
from pipelines.shell.environment import tracking
from pipelines.shell.exit_codes import FAILED
from pipelines.shell.reporting import console, plain, print_json, progress, table

Checksums = Mapping[Any, str | None]
"""The checksum of each file (Path or RemoteFile) when it was written; None: an older hemline's."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place with stored files: how many, and how many have no checksum; None: it is not known.

    Tables have theirs inside, page by page, and do not say whether they have them.
    """

    place: str
    num_files: int
    num_unknown: int | None


def check(
    *,
    catalog: options.Catalog = options.CATALOG,
    store: options.Store = options.STORE,
    splits: options.Splits = options.SPLITS,
    triplets: options.Triplets = options.TRIPLETS,
    model: options.Model = options.MODEL,
    queries: options.Queries = options.QUERIES,
    registration: options.Registration = options.REGISTRATION,
    embeddings: options.Embeddings = options.EMBEDDINGS,
    embeddings_root: options.EmbeddingsRoot = str(options.EMBEDDINGS_ROOT),
    neighbours: options.Neighbours = options.NEIGHBOURS,
    tags: options.Tags = options.TAGS,
    output_format: options.Format = "table",
) -> None:
    """Read tables, shards, weights, packages, embeddings, neighbours, tags; name what is damaged.

    What is not there is passed over. Exit status: 1 if a file is damaged or missing.
    """
    listings: dict[str, Callable[[], Checksums]] = {
        str(catalog): partial(_described, catalog),
        str(store): lambda: {store / shard.file: shard.crc32 for shard in read_shards(store)},
        str(model): lambda: trained_files(model) if (model / DESCRIPTION_FILE).exists() else {},
        "registry": lambda: _packages(registration),
        str(embeddings): partial(_embedded, embeddings),
        **_published(embeddings_root),
        str(neighbours): lambda: (
            read_neighbours(neighbours).written() if _has_manifest(neighbours) else {}
        ),
        str(tags): lambda: read_tags(tags).written() if _has_manifest(tags) else {},
    }
    listed: dict[str, Checksums] = {}
    problems: list[str] = []
    for place, list_files in listings.items():
        try:
            listed[place] = list_files()
        except HemlineError as error:  # what names its files is damaged itself
            problems.append(str(error))
    tables = [
        path
        for folder in (catalog, store, splits, triplets, model.parent, queries.parent)
        for path in sorted(folder.glob("*.parquet"))
    ]
    num_files = len(tables) + sum(map(len, listed.values()))
    with progress("checking", total=num_files, unit="files") as advance:
        for path in tables:
            try:
                files.read_table(path, schema=None)
            except HemlineError as error:
                problems.append(str(error))
            advance(1)
        for written in listed.values():
            for path, crc32 in written.items():
                if problem := _problem_of(path, crc32):
                    problems.append(f"{path} {problem}")
                advance(1)
    places = [Place(place="tables", num_files=len(tables), num_unknown=None)] if tables else []
    places += [
        Place(place=place, num_files=len(written), num_unknown=[*written.values()].count(None))
        for place, written in listed.items()
        if written
    ]
    if output_format == "json":
        print_json({"places": list(map(asdict, places)), "problems": problems})
    else:
        _print(places, problems)
    if problems:
        raise Exit(FAILED)


def _print(places: Sequence[Place], problems: Sequence[str]) -> None:
    rows = [
        (
            one.place,
            str(one.num_files),
            "not known" if one.num_unknown is None else str(one.num_unknown),
        )
        for one in places
    ]
    console.print(table("checked", ["place"], ["files", "without a checksum"], rows=rows))
    for problem in problems:
        console.print(plain(problem))
    if problems:
        return
    num_unknown = sum(one.num_unknown or 0 for one in places)
    if num_unknown:
        console.print(f"{num_unknown} files, of an older hemline, have no checksum: they are there")
    console.print("no file is missing, or known to be damaged")


def _published(root: str) -> dict[str, Callable[[], Checksums]]:
    """Returns the places of champions' embeddings, and what lists their files."""
    if is_url(root):
        return {url: partial(published_files, url) for url in published_below(root)}
    folders = sorted(path.parent for path in Path(root).glob(f"*/{MANIFEST}"))
    return {str(folder): partial(_embedded, folder) for folder in folders}


def _problem_of(file: Path | RemoteFile, crc32: str | None) -> str:
    if isinstance(file, RemoteFile):
        return file.problem_of(str(crc32))
    return files.problem_of(file, crc32)


def _described(catalog: Path) -> Checksums:
    """Reads what names attributes and values; it lists no files."""
    if (catalog / SCHEMA_FILE).exists():
        read_schema(catalog)
    return {}


def _embedded(folder: Path) -> Checksums:
    """Returns the files of embeddings, if there are some, and of their indexes."""
    if not _has_manifest(folder):
        return {}
    embedded = read_embeddings(folder)
    written = {path: embedded.written(path) for path in listed_files(embedded)}
    return written | index_files(embedded)


def _has_manifest(folder: Path) -> bool:
    return (folder / MANIFEST).exists()


def _packages(registration: Path) -> Checksums:
    """Returns the graphs of the project's version and of the champion, if it has registered one."""
    return dict(_graphs(registration)) if registration.exists() else {}


def _graphs(registration: Path) -> Iterator[tuple[Path, str | None]]:
    where, ours = tracking(), versions.read_registration(registration)
    found, champion = {ours}, versions.champion(where)
    if champion is not None:
        found.add(versions.RegisteredVersion(name=where.model_name, version=champion))
    for version in found:
        package = versions.download(version, tracking=where)
        yield from package.written_files().items()
