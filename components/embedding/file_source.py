"""Image files to embed: a folder of them, or a manifest that lists them, on disk or at a URL.

fsspec reads URLs: s3://, gs://, https://, …, with the driver's package installed.
"""

import os
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from components import files, tables
from components.datasets.labelled import csv_lines, printable, table_of
from components.embedding.source import Pixels, Source
from components.errors import HemlineError
from components.images.decode import Box, UnreadableImageError, decode, first_line, suffixes
from components.images.geometry import boxes_by_image
from components.images.paths import (
    fragment_of,
    read_bytes,
    region_of,
    speller,
    without_fragment,
)

PATH = "path"
_AT_ONCE = 16  # a remote store answers slowly
_PATHS_AT_ONCE = 2**16
_ODD = r"[^ -~]|\\|(^|/)\.{0,2}(/|$)"  # a relative path that may be spelled otherwise on disk


@dataclass(frozen=True, kw_only=True)
class FileReader:
    """Reads files and decodes them."""

    num_cpus: float = 1.0

    def read(
        self,
        images_n: NDArray[np.int64],
        addresses: Sequence[str],
        *,
        image_size_px: int,
        crop: str,
    ) -> Iterable[Pixels]:
        """Yields each image's pixels, or why there are none."""
        places = [region_at(address) for address in addresses]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            waiting = deque((pool.submit(read_address, file), box) for file, box in places)
            while waiting:
                reading, box = waiting.popleft()
                try:
                    data = reading.result()
                    yield decode(data, image_size_px=image_size_px, crop=crop, box=box)
                except UnreadableImageError as error:
                    yield error


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """Images that were listed, what was passed over, and paths whose names are not UTF-8."""

    images: pa.Table
    passed_over: Mapping[str, int] = field(default_factory=dict)
    bad_names: Collection[str] = ()


def list_files(
    where: str, *, numbered: pa.Table, boxes: Mapping[str, Box] = MappingProxyType({})
) -> Source:
    """Returns the images of a folder or of a manifest.

    A folder's images are all files below it with the suffix of an image format, links to folders
    followed, except hidden ones; other files are counted. A manifest is a file that ends in
    .parquet or .csv, with a column `path`: an absolute path, a URL, or relative to the manifest's
    folder. Its other columns are kept with the images.

    The images of an earlier run (`numbered`: `tables.EMBEDDED_ITEMS`) keep their numbers, and new
    ones are numbered after them. A path may end in a region, see `images/paths.py`, and `boxes` are
    those known of local files, by their absolute paths.

    Raises:
        HemlineError: there is nothing to read, or the manifest cannot be used.
    """
    try:
        system, place = url_to_fs(where, use_listings_cache=False)
        is_manifest = PurePosixPath(place).suffix in {".parquet", ".csv"}
        if is_manifest:
            folder = _Folder(images=_read_manifest(system, place, where))
        else:
            folder = _read_folder(system, place)
    except HemlineError:
        raise
    except Exception as error:  # each driver has its own kinds
        raise HemlineError(f"{where} cannot be read: {error}") from error
    if not len(folder.images):
        raise HemlineError(f"{where} holds no images ({', '.join(sorted(suffixes()))})")
    root = where.rstrip("/").rpartition("/")[0] if is_manifest else where.rstrip("/")
    root = root if "://" in root else str(Path(root).absolute())
    items = _number(folder.images, numbered)
    files_of, boxes_of = _places(items[PATH], root, folder.bad_names, boxes)
    _check_answering(files_of)
    if "content" not in items.column_names:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            versions = list(pool.map(_version_at, files_of.to_pylist()))
        items = items.append_column("content", pa.array(versions, pa.string()))
    names = dict.fromkeys([*tables.EMBEDDED_ITEMS.names, *items.column_names])
    return Source(
        items=items.select([*names]),
        addresses=files_of
        if boxes_of is None
        else pc.binary_join_element_wise(files_of, boxes_of, ""),
        root=root,
        reader=FileReader(),
        passed_over=folder.passed_over,
        boxes=boxes_of,
    )


def _places(
    paths: pa.ChunkedArray, root: str, bad_names: Collection[str], boxes: Mapping[str, Box]
) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """Returns the files of images, paths or URLs, and a `fragment_of` for each; None: all whole.

    They come many at a time, except where a path needs a look of its own.
    """
    is_local = "://" not in root
    spelled = speller(Path(root)) if is_local else str

    def one(path: str) -> tuple[str, str]:
        is_whole = "://" in path or path.startswith("/")
        address = path if is_whole else f"{root}/{spelled(path)}"
        file, box = region_at("" if path in bad_names else address)
        return file, fragment_of(box or boxes.get(file))

    found, fragments = [], []
    for some in _slices(paths):
        is_whole = pc.or_(pc.match_substring(some, "://"), pc.starts_with(some, "/"))
        is_odd = pc.match_substring(some, "#xywh=")
        if is_local:
            misspelled = pc.match_substring_regex(some, _ODD)
            is_odd = pc.or_(is_odd, pc.and_not(misspelled, is_whole))
        if bad_names or boxes or pc.any(is_odd).as_py():
            files_of, boxes_of = zip(*map(one, some.to_pylist()), strict=True)
            found.append(pa.array(files_of, pa.string()))
            fragments.append(pa.array(boxes_of, pa.string()))
        else:
            joined = pc.binary_join_element_wise(root, some, "/")
            is_listed = pc.all(is_whole).as_py()  # as it is, without a copy
            found.append(some if is_listed else pc.if_else(is_whole, some, joined))
            fragments.append(pa.repeat("", len(some)))
    has_boxes = any(pc.any(pc.not_equal(boxes_of, "")).as_py() for boxes_of in fragments)
    return pa.chunked_array(found), pa.chunked_array(fragments) if has_boxes else None


def _slices(paths: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Yields a column some rows at a time, without a copy."""
    for chunk in paths.chunks:
        for start in range(0, len(chunk), _PATHS_AT_ONCE):
            yield chunk.slice(start, _PATHS_AT_ONCE)


def catalogued_boxes(catalog: Path, root: Path) -> dict[str, Box]:
    """Returns the boxes of a catalog's images by the absolute path of their file.

    None where there is no catalog. `root` is the folder of its data.
    """
    if not (catalog / tables.IMAGES_FILE).exists():
        return {}
    images = files.read_table(catalog / tables.IMAGES_FILE, schema=tables.IMAGES)
    path_of = dict(zip(images["image"].to_pylist(), images["path"].to_pylist(), strict=True))
    boxes = boxes_by_image(tables.read_boxes(catalog))
    return {str(root.absolute() / path_of[image]): box for image, box in boxes.items()}


def region_at(address: str) -> tuple[str, Box | None]:
    """Returns the path or URL of a file, and the region of it that an address ends in."""
    if "://" in address:
        return without_fragment(address)
    file, box = region_of(Path(address))
    return (address, None) if box is None else (str(file), box)


def read_address(address: str) -> bytes:
    """Returns the bytes of the file at a path or URL; a region that it ends in means nothing.

    Raises:
        UnreadableImageError: missing, or bad_name for an empty address.
    """
    if not address:
        raise UnreadableImageError("bad_name", "the name is not UTF-8; rename the file")
    if "://" not in address:
        return read_bytes(Path(address))
    try:
        system, place = url_to_fs(region_at(address)[0])
        return bytes(system.cat_file(place))
    except Exception as error:  # each driver has its own kinds
        raise UnreadableImageError("missing", first_line(error)) from error


def _read_folder(system: AbstractFileSystem, place: str) -> _Folder:
    """Returns path and content of the image files below a folder, by path, and what else is there.

    A name that is not UTF-8 is written with the numbers of its bytes.
    """
    if not system.isdir(place):
        raise HemlineError(f"{place} is neither a folder nor a .parquet or .csv file")
    found, passed_over = _files_below(system, place)
    rows, bad_names, read = [], set(), suffixes()
    for name in sorted(found):
        path = PurePosixPath(name).relative_to(place.rstrip("/"))
        suffix = printable(path.suffix.lower())
        if any(part.startswith(".") for part in path.parts):
            passed_over["hidden files"] += 1
        elif suffix in read:
            rows.append({PATH: printable(str(path)), "content": _version(found[name])})
            if printable(str(path)) != str(path):
                bad_names.add(printable(str(path)))
        else:
            passed_over[
                f"files with the suffix {suffix}" if suffix else "files without suffix"
            ] += 1
    listed = pa.Table.from_pylist(rows, schema=pa.schema([(PATH, "string"), ("content", "string")]))
    return _Folder(images=listed, passed_over=passed_over, bad_names=bad_names)


def _files_below(
    system: AbstractFileSystem, place: str
) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """Returns what the file system says of each file below a folder, and folders passed over.

    Links to folders are followed, but not into a folder that is read anyway, nor out to one above.
    """
    found: dict[str, dict[str, Any]] = {}
    passed_over: Counter[str] = Counter()
    waiting, followed = [place], [Path(os.path.realpath(place))]
    while waiting:
        for name, info in sorted(system.find(waiting.pop(0), detail=True).items()):
            # only local folders have links; hidden ones are hidden files
            if not info.get("islink") or "/." in name[len(place) :] or not Path(name).is_dir():
                found[name] = info
                continue
            target = Path(os.path.realpath(name))
            if any(target.is_relative_to(x) or x.is_relative_to(target) for x in followed):
                passed_over["links to folders that are read anyway or hold this one"] += 1
            else:
                followed.append(target)
                waiting.append(name)
    return found, passed_over


def _read_manifest(system: AbstractFileSystem, place: str, where: str) -> pa.Table:
    with system.open(place, "rb") as file:
        is_parquet = place.endswith(".parquet")
        table = pq.read_table(file, pre_buffer=False) if is_parquet else _read_csv(file, where)
    names = table.column_names
    if PATH not in names:
        raise HemlineError(f"{where} has no column {PATH!r}; it has {names}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise HemlineError(f"{where}: two columns are named {twice[0]!r}; rename or remove one")
    if "image" in names:
        raise HemlineError(f"{where}: a column `image` would hide the images' numbers; rename it")
    for name in {PATH, "content"} & {*names}:
        texts = table[name].cast(pa.string())
        table = table.set_column(names.index(name), name, texts)
    if table[PATH].null_count:
        raise HemlineError(f"{where}: {table[PATH].null_count} rows have no {PATH}")
    # ranks take little memory, counts as much as the paths
    if len(table) and pc.max(pc.rank(table[PATH], tiebreaker="dense")).as_py() < len(table):
        counts = pc.value_counts(table[PATH])
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        raise HemlineError(f"{where} lists {len(twice)} images more than once, first {twice[0]!r}")
    return table


def _read_csv(file: BinaryIO, where: str) -> pa.Table:
    """Returns a CSV file's texts as written: guessing types would make 123 of the number 00123.

    Blanks around a text mean nothing, and an empty cell is null.
    """
    names, rows = table_of(csv_lines(file, source=where), source=where)
    texts = [[printable(cell.strip()) or None for cell in row] for _, row in rows]
    columns = zip(*texts, strict=True) if texts else [()] * len(names)
    return pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], names=names)


def _check_answering(addresses: pa.ChunkedArray) -> None:
    """Asks each server for one file: one that is down would be waited for with every image.

    Raises:
        HemlineError: a server does not answer.
    """
    one_of: dict[str, str] = {}
    for some in addresses.chunks:
        urls = some.filter(pc.match_substring(some, "://"))
        servers = pc.replace_substring_regex(urls, r"(?s)://([^/?#]*).*", r"://\1")
        encoded = servers.dictionary_encode()
        _, first = np.unique(encoded.indices, return_index=True)
        one_of |= zip(encoded.dictionary.to_pylist(), urls.take(first).to_pylist(), strict=True)
    for address in one_of.values():
        try:
            system, place = url_to_fs(address)
            system.exists(place)
        except (ValueError, ImportError, FileNotFoundError, PermissionError):
            continue  # of some files alone: they go to the quarantine
        except Exception as error:  # each driver has its own kinds
            raise HemlineError(f"{address} cannot be read: {error}") from error


def _version_at(address: str) -> str:
    """Returns a file's version as its file system reports it; empty for a missing file."""
    try:
        system, place = url_to_fs(address)
        return _version(system.info(place))
    except Exception:  # it goes to the quarantine when it is read
        return ""


def _version(info: dict[str, Any]) -> str:
    """Returns size and entity tag, or time of change: they change when a file does."""
    keys = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
    changed = next((info[key] for key in keys if info.get(key)), "")
    return f"{info.get('size')}:{changed}"


def _number(listed: pa.Table, numbered: pa.Table) -> pa.Table:
    """Returns the rows by their number, the column `image`."""
    rows = pc.index_in(listed[PATH], value_set=numbered[PATH])
    is_new = rows.is_null().to_numpy()
    numbers = np.cumsum(is_new) + numbered["image"].to_numpy().max(initial=-1)
    numbers[~is_new] = numbered["image"].take(rows.drop_null()).to_numpy()
    listed = listed.append_column("image", pa.array(numbers, pa.int64()))
    return listed if (np.diff(numbers) > 0).all() else listed.sort_by("image")
