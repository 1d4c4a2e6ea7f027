"""The image store: decoded pixels in memory-mapped Arrow IPC shards.

`manifest.json` lists the shards in order, with their keys: see `keyed_parts.py`. A shard consists
of record batches of a few images each: making one takes the same memory however large it is. Each
batch has two checksums: that of its pixels is looked at before its images are first read, that of
its other columns when the shard is opened.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from components import files, tables
from components.errors import HemlineError
from components.images.keyed_parts import content_key
from components.images.perceptual_hash import perceptual_hashes

_ROWS_CRC32, _PIXELS_CRC32 = "rows_crc32", "pixels_crc32"  # of a batch's columns, in its metadata
MANIFEST = "manifest.json"
_SHARD = pa.schema(
    [("image", pa.int64()), ("sha256", pa.binary(32)), ("perceptual_hash", pa.uint64())]
)
"""A shard's columns before `pixels`, whose type holds their size."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard as the manifest lists it; an older hemline gave its file no checksum, crc32."""

    file: str
    key: str
    num_images: int
    quarantined: tuple[tuple[str, str, str], ...]
    crc32: str | None = None

    def check(self, folder: Path, batch: "_Batch | None" = None) -> None:
        """Raises a HemlineError where the shard's file is missing or damaged; or a batch of it.

        An older hemline gave batches no checksums: of those the whole file is checked.
        """
        path = folder / self.file
        remedy = f"remove {path} and run `dvc repro preprocess`"
        if batch is None or batch.crc32 is None:
            files.check(path, self.crc32, remedy=remedy)
        elif (found := _checksum(batch.rows.column("pixels"))) != batch.crc32:
            first = batch.rows["image"][0].as_py()
            raise HemlineError(
                f"{path} is damaged from image {first} on (CRC-32 {found}, written was "
                f"{batch.crc32}): {remedy}"
            )

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> "Shard":
        """Returns the shard that a manifest entry describes."""
        return Shard(**{**raw, "quarantined": tuple(tuple(row) for row in raw["quarantined"])})


def shard_file(index: int) -> str:
    """Returns the name of the shard of that index."""
    return f"shard-{index:05d}.arrow"


def shard_key(
    *, image: list[int], path: list[str], sha256: list[str], image_size_px: int, recipe: str
) -> str:
    """Returns the content key of a shard: a hash of its images and of how it is made.

    Paths count as the shard's quarantine names them; `recipe` is the version of the decoding code.
    """
    return content_key([recipe, str(image_size_px), *map(str, image), *sha256, *path])


def _pixels_type(image_size_px: int) -> pa.FixedShapeTensorType:
    return pa.fixed_shape_tensor(pa.uint8(), (image_size_px, image_size_px, 3))


class StoredImages(NamedTuple):
    """Images of a shard: their numbers [n], contents [n] (SHA-256), and pixels [n, S, S, 3]."""

    images: list[int]
    sha256s: list[str]
    pixels: NDArray[np.uint8]


def write_shard(
    path: Path, batches: Iterable[StoredImages], *, image_size_px: int, recipe: str
) -> str:
    """Writes a shard's images, in the order of their numbers, and returns the file's checksum.

    Pixels may be reused after each batch.
    """
    pixels_type = _pixels_type(image_size_px)
    schema = _SHARD.append(pa.field("pixels", pixels_type)).with_metadata({"recipe": recipe})
    with (
        files.replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        written = 0
        for images, sha256s, pixels in batches:
            values = pa.array(pixels.reshape(-1))
            tensors = pa.FixedSizeListArray.from_arrays(values, 3 * image_size_px**2)
            columns = [
                pa.array(images, pa.int64()),
                pa.array([bytes.fromhex(sha256) for sha256 in sha256s], pa.binary(32)),
                pa.array(perceptual_hashes(pixels)),
                pa.ExtensionArray.from_storage(pixels_type, tensors),
            ]
            batch = pa.record_batch(columns, schema=schema)
            *rows, tensor = columns
            checksums = {_ROWS_CRC32: _checksum(*rows), _PIXELS_CRC32: _checksum(tensor)}
            writer.write_batch(batch, custom_metadata=checksums)
            written = files.start_writing(sink, since=written)
    return files.checksum(path)


def write_manifest(
    folder: Path, shards: list[Shard], *, image_size_px: int, crop: str = "centre"
) -> None:
    """Writes the manifest, shards in the order given."""
    made_as = {"image_size_px": image_size_px, "crop": crop}
    manifest = {**made_as, "shards": [asdict(shard) for shard in shards]}
    files.write_sealed_json(manifest, folder / MANIFEST)


def read_shards(folder: Path) -> list[Shard]:
    """Returns the shards that the manifest lists; none where there is no manifest.

    Raises:
        HemlineError: the manifest is damaged.
    """
    if not (folder / MANIFEST).exists():
        return []
    return [Shard.from_dict(entry) for entry in _read_manifest(folder)["shards"]]


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    manifest: dict[str, Any] = files.read_json(path, remedy=files.dvc_remedy(path))
    return manifest


def read_hashes(folder: Path) -> pa.Table:
    """Returns `tables.IMAGE_HASHES` of all images of a store; pixels are not touched.

    Raises:
        HemlineError: a shard is missing or damaged.
    """
    batches = [batch for shard in read_shards(folder) for batch in _map(folder / shard.file)]
    hashes = [
        pa.Table.from_batches([rows.select(tables.IMAGE_HASHES.names).replace_schema_metadata()])
        for rows, _ in batches
    ]
    return pa.concat_tables([tables.IMAGE_HASHES.empty_table(), *hashes])


def read_reusable(
    path: Path, *, crc32: str | None, image_size_px: int, recipe: str
) -> dict[tuple[int, str], NDArray[np.uint8]]:
    """Returns the pixels [S, S, 3] in a shard by image number and content (SHA-256).

    Empty where there is no such shard, where it was made in another way, or where it is damaged.
    """
    if files.problem_of(path, crc32):
        return {}
    held = {}
    try:
        file = _open(path)
        if file.schema.metadata != {b"recipe": recipe.encode()}:
            return {}
        for batch, _ in _batches(file):
            images, sha256s = (batch.column(name).to_pylist() for name in ("image", "sha256"))
            pixels = batch.column("pixels").to_numpy_ndarray()
            if pixels.shape[1:] != (image_size_px, image_size_px, 3):
                return {}
            for row, (image, sha256) in enumerate(zip(images, sha256s, strict=True)):
                held[image, sha256.hex()] = pixels[row]
    except (OSError, pa.ArrowException):
        return {}
    return held


def _open(path: Path) -> pa.ipc.RecordBatchFileReader:
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    if not _is_shard(file.schema):
        raise pa.ArrowInvalid("its columns are others")
    return file


class _Batch(NamedTuple):
    """A batch of a shard, a view of the memory map, and its pixels' checksum as it was written."""

    rows: pa.RecordBatch
    crc32: str | None


def _batches(file: pa.ipc.RecordBatchFileReader) -> Iterator[_Batch]:
    """Yields the batches of a shard; raises what Arrow raises where one is damaged."""
    for index in range(file.num_record_batches):
        rows, metadata = file.get_batch_with_custom_metadata(index)
        rows.validate()  # reading where a damaged file's sizes lead could end the process
        names = (_ROWS_CRC32, _PIXELS_CRC32)
        of_rows, of_pixels = ((metadata or {}).get(name, b"").decode("latin1") for name in names)
        if of_rows and (found := _checksum(*rows.columns[:-1])) != of_rows:
            raise pa.ArrowInvalid(f"the images of batch {index}: CRC-32 {found}, not {of_rows}")
        yield _Batch(rows, of_pixels or None)


def _checksum(*columns: pa.Array) -> str:
    """Returns the CRC-32 of the numbers in columns."""
    value = 0
    for column in columns:
        for buffer in filter(None, column.buffers()):
            value = zlib_ng.crc32(buffer, value)
    return f"{value:08x}"


def _is_shard(schema: pa.Schema) -> bool:
    try:
        if schema.names != [*_SHARD.names, "pixels"]:
            return False
    except UnicodeDecodeError:  # of a damaged name
        return False
    pixels = schema.field("pixels").type
    return (
        pa.schema([*schema][:-1]).equals(_SHARD)
        and isinstance(pixels, pa.FixedShapeTensorType)
        and pixels.equals(_pixels_type(pixels.shape[0]))
    )


def _map(path: Path) -> list[_Batch]:
    """Returns the batches of a shard."""
    try:
        return list(_batches(_open(path)))
    except FileNotFoundError as error:
        raise HemlineError(f"{path} is missing; run `dvc repro preprocess`") from error
    except (OSError, pa.ArrowException) as error:
        raise HemlineError(
            f"{path} is damaged ({error}); remove it and run `dvc repro preprocess`"
        ) from error


def other_crop(found: str, crop: str, *, of: str) -> HemlineError:
    """Returns what is wrong with a store of another crop than that of a model, named by `of`."""
    return HemlineError(
        f"{of} sees pictures with crop {crop}, and the store has them with crop {found}: set "
        f"preprocess.crop to {crop} and run `dvc repro preprocess`, or train a model on this store"
    )


class ImageStore:
    """Random access to the pixels of a store, by image number.

    Attributes:
        image_size_px: side of the square images.
        crop: what of an image they show: `preprocess.crop`.
        images: image numbers that the store holds, ascending, int64.
    """

    def __init__(self, folder: Path) -> None:
        """Maps all shards into memory.

        Raises:
            HemlineError: there is no manifest, or a shard that it names is missing or damaged.
        """
        manifest = _read_manifest(folder)
        self.image_size_px = int(manifest["image_size_px"])
        self.crop = str(manifest.get("crop", "centre"))  # an older hemline knew no other
        listed = read_shards(folder)
        shards = [_map(folder / shard.file) for shard in listed]
        batches = [batch for shard in shards for batch in shard]
        numbers = [batch.rows.column("image").to_numpy() for batch in batches]
        counts = [len(images) for images in numbers]
        shard_of_batch = [shard for shard, own in zip(listed, shards, strict=True) for _ in own]
        self._folder = folder
        self._unchecked = dict(enumerate(zip(shard_of_batch, batches, strict=True)))
        self._pixels = [batch.rows.column("pixels").to_numpy_ndarray() for batch in batches]
        self._batch_of_row = np.repeat(np.arange(len(batches)), counts)
        self._place_of_row = np.concatenate([np.arange(n) for n in counts] or [np.arange(0)])
        self.images = np.concatenate(numbers or [np.empty(0, np.int64)])

    def __len__(self) -> int:
        return len(self.images)

    def check_crop(self, crop: str, *, of: str) -> None:
        """Refuses a store of another crop than that of a model, which `of` names.

        Raises:
            HemlineError: the crops differ.
        """
        if crop != self.crop:
            raise other_crop(self.crop, crop, of=of)

    def gather(self, images: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the pixels of images [n] as a fresh array [n, S, S, 3].

        Raises:
            HemlineError: the store does not hold one of the images, or the batch that it lies in is
                damaged, which is looked at once.
        """
        rows = np.searchsorted(self.images, images)
        found = rows < len(self.images)
        found[found] = self.images[rows[found]] == images[found]
        if not found.all():
            absent = images[~found][:5].tolist()
            raise HemlineError(f"the store does not hold images {absent}; run `dvc repro`")
        self._check(self._batch_of_row[rows])
        found_at = zip(self._batch_of_row[rows], self._place_of_row[rows], strict=True)
        size = self.image_size_px
        out = np.empty((len(images), size, size, 3), np.uint8)
        for row, (batch, place) in enumerate(found_at):
            out[row] = self._pixels[batch][place]  # one copy, from the map to where it is wanted
        return out

    def _check(self, batches: NDArray[np.int64]) -> None:
        """Checks batches that are about to be read for the first time."""
        if self._unchecked:
            for batch in np.unique(batches).tolist():
                if batch in self._unchecked:
                    shard, read = self._unchecked[batch]
                    shard.check(self._folder, read)
                    del self._unchecked[batch]
