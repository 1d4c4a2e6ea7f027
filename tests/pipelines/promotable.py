"""A small project without training: images, splits, and versions whose quality is chosen.

An image's upper half has the colour that is its value of `top`, its lower half that of `bottom`,
both under much noise. A network averages a corner of each half: the larger the corner, the less
noise there is in its embeddings.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from builders import PROJECT, images_table, labels_table, splits_table
from PIL import Image
from torch import Tensor, nn

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.job import write_here
from components.embedding.making import make_parts, plan_parts
from components.embedding.part_files import Recipe
from components.embedding.source import stored_images
from components.evaluation.query_scores import QueryScores, measure_queries, write_query_scores
from components.images.decode import decode
from components.images.remote_store import StoreLocation
from components.images.store import (
    ImageStore,
    Shard,
    StoredImages,
    shard_file,
    write_manifest,
    write_shard,
)
from components.networks import IMAGENET_PIXELS
from components.params import EmbedParams, GateParams, load_section
from components.registry import registration, versions
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE, Ancestor, read_package
from components.tracking import runs
from components.tracking.runs import Tracking

SIZE_PX = 32
COLOURS = [(220, 60, 60), (60, 220, 60), (60, 60, 220), (200, 200, 60)]
SCHEMA = AttributeSchema(
    dataset="halves",
    attributes=tuple(
        Attribute(name=name, values=("red", "green", "blue", "yellow"))
        for name in ("top", "bottom")
    ),
)
IMAGES_PER_PART = 1000
_NOISE = 120  # standard deviation: of one pixel, more than what colours differ by


class Corners(nn.Module):
    """The mean of so many times so many pixels of each attribute's half, as a direction."""

    pixel_statistics = IMAGENET_PIXELS

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, images_B3HW: Tensor, attributes_BK: Tensor) -> Tensor:
        middle = {"top": 0, "bottom": images_B3HW.shape[2] // 2}
        corners = [
            images_B3HW[:, :, middle[name] : middle[name] + size, :size]
            for name, size in self.sizes.items()
        ]
        means_BN3 = torch.stack([corner.mean(dim=(2, 3)) for corner in corners], dim=1)
        places_BK3 = attributes_BK[:, :, None].expand(-1, -1, 3)
        return nn.functional.normalize(means_BN3.gather(1, places_BK3), dim=-1)


@dataclass(frozen=True, kw_only=True)
class Promotable:
    """A folder with data, params and a registry."""

    folder: Path

    @property
    def tracking(self) -> Tracking:
        """The registry."""
        return Tracking(
            uri=f"sqlite:///{self.folder}/mlflow.db", artifact_root=str(self.folder / "mlartifacts")
        )

    def add_images(self, first: int, num_images: int) -> None:
        """Writes images, the catalog, the store and the splits, of all images until then."""
        rng = np.random.default_rng(first)
        every = first + num_images
        for image in range(first, every):
            values = _values(image)
            pixels = np.repeat([COLOURS[value] for value in values], SIZE_PX // 2, axis=0)
            noisy = pixels[:, None] + rng.normal(0, _NOISE, (SIZE_PX, SIZE_PX, 3))
            path = self.folder / "raw" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
        data = [(self.folder / "raw" / f"{image}.png").read_bytes() for image in range(every)]
        self._write_catalog([hashlib.sha256(each).hexdigest() for each in data])
        self._write_store(np.stack([decode(each, image_size_px=SIZE_PX) for each in data]))
        rows = [
            (image, attribute, value, "test", "query" if image % 3 == 0 else "gallery")
            for image in range(every)
            for attribute, value in enumerate(_values(image))
        ]
        files.write_table(
            splits_table(rows),
            self.folder / "data/splits/splits.parquet",
            schema=tables.SPLITS,
        )

    def register(
        self,
        corner: int | Mapping[str, int],
        *,
        image_size_px: int = SIZE_PX,
        evaluated: bool = True,
        ancestors: Sequence[Ancestor] = (),
        schema: AttributeSchema | None = None,
    ) -> int:
        """Returns the number of a new version; its evaluation is on the splits of now.

        Corners differ by attribute where a mapping is given, which names all that are known, with
        the values of the images unless a schema is given. With ancestors, it is tagged as what was
        grown from the first of them.
        """
        sizes = dict.fromkeys(SCHEMA.names, corner) if isinstance(corner, int) else corner
        package = self.folder / "package"
        write_package(
            Corners(sizes),
            package,
            schema=schema or schema_of(sizes),
            image_size_px=image_size_px,
            ancestors=ancestors,
        )
        run_id = runs.start_run(self.tracking, params={}, tags={})
        version = registration.register_package(
            package, card="# Card\n", tracking=self.tracking, run_id=run_id
        )
        if ancestors:
            tags = {versions.EXTENDS_TAG: ancestors[0].uri, versions.UNCHANGED_TAG: "5" * 64}
            for name, text in tags.items():
                versions.write_tag(version, name, text, tracking=self.tracking)
        if evaluated:
            path = self.folder / "queries.parquet"
            write_query_scores(self.measure(package), path)
            runs.log_file(path, tracking=self.tracking, run_id=run_id)
        return version.version

    def ancestor(self, number: int, *attributes: str) -> Ancestor:
        """Returns a version as one that others were grown from."""
        version = versions.RegisteredVersion(name="hemline", version=number)
        graph = versions.graph_sha256(version, tracking=self.tracking)
        return Ancestor(name="hemline", version=number, graph_sha256=graph, attributes=attributes)

    def embed(self, number: int) -> None:
        """Embeds all images into data/embeddings as the stage does, only without Ray."""
        version = versions.RegisteredVersion(name="hemline", version=number)
        package = versions.download(version, tracking=self.tracking)
        recipe = Recipe(
            model_name=version.name,
            model_version=version.version,
            model_sha256=files.sha256(package.folder / NETWORK_FILE),
            image_size_px=package.image_size_px,
            attributes={name: place for place, name in enumerate(package.schema.names)},
            precision="fp32",
        )
        store, out = self.folder / "data/store", self.folder / "data/embeddings"
        catalog = tables.read_catalog(self.folder / "data/catalog")
        location = StoreLocation(address=str(store), cache=self.folder)
        source = stored_images(location, catalog.images, catalog.boxes)
        make_parts(
            source,
            plan_parts(source, out, recipe=recipe, images_per_part=IMAGES_PER_PART),
            out,
            recipe=recipe,
            write=partial(
                write_here, load_network=package.load_network, params=EmbedParams(num_workers=0)
            ),
            batch_size=len(catalog.images),
            on_progress=lambda _: None,
        )

    def measure(self, package: Path) -> QueryScores:
        """Returns how a package does on the splits of now."""
        path, read = self.folder / "data/splits/splits.parquet", read_package(package)
        return measure_queries(
            read.load_network(),
            ImageStore(self.folder / "data/store"),
            files.read_table(path, schema=tables.SPLITS),
            schema=SCHEMA,
            known=read.schema,
            digest=files.sha256(path),
        )

    def set_params(self, **gate: float) -> None:
        """Writes the params, with values of the gate in place of the project's."""
        params = yaml.safe_load((PROJECT / "params.yaml").read_text())
        params["data"]["root"] = str(self.folder / "raw")
        params["embed"] |= {
            "num_workers": 1,
            "precision": "fp32",
            "images_per_part": IMAGES_PER_PART,
        }
        params["gate"] |= gate
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    @property
    def limits(self) -> GateParams:
        """The section `gate`."""
        return load_section(self.folder / "params.yaml", GateParams)

    def _write_catalog(self, sha256s: list[str]) -> None:
        rows = [
            (image, attribute, value)
            for image in range(len(sha256s))
            for attribute, value in enumerate(_values(image))
        ]
        catalog = tables.Catalog(
            schema=SCHEMA,
            numbering=tables.Numbering(origin="halves", next_image=len(sha256s)),
            images=images_table(sha256s),
            labels=labels_table(rows),
            triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
            quarantine=tables.QUARANTINE.empty_table(),
            left_out={},
        )
        tables.write_catalog(catalog, self.folder / "data/catalog")

    def _write_store(self, pixels_nSS3: np.ndarray) -> None:
        folder = self.folder / "data/store"
        images = list(range(len(pixels_nSS3)))
        batch = StoredImages(images, ["00" * 32] * len(images), pixels_nSS3)
        path = folder / shard_file(0)
        shard = Shard(
            file=path.name,
            key=str(len(images)),
            num_images=len(images),
            quarantined=(),
            crc32=write_shard(path, [batch], image_size_px=SIZE_PX, recipe="r"),
        )
        write_manifest(folder, [shard], image_size_px=SIZE_PX)


def promotable(folder: Path, *, num_images: int = 150) -> Promotable:
    """Returns a new one with images and no version."""
    project = Promotable(folder=folder)
    project.add_images(0, num_images)
    project.set_params()
    return project


def schema_of(names: Iterable[str]) -> AttributeSchema:
    """Returns the schema of some attributes, in their order."""
    attributes = tuple(SCHEMA.attributes[SCHEMA.index(name)] for name in names)
    return replace(SCHEMA, attributes=attributes)


def _values(image: int) -> tuple[int, int]:
    return image % 4, image // 4 % 4
