"""The tables on disk: their Arrow schemas, and the only functions that read and write them.

Every write goes to a temporary name beside the target, is synced, and is then renamed, so that a
file under its final name is always whole.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from components.errors import HemlineError

IMAGES = pa.schema(
    [
        ("image", pa.int64()),
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("group", pa.string()),
    ]
)
"""One row per image; `image` is dense and counts from 0; `path` is relative to the data root."""

LABELS = pa.schema([("image", pa.int64()), ("attribute", pa.int16()), ("value", pa.int16())])
"""One row per label; `attribute` and `value` are positions in the schema file."""

QUARANTINE = pa.schema([("path", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
"""One row per image that was left out; `reason` is one of `QUARANTINE_REASONS`."""

QUARANTINE_REASONS = (
    "missing",
    "outside_root",
    "not_a_file",
    "empty_file",
    "not_an_image",
    "too_large",
    "truncated",
)

SPLITS = pa.schema(
    [
        ("image", pa.int64()),
        ("attribute", pa.int16()),
        ("value", pa.int16()),
        ("split", pa.string()),
        ("role", pa.string()),
    ]
)
"""One row per label; split: train, valid or test; role: train, query or gallery."""

TRIPLETS = pa.schema(
    [
        ("epoch", pa.int16()),
        ("attribute", pa.int16()),
        ("anchor", pa.int64()),
        ("positive", pa.int64()),
        ("negative", pa.int64()),
    ]
)
"""One row per triplet of image numbers, one row group per epoch."""

BATCHES = pa.schema([("epoch", pa.int16()), ("batch", pa.int32()), ("image", pa.int64())])
"""One row per image of a planned batch, one row group per epoch."""

TRAINING = pa.schema(
    [
        ("epoch", pa.int32()),
        ("loss", pa.float64()),
        ("ranking_loss", pa.float64()),
        ("classification_loss", pa.float64()),
        ("valid_map", pa.float64()),
    ]
)
"""The learning curve: mean losses of an epoch, and validation MAP (percent) after it."""


MAP_PER_ATTRIBUTE = pa.schema(
    [("attribute", pa.string()), ("map", pa.float64()), ("random_map", pa.float64())]
)
"""MAP (percent) of each attribute, of the model and of a random ranking: DVC's bar plots."""


def embeddings_schema(embedding_dim: int) -> pa.Schema:
    """Returns the schema of a part of the embedded catalogue."""
    return pa.schema(
        [
            ("image", pa.int64()),
            ("path", pa.string()),
            ("attribute", pa.string()),
            ("embedding", pa.list_(pa.float16(), embedding_dim)),
            ("model_name", pa.string()),
            ("model_version", pa.int32()),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute and its values, in the order that tables count them in."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AttributeSchema:
    """The attributes of a data set; positions in it are what tables store."""

    dataset: str
    attributes: tuple[Attribute, ...]

    @property
    def names(self) -> list[str]:
        """The attributes' names in order."""
        return [attribute.name for attribute in self.attributes]

    @property
    def max_num_values(self) -> int:
        """The number of values of the attribute that has most."""
        return max(len(attribute.values) for attribute in self.attributes)

    def index(self, name: str) -> int:
        """Returns the position of an attribute.

        Raises:
            HemlineError: the data set has no attribute of that name.
        """
        if name not in self.names:
            raise HemlineError(f"no attribute {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def as_dict(self) -> dict[str, Any]:
        """Returns what the schema file holds."""
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> "AttributeSchema":
        """Returns the schema that a schema file holds."""
        attributes = tuple(
            Attribute(name=attribute["name"], values=tuple(attribute["values"]))
            for attribute in raw["attributes"]
        )
        return AttributeSchema(dataset=raw["dataset"], attributes=attributes)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """A data set as hemline knows it: schema, images, labels, and what was left out."""

    schema: AttributeSchema
    images: pa.Table
    labels: pa.Table
    quarantine: pa.Table


def write_catalog(catalog: Catalog, folder: Path) -> None:
    """Writes the four tables of a catalog into a folder."""
    write_json(catalog.schema.as_dict(), folder / "schema.json")
    write_table(catalog.images, folder / "images.parquet", schema=IMAGES)
    write_table(catalog.labels, folder / "labels.parquet", schema=LABELS)
    write_table(catalog.quarantine, folder / "quarantine.parquet", schema=QUARANTINE)


def read_catalog(folder: Path) -> Catalog:
    """Returns the catalog in a folder."""
    return Catalog(
        schema=read_schema(folder / "schema.json"),
        images=read_table(folder / "images.parquet", schema=IMAGES),
        labels=read_table(folder / "labels.parquet", schema=LABELS),
        quarantine=read_table(folder / "quarantine.parquet", schema=QUARANTINE),
    )


def read_schema(path: Path) -> AttributeSchema:
    """Returns the attribute schema in a file."""
    return AttributeSchema.from_dict(read_json(path))


def quarantine_table(rows: Iterable[tuple[str, str, str]]) -> pa.Table:
    """Returns (path, reason, detail) rows as a table, sorted by path and reason."""
    records = [dict(zip(QUARANTINE.names, row, strict=True)) for row in sorted(set(rows))]
    unknown = {record["reason"] for record in records} - set(QUARANTINE_REASONS)
    assert not unknown, f"reasons outside the vocabulary: {unknown}"
    return pa.Table.from_pylist(records, schema=QUARANTINE)


def write_table(table: pa.Table, path: Path, *, schema: pa.Schema) -> None:
    """Writes a Parquet file of one row group."""
    write_row_groups([table], path, schema=schema)


def write_row_groups(tables: Iterable[pa.Table], path: Path, *, schema: pa.Schema) -> None:
    """Writes a Parquet file with one row group per table, one table in memory at a time."""
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table.select(schema.names).cast(schema), row_group_size=2**30)


def read_table(path: Path, *, schema: pa.Schema) -> pa.Table:
    """Returns a Parquet file's table.

    Raises:
        HemlineError: the file is missing, or its columns are not those of the schema.
    """
    return _open(path, schema=schema).read()


def read_row_group(path: Path, index: int, *, schema: pa.Schema) -> pa.Table:
    """Returns one row group (an epoch of triplets or of batches) of a Parquet file."""
    return _open(path, schema=schema).read_row_group(index)


def num_row_groups(path: Path, *, schema: pa.Schema) -> int:
    """Returns how many row groups a Parquet file has."""
    return int(_open(path, schema=schema).num_row_groups)


def _open(path: Path, *, schema: pa.Schema) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError as error:
        raise HemlineError(f"{path} is missing; `dvc repro` makes it") from error
    except pa.ArrowInvalid as error:
        raise HemlineError(f"{path} is not a Parquet file: {error}") from error
    if not file.schema_arrow.equals(schema):
        raise HemlineError(
            f"{path} has columns {file.schema_arrow.names}, expected {schema.names}; "
            "it was made by another version of hemline: `dvc repro` makes it anew"
        )
    return file


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path, *, schema: pa.Schema) -> None:
    """Writes rows as CSV with a header: what DVC draws its plots from."""
    with replacing(path) as temporary:
        pa.csv.write_csv(pa.Table.from_pylist(list(rows), schema=schema), temporary)


def write_json(value: Any, path: Path) -> None:
    """Writes a JSON file, indented, keys in the order given."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        HemlineError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise HemlineError(f"{path} is missing; `dvc repro` makes it") from error
    except json.JSONDecodeError as error:
        raise HemlineError(f"{path} is not JSON: {error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; renames it to `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
