"""Files on disk: Parquet, CSV, JSON, YAML and text, written atomically.

Every write goes to a temporary name beside the target, is synced, and is then renamed, so that a
file under its final name is always whole.
"""

import hashlib
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from pathlib import Path
from posixpath import normpath
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import yaml
from zlib_ng import zlib_ng

from components.errors import DamagedFileError, HemlineError, command_line

_ABOUT = b"hemline"  # the key of our metadata in Parquet files ...
_ABOUT_CRC32 = b"hemline_crc32"  # ... and of its checksum: those of pages are for rows alone
_ADDED = b"hemline_added"  # marks a column of a schema
_SEAL = "own_crc32"  # the key of a JSON document's checksum
_READ_AT_ONCE = 2**20  # bytes, while a checksum is made


def added(name: str, kind: pa.DataType) -> pa.Field:
    """Returns one of the last columns of a schema which files of an older hemline lack."""
    return pa.field(name, kind, metadata={_ADDED: b"1"})


def filled(schema: pa.Schema, table: pa.Table) -> pa.Schema:
    """Returns a schema without those of its `added` columns that are empty in a table.

    What has no use for them is written as an older hemline did, to the byte.
    """
    is_needed = (not (x.metadata or {}).get(_ADDED) or _has_values(table[x.name]) for x in schema)
    return pa.schema([x for x, needed in zip(schema, is_needed, strict=True) if needed])


def _has_values(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count < len(column))


def write_table(
    table: pa.Table, path: Path, *, schema: pa.Schema, about: Mapping[str, Any] | None = None
) -> None:
    """Writes a Parquet file of one row group; `about` goes into its metadata as JSON."""
    if about is not None:
        raw = json.dumps(about).encode()
        schema = schema.with_metadata({_ABOUT: raw, _ABOUT_CRC32: f"{zlib_ng.crc32(raw):08x}"})
    write_row_groups([table], path, schema=schema)


def read_about(path: Path, *, schema: pa.Schema) -> dict[str, Any]:
    """Returns what `write_table` was given as `about`; empty for none.

    Raises:
        HemlineError: as `read_table`.
    """
    metadata = _open(path, schema=schema).schema_arrow.metadata or {}
    raw = metadata.get(_ABOUT, b"{}")
    found = f"{zlib_ng.crc32(raw):08x}".encode()
    if metadata.get(_ABOUT_CRC32, found) != found:  # an older hemline wrote none
        raise DamagedFileError(f"{path} is damaged (its description){_again(path)}")
    about: dict[str, Any] = json.loads(raw)
    return about


def write_row_groups(tables: Iterable[pa.Table], path: Path, *, schema: pa.Schema) -> None:
    """Writes a Parquet file with one row group per table, one table in memory at a time."""
    # a dictionary of an embedding's numbers saves nothing, and reading takes three times as long
    repeating = [field.name for field in schema if not pa.types.is_nested(field.type)]
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=repeating,
            write_page_checksum=True,
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table.select(schema.names).cast(schema), row_group_size=2**30)


def read_table(path: Path, *, schema: pa.Schema | None) -> pa.Table:
    """Returns a Parquet file's table; None takes whatever columns it has.

    Of an older hemline, columns that were `added` since come as nulls, and whole numbers may have
    been narrower.

    Raises:
        HemlineError: the file is missing or not Parquet, has other columns than the schema, or is
            damaged: pages have checksums, but for those of an older hemline.
    """
    table = _whole(_open(path, schema=schema).read, path)
    if schema is None or table.schema.equals(schema):
        return table
    for field in list(schema)[table.num_columns :]:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.cast(schema)


def read_row_group(path: Path, index: int, *, schema: pa.Schema) -> pa.Table:
    """Returns one row group (an epoch of triplets or of batches) of a Parquet file."""
    return _whole(partial(_open(path, schema=schema).read_row_group, index), path)


def num_row_groups(path: Path, *, schema: pa.Schema) -> int:
    """Returns how many row groups a Parquet file has."""
    return int(_open(path, schema=schema).num_row_groups)


def _open(path: Path, *, schema: pa.Schema | None) -> pq.ParquetFile:
    file = _read(
        lambda: pq.ParquetFile(path, memory_map=True, page_checksum_verification=True),
        path,
        "a Parquet file",
        damaged=_again(path),
    )
    if schema is not None and not _fits(file.schema_arrow, schema):
        raise HemlineError(
            f"{path} has columns {file.schema_arrow.names}, expected {schema.names}; "
            "it was made by another version of hemline: `dvc repro` makes it again"
        )
    return file


def _fits(found: pa.Schema, schema: pa.Schema) -> bool:
    """Returns whether a file has the columns of a schema, or those of an older one."""
    if len(found) > len(schema):
        return False
    are_missing = [(x.metadata or {}).get(_ADDED) for x in list(schema)[len(found) :]]
    are_equal = [x.equals(y) or _is_narrower(x, y) for x, y in zip(found, schema, strict=False)]
    return all(are_missing) and all(are_equal)


def _is_narrower(found: pa.Field, field: pa.Field) -> bool:
    is_signed = pa.types.is_signed_integer
    return bool(
        found.name == field.name
        and is_signed(found.type)
        and is_signed(field.type)
        and found.type.bit_width < field.type.bit_width
    )


def _whole(read: Callable[[], pa.Table], path: Path) -> pa.Table:
    """Returns the table that `read` returns, or says that the file is damaged."""
    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        raise DamagedFileError(f"{path} is damaged ({error}){_again(path)}") from error


def _again(path: Path) -> str:
    return f": {dvc_remedy(path)}"


def dvc_remedy(path: Path) -> str:
    """Returns what to do where the file of a stage is damaged."""
    # without removing it: DVC takes a file of the same size and time for the same
    checkout = command_line("dvc", "checkout", path.parent)
    return f"remove it; `{checkout}` brings it back, `dvc repro` makes it again"


def _read(
    read: Callable[[], Any],
    path: Path,
    kind: str,
    *,
    remedy: str = "; `dvc repro` makes it",
    damaged: str = "",
) -> Any:
    """Returns what `read` returns, or explains why it failed: no file, or one of another kind.

    `remedy` is for a missing file, `damaged` for one of another kind.
    """
    try:
        return read()
    except FileNotFoundError as error:
        raise HemlineError(f"{path} is missing{remedy}") from error
    except (ValueError, OSError, pa.ArrowException, yaml.YAMLError) as error:
        if getattr(error, "errno", None):  # the system's, such as a permission; Arrow's have none
            raise
        raise DamagedFileError(f"{path} is not {kind}: {error}{damaged}") from error


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(path: Path) -> str:
    """Returns the CRC-32 of a file's bytes, in hexadecimal: it tells damage, not intent."""
    value = 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_READ_AT_ONCE):
            value = zlib_ng.crc32(data, value)
    return f"{value:08x}"


def problem_of(path: Path, written: str | None) -> str:
    """Returns what is wrong with a file whose checksum was `written`; empty where nothing is.

    None is for a file of an older hemline, which may hold anything. A file that this process has
    found whole is not read again, as long as its size and time of change stay.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return "is missing"
    if written is None:
        return ""
    found = _checksum_at(path, status.st_ino, status.st_size, status.st_mtime_ns)
    return "" if found == written else f"is damaged (CRC-32 {found}, written was {written})"


@lru_cache(maxsize=2**16)
def _checksum_at(path: Path, *_version: int) -> str:
    return checksum(path)


def check(path: Path, written: str | None, *, remedy: str) -> None:
    """Raises a HemlineError where a file is missing or is not as it was written."""
    if problem := problem_of(path, written):
        raise HemlineError(f"{path} {problem}: {remedy}")


def content_key(params: Mapping[str, Any], paths: Iterable[Path]) -> str:
    """Returns a short hash of params and of the content of files.

    Runs with equal keys compute the same, so that one may resume another.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    for path in paths:
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()[:16]


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path, *, schema: pa.Schema) -> None:
    """Writes rows as CSV with a header: what DVC draws its plots from."""
    with replacing(path) as temporary:
        pa.csv.write_csv(pa.Table.from_pylist(list(rows), schema=schema), temporary)


def read_csv(path: Path, *, schema: pa.Schema) -> pa.Table:
    """Returns the rows of a CSV file that `write_csv` wrote.

    Raises:
        HemlineError: the file is missing, or its columns are not those of the schema.
    """
    types = pa.csv.ConvertOptions(column_types=schema, include_columns=schema.names)
    read = partial(pa.csv.read_csv, path, convert_options=types)
    return _read(read, path, f"a table of {schema.names}")


def speller(root: Path) -> Callable[[str], str]:
    """Returns a function that gives a path relative to a folder the spelling it has on disk.

    The path is normalised. Where no file has its name, it is that of a file whose name differs in
    its Unicode form only, or has slashes for backslashes; without one it stays as written.
    """
    names_in = cache(_names_in)

    def spelled(path: str) -> str:
        path = normpath(path)
        if (path.isascii() and "\\" not in path) or (root / path).exists():
            return path
        found, other = root, normpath(path.replace("\\", "/"))
        if other.startswith("/"):
            return path
        for part in other.split("/"):
            found /= names_in(found).get(unicodedata.normalize("NFC", part), part)
        return found.relative_to(root).as_posix() if found.exists() else path

    return spelled


def _names_in(folder: Path) -> dict[str, str]:
    """Returns the names in a folder by their NFC form; empty where there is no such folder."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except (OSError, ValueError):
        return {}
    return {unicodedata.normalize("NFC", name): name for name in names}


def write_json(value: Any, path: Path) -> None:
    """Writes a JSON file, indented, keys in the order given."""
    write_text(json.dumps(value, indent=2) + "\n", path)


def write_sealed_json(content: Mapping[str, Any], path: Path) -> None:
    """Writes a JSON file with a checksum of what it says, which `read_json` looks at."""
    write_text(sealed_json(content), path)


def sealed_json(content: Mapping[str, Any]) -> str:
    """Returns a JSON document with a checksum of what it says, as its last key."""
    return json.dumps({**content, _SEAL: _crc32_of(content)}, indent=2) + "\n"


def read_json(path: Path, *, remedy: str = "") -> Any:
    """Returns what a JSON file holds, but for the checksum of one that is sealed.

    `remedy` says what to do where it is damaged.

    Raises:
        HemlineError: the file is missing, not JSON, or damaged.
    """
    document = _read(path.read_bytes, path, "JSON")
    instead = remedy and f": {remedy}"
    try:
        return parse_json(document)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is not JSON ({error}){instead}") from error
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged ({error}){instead}") from error


def parse_json(document: str | bytes) -> Any:
    """Returns what a JSON document holds, but for the checksum of one that is sealed.

    Raises:
        ValueError: it is not JSON, or says something else than when it was sealed.
    """
    content = json.loads(document)
    if isinstance(content, dict) and _SEAL in content:
        written, found = content.pop(_SEAL), _crc32_of(content)
        if found != written:
            raise ValueError(f"CRC-32 {found}, written was {written}")
    return content


def _crc32_of(content: Mapping[str, Any]) -> str:
    return f"{zlib_ng.crc32(json.dumps(content).encode()):08x}"


def read_yaml(path: Path) -> Any:
    """Returns what a YAML file holds.

    Raises:
        HemlineError: the file is missing or not YAML.
    """
    return _read(lambda: yaml.safe_load(path.read_text()), path, "YAML", remedy="")


def write_text(text: str, path: Path) -> None:
    """Writes a text file."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def start_writing(file: pa.NativeFile, *, since: int) -> int:
    """Has Linux bring a file's bytes from `since` on to the disk by and by, and returns its end.

    What syncs the file in the end then waits for little.
    """
    end = int(file.tell())
    if sys.platform == "linux":  # which drops no page that it has yet to write
        os.posix_fadvise(file.fileno(), since, end - since, os.POSIX_FADV_DONTNEED)
    return end


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; renames it to `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
