"""Scores of a registered version on the test split: recorded by its evaluation, or measured."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components import files, tables
from components.errors import HemlineError
from components.evaluation.evaluation import held_out_images
from components.evaluation.query_scores import QueryScores, measure_queries, read_query_scores
from components.images.decode import Box, UnreadableImageError, decode
from components.images.geometry import boxes_by_image
from components.images.paths import file_inside, read_bytes
from components.images.store import ImageStore
from components.params import DataParams, load_section
from components.registry import versions
from components.registry.package import Package
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.promote.inputs import Inputs
from pipelines.shell.environment import store_location
from pipelines.shell.reporting import notes, progress


def recorded_scores(version: RegisteredVersion, where: Tracking) -> QueryScores | None:
    """Returns the scores that the version's evaluation recorded; None for an older hemline's."""
    with tempfile.TemporaryDirectory() as folder:
        path = versions.run_file(version, tables.QUERY_SCORES_FILE, Path(folder), tracking=where)
        return None if path is None else read_query_scores(path)


def measure_again(version: RegisteredVersion, inputs: Inputs, where: Tracking) -> QueryScores:
    """Returns the scores of a version's package on the test split of this workspace."""
    package = versions.download(version, tracking=where)
    splits = tables.read_splits(inputs.splits)
    total = len(held_out_images(splits, "test"))
    with progress(f"measuring {version.uri} on this test split", total=total) as advance:
        return measure_queries(
            package.load_network(),
            _pictures(inputs, package),
            splits,
            schema=tables.read_schema(inputs.catalog),
            known=package.schema,
            digest=tables.split_digest(inputs.splits),
            on_progress=advance,
        )


def _pictures(inputs: Inputs, package: Package) -> "ImageStore | FilePixels":
    store = ImageStore(store_location(inputs.store).local())
    if (store.image_size_px, store.crop) == (package.image_size_px, package.crop):
        return store
    root = Path(load_section(inputs.params, DataParams).root)
    notes.print(
        f"the store has {store.image_size_px} px and crop {store.crop}, the model "
        f"{package.image_size_px} px and crop {package.crop}: from {root}"
    )
    return FilePixels(
        root=root,
        images=files.read_table(inputs.catalog / tables.IMAGES_FILE, schema=tables.IMAGES),
        boxes=boxes_by_image(tables.read_boxes(inputs.catalog)),
        image_size_px=package.image_size_px,
        crop=package.crop,
    )


@dataclass(frozen=True, kw_only=True)
class FilePixels:
    """Pixels of cataloged images from their files, for a model that the store is not made for."""

    root: Path
    images: pa.Table  # tables.IMAGES
    boxes: Mapping[int, Box]
    image_size_px: int
    crop: str

    def gather(self, images: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the pixels of images [n, S, S, 3].

        Raises:
            HemlineError: a file cannot be read.
        """
        rows = np.searchsorted(self.images["image"].to_numpy(), images)
        paths = self.images["path"].take(rows).to_pylist()
        return np.stack([*map(self._decode, images.tolist(), paths)])

    def _decode(self, image: int, path: str) -> NDArray[np.uint8]:
        try:
            data = read_bytes(file_inside(self.root, path))
            box = self.boxes.get(image)
            return decode(data, image_size_px=self.image_size_px, crop=self.crop, box=box)
        except UnreadableImageError as error:
            raise HemlineError(
                f"{self.root / path}: {error}; it was readable when the catalog was made: bring "
                "the file back, or run `dvc repro`"
            ) from error
