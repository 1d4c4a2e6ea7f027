"""The tables on disk: their Arrow schemas, their files' names, and what makes up a catalog."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components import files
from components.attributes import AttributeSchema
from components.errors import HemlineError

SCHEMA_FILE = "schema.json"  # of a catalog
IMAGES_FILE = "images.parquet"
LABELS_FILE = "labels.parquet"
PUBLISHED_TRIPLETS_FILE = "triplets.parquet"
REGIONS_FILE = "regions.parquet"
BOXES_FILE = "boxes.parquet"
LANDMARKS_FILE = "landmarks.parquet"
QUARANTINE_FILE = "quarantine.parquet"  # of a catalog, a store, and embeddings
IMAGE_HASHES_FILE = "hashes.parquet"  # of a store
SPLITS_FILE = "splits.parquet"  # of a folder of splits
SPLITS_REPORT_FILE = "report.json"
LEAKS_FILE = "leaks.parquet"
UNANSWERABLE_FILE = "unanswerable.parquet"
BATCHES_FILE = "batches.parquet"  # of a folder of triplets
EVALUATION_FILE = "evaluation.json"  # of an evaluation
REPORT_FILE = "report.html"
QUERY_SCORES_FILE = "queries.parquet"
PROTOTYPES_FILE = "prototypes.parquet"  # of models, of a version, and of embeddings
PARENT_VERSION = "version.json"  # of the version that a network is grown from
PARENT_PACKAGE = "package"

_LABEL = (("image", pa.int64()), ("attribute", pa.int16()), ("value", pa.int32()))
_EDGES = tuple((edge, pa.float32()) for edge in ("left", "top", "right", "bottom"))
_SLOTS = (("anchor", pa.int64()), ("positive", pa.int64()), ("negative", pa.int64()))

IMAGES = pa.schema(
    [
        ("image", pa.int64()),
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("group", pa.string()),
        files.added("domain", pa.string()),
    ]
)
"""One row per image; `path` is relative to the data root.

group: what an image belongs to; where the data set has items, the item's name. domain: which world
an image is of, `street` or `shop`, null where the data set does not say it.

Numbers count from 0 and are append-only: an image keeps its number when data is added, and the
number of a removed image is never reused. The file's metadata holds the `Numbering`.
"""

LABELS = pa.schema([*_LABEL, ("split", pa.string()), ("role", pa.string())])
"""One row per label; `attribute` and `value` are positions in the schema file.

A value of the identity is the number of an item; they count from 0 and are append-only.

split (train, valid, test) and role (query, gallery) are what the data set itself says, or null.
"""

PUBLISHED_TRIPLETS = pa.schema([("split", pa.string()), ("attribute", pa.int16()), *_SLOTS])
"""One row per triplet of image numbers that the data set itself publishes; often none."""

REGIONS = pa.schema([("image", pa.int64()), ("attribute", pa.int16()), *_EDGES])
"""One row per image and attribute whose place is known: a box in pixels of the upright image."""

BOXES = pa.schema([("image", pa.int64()), *_EDGES])
"""One row per image whose data set says where the item is: a box in pixels, upright."""

VISIBILITIES = ("visible", "occluded", "absent")
LANDMARKS = pa.schema(
    [
        ("image", pa.int64()),
        ("landmark", pa.int16()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("visibility", pa.string()),
    ]
)
"""One row per image and landmark; `landmark` is a position in the schema file.

x and y are in pixels of the upright image, null where the landmark is absent: cut off, or not of
such a garment; visibility is one of `VISIBILITIES`.
"""

QUARANTINE = pa.schema([("path", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
"""One row per image or label that was left out; `reason` is one of `QUARANTINE_REASONS`."""

QUARANTINE_REASONS = (
    "missing",
    "outside_root",
    "not_a_file",
    "empty_file",
    "not_an_image",
    "unread_format",
    "too_large",
    "truncated",
    # of labels
    "bad_name",
    "unknown_attribute",
    "unknown_value",
    "no_value",
    "conflicting_values",
)

IMAGE_HASHES = pa.schema([("image", pa.int64()), ("perceptual_hash", pa.uint64())])
"""One row per image of the store; see `images/perceptual_hash.py`."""

SPLITS = pa.schema([*LABELS, files.added("exclusion_group", pa.int64())])
"""One row per label; split: train, valid or test; role: train, query or gallery.

exclusion_group: null where the role decides. Elsewhere the image both asks and answers whatever its
role (`split.roles leave_one_out`), and images of one group are left out of each other's rankings.
"""

LEAKS = pa.schema(
    [
        ("kind", pa.string()),
        ("unit", pa.int64()),
        ("image", pa.int64()),
        ("path", pa.string()),
        ("split", pa.string()),
    ]
)
"""One row per image and split of every set of related images that lies in more than one split.

kind: same_image, identical_file, group or near_duplicate; rows of one kind and unit are related.
"""

UNANSWERABLE = pa.schema([*_LABEL, ("split", pa.string())])
"""One row per label that asks in vain, or did not become a query: no gallery item has its value."""

TRIPLETS = pa.schema([("epoch", pa.int16()), ("attribute", pa.int16()), *_SLOTS])
"""One row per triplet of image numbers, one row group per epoch."""

BATCHES = pa.schema([("epoch", pa.int16()), ("batch", pa.int32()), ("image", pa.int64())])
"""One row per image of a planned batch, one row group per epoch."""

_LOSSES = ("loss", "ranking_loss", "classification_loss", "active_share", "landmark_loss")
_VALIDATED = ("valid_map", "valid_random_map", "valid_gain_low", "valid_mean_similarity")
TRAINING = pa.schema(
    [("epoch", pa.int32()), *((name, pa.float64()) for name in (*_LOSSES, *_VALIDATED))]
)
"""The learning curve: means over an epoch, and figures of the validation split after it.

active_share: share of triplets, pairs or images that still count; classification_loss and
landmark_loss are null of networks without one; `training.validation` has the others.
"""

_MAPS = ("map", "map_low", "map_high", "random_map", "gain", "gain_low", "gain_high")
MAP_PER_ATTRIBUTE = pa.schema(
    [("attribute", pa.string()), *((name, pa.float64()) for name in _MAPS)]
)
"""MAP (percent) of each attribute, of the model and of a random ranking: DVC's bar plots.

gain is the share (percent) of the way from a random ranking to a perfect one; _low to _high are
95 % intervals over queries.
"""

QUERY_SCORES = pa.schema(
    [
        ("attribute", pa.string()),
        ("image", pa.int64()),
        ("average_precision", pa.float64()),
        ("random_average_precision", pa.float64()),
        files.added("is_held_out_query", pa.bool_()),
    ]
)
"""One row per query of the test split, scores in [0, 1]; see `evaluation/query_scores.py`.

is_held_out_query: whether the image's role is to ask, where every image does; null where it is
roles that decide.
"""

PROTOTYPES = pa.schema(
    [
        ("attribute", pa.string()),
        ("value", pa.string()),
        ("vector", pa.list_(pa.float32())),
        ("num_images", pa.int64()),
        ("spread", pa.float32()),
    ]
)
"""One row per attribute and value, in the order of the schema.

vector: of unit length, in the space of the attribute's embeddings; null where no training image has
the value. num_images: how many training images have it, of which the vector was made of some.
spread: their mean cosine distance to it, 0 where all are equal.
"""

EMBEDDED_ITEMS = pa.schema([("image", pa.int64()), ("path", pa.string()), ("content", pa.string())])
"""The first columns of the items of embeddings; the columns of their manifest follow.

content: tells whether a file is still the one that was embedded (its SHA-256, or what its file
system says of it).
"""

EMBEDDING_RECORD = pa.schema([*EMBEDDED_ITEMS, ("reason", pa.string()), ("detail", pa.string())])
"""One row per image that a part was made of; reason and detail are null where it was embedded.

The file's metadata holds the recipe that it was embedded by.
"""


def embeddings_schema(embedding_dim: int, *, storage: str) -> pa.Schema:
    """Returns the schema of a part of an attribute's embeddings; storage: type of its numbers.

    The attribute stands in the file as text and not in its path: readers guess the type of what is
    in a path, each in its own way, and would make the number 1 of an attribute `01`.
    """
    return pa.schema(
        [
            ("image", pa.int64()),
            ("path", pa.string()),
            ("attribute", pa.string()),
            ("embedding", pa.list_(pa.from_numpy_dtype(storage), embedding_dim)),
            ("model_name", pa.string()),
            ("model_version", pa.int32()),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Numbering:
    """Which image numbers are taken: those below `next_image`.

    The hash of the first catalog, `origin`, stays while data is added, and tells whether two tables
    count the same images.
    """

    origin: str
    next_image: int


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """A data set as hemline knows it; tables have the schemas of this module.

    Attributes:
        triplets: `PUBLISHED_TRIPLETS`.
        quarantine: images and labels that cannot be used.
        left_out: how many rows of the data set carry nothing, by what they are.
        regions: where attributes show, where the data set says it; often nowhere.
        boxes: where the item is; often nowhere.
        landmarks: where the points of its garments are; often nowhere.
    """

    schema: AttributeSchema
    numbering: Numbering
    images: pa.Table
    labels: pa.Table
    triplets: pa.Table
    quarantine: pa.Table
    left_out: Mapping[str, int]
    regions: pa.Table = field(default_factory=REGIONS.empty_table)
    boxes: pa.Table = field(default_factory=BOXES.empty_table)
    landmarks: pa.Table = field(default_factory=LANDMARKS.empty_table)


def write_catalog(catalog: Catalog, folder: Path) -> None:
    """Writes the files of a catalog into a folder.

    What a later catalog continues (schema and images) only ever grows, so that a run that was
    killed between two of the files loses nothing.
    """
    files.write_sealed_json(catalog.schema.as_dict(), folder / SCHEMA_FILE)
    numbering = asdict(catalog.numbering)
    files.write_table(catalog.images, folder / IMAGES_FILE, schema=IMAGES, about=numbering)
    files.write_table(catalog.labels, folder / LABELS_FILE, schema=LABELS)
    files.write_table(catalog.triplets, folder / PUBLISHED_TRIPLETS_FILE, schema=PUBLISHED_TRIPLETS)
    files.write_table(catalog.regions, folder / REGIONS_FILE, schema=REGIONS)
    files.write_table(catalog.boxes, folder / BOXES_FILE, schema=BOXES)
    files.write_table(catalog.landmarks, folder / LANDMARKS_FILE, schema=LANDMARKS)
    write_quarantine(catalog.quarantine, folder)
    files.write_json(dict(catalog.left_out), folder / "left_out.json")


def read_catalog(folder: Path) -> Catalog:
    """Returns the catalog in a folder.

    Raises:
        HemlineError: a file is missing, or is not as this version of hemline writes it.
    """
    path = folder / IMAGES_FILE
    numbering = files.read_about(path, schema=IMAGES)
    if numbering.keys() != {"origin", "next_image"}:
        raise HemlineError(
            f"{path} does not say which numbers its images have had; it was made by another "
            "version of hemline: `dvc repro` makes it again"
        )
    return Catalog(
        schema=read_schema(folder),
        numbering=Numbering(**numbering),
        images=files.read_table(path, schema=IMAGES),
        labels=files.read_table(folder / LABELS_FILE, schema=LABELS),
        triplets=files.read_table(folder / PUBLISHED_TRIPLETS_FILE, schema=PUBLISHED_TRIPLETS),
        regions=files.read_table(folder / REGIONS_FILE, schema=REGIONS),
        boxes=read_boxes(folder),
        landmarks=read_landmarks(folder),
        quarantine=read_quarantine(folder),
        left_out=files.read_json(folder / "left_out.json"),
    )


def read_schema(catalog: Path) -> AttributeSchema:
    """Returns the attribute schema of the catalog in a folder.

    Raises:
        HemlineError: it is missing or damaged.
    """
    path = catalog / SCHEMA_FILE
    return AttributeSchema.from_dict(files.read_json(path, remedy=files.dvc_remedy(path)))


def read_boxes(catalog: Path) -> pa.Table:
    """Returns where items are, `BOXES`; none for a catalog of an older hemline."""
    return _read_later(catalog / BOXES_FILE, schema=BOXES)


def read_landmarks(catalog: Path) -> pa.Table:
    """Returns where the points of garments are, `LANDMARKS`; none for an older hemline's."""
    return _read_later(catalog / LANDMARKS_FILE, schema=LANDMARKS)


def _read_later(path: Path, *, schema: pa.Schema) -> pa.Table:
    return files.read_table(path, schema=schema) if path.exists() else schema.empty_table()


def item_names(images: pa.Table, labels: pa.Table, schema: AttributeSchema) -> dict[int, str]:
    """Returns the name of every item that has an image, by its number; empty without items.

    Args:
        images: `IMAGES`, whose groups they are.
        labels: `LABELS`, or splits.
        schema: schema of the catalog.
    """
    if schema.identity is None:
        return {}
    of_items = labels.filter(pc.equal(labels["attribute"], schema.identity))
    place = pc.index_in(of_items["image"], images["image"])
    names = images["group"].take(place).to_pylist()
    found = dict(zip(of_items["value"].to_pylist(), names, strict=True))
    return {item: name for item, name in found.items() if name is not None}


def read_splits(folder: Path) -> pa.Table:
    """Returns the splits in a folder: `SPLITS`."""
    return files.read_table(folder / SPLITS_FILE, schema=SPLITS)


def split_digest(folder: Path) -> str:
    """Returns the SHA-256 of the splits in a folder; HemlineError where it has none."""
    path = folder / SPLITS_FILE
    if not path.exists():
        raise HemlineError(f"{path} is missing; `dvc checkout` brings it, or `dvc repro` makes it")
    return files.sha256(path)


def read_quarantine(folder: Path) -> pa.Table:
    """Returns the quarantine of the catalog or store in a folder: `QUARANTINE`."""
    return files.read_table(folder / QUARANTINE_FILE, schema=QUARANTINE)


def write_quarantine(quarantine: pa.Table, folder: Path) -> None:
    """Writes the quarantine of a catalog or store into its folder."""
    files.write_table(quarantine, folder / QUARANTINE_FILE, schema=QUARANTINE)


def quarantine_table(rows: Iterable[tuple[str, str, str]]) -> pa.Table:
    """Returns (path, reason, detail) rows as a table, sorted by path and reason."""
    records = [dict(zip(QUARANTINE.names, row, strict=True)) for row in sorted(set(rows))]
    unknown = {record["reason"] for record in records} - set(QUARANTINE_REASONS)
    assert not unknown, f"reasons outside the vocabulary: {unknown}"
    return pa.Table.from_pylist(records, schema=QUARANTINE)


def check_quarantined_share(
    num_quarantined: int, num_images: int, *, allowed: float, where: Path
) -> None:
    """Raises a HemlineError when a larger share of the images than allowed is in quarantine.

    Args:
        num_quarantined: different images that are in quarantine, themselves or a label of theirs.
        num_images: different images that are in quarantine or used; some are both.
        allowed: share, `data.max_quarantined_share`.
        where: the quarantine, for the message.
    """
    share = num_quarantined / max(num_images, 1)
    if share > allowed:
        raise HemlineError(
            f"{num_quarantined} of {num_images} images ({share:.1%}) cannot be used, or one of "
            f"their labels cannot; allowed are {allowed:.1%} (data.max_quarantined_share). "
            f"{where} lists them with reasons: fix them, or allow more"
        )
