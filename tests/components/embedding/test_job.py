"""Batch embedding with real Ray: every image once; `test_making.py` has the rest without it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from builders import images_table, random_prototypes, write_files
from consumer_docs import documented
from embedding_runs import (
    ATTRIBUTES,
    PARAMS,
    SIZE_PX,
    NotingReader,
    assert_exact,
    list_again,
    noted,
    on_ray,
    picture,
    readable,
    run,
)
from grown import HERE, VERSION_OF, write_grown
from torch import Tensor, nn

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.embeddings import Embeddings, part_path, read_embeddings
from components.embedding.file_source import list_files
from components.embedding.job import embed_all
from components.embedding.part_files import numbered_images
from components.embedding.source import stored_images
from components.images.preprocess import preprocess
from components.images.remote_store import StoreLocation
from components.networks import IMAGENET_PIXELS
from components.precision import resolve_precision
from components.prototypes.prototypes import write_prototypes
from components.registry import registration
from components.registry.graph import write_package
from components.registry.package import read_package
from components.tracking.runs import Tracking, start_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_every_readable_image_is_embedded_once(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    source = list_again(str(folder), out, NotingReader(notes=notes))
    assert run(source, out, write=on_ray) == 22
    assert set(noted(notes).values()) == {1}
    embeddings = assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert embeddings.attributes == tuple(ATTRIBUTES)
    assert embeddings.root == str(folder)
    assert [part.num_images for part in embeddings.parts] == [8, 8, 4]
    rows = pq.read_table(part_path(out, "hem / cuff", embeddings.parts[0].key), partitioning=None)
    assert set(rows["attribute"].to_pylist()) == {"hem / cuff"}
    assert set(rows["model_version"].to_pylist()) == {1}
    assert rows["path"].to_pylist() == embeddings.items()["path"][:8].to_pylist()


class Colour(nn.Module):
    """Embeds an image's mean colour, through another linear map for every attribute."""

    pixel_statistics = IMAGENET_PIXELS

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(3)))

    def forward(self, images_n3SS: Tensor, attributes_nK: Tensor) -> Tensor:
        vectors = torch.einsum("nc,nkcd->nkd", images_n3SS.mean((2, 3)), self.maps[attributes_nK])
        return nn.functional.normalize(vectors, dim=-1)


def test_all_is_embedded_with_a_package_and_then_needs_no_ray(folder: Path, tmp_path: Path) -> None:
    """Nor does it where there are no workers: what is embedded is the same."""
    values = ("a", "b")
    attributes = tuple(Attribute(name=name, values=values) for name in ATTRIBUTES)
    schema = AttributeSchema(dataset="noise", attributes=attributes)
    prototypes = random_prototypes(schema, dim=4)
    write_prototypes(prototypes, tmp_path / "made.parquet")
    write_package(
        Colour(),
        tmp_path / "package",
        schema=schema,
        image_size_px=SIZE_PX,
        prototypes=tmp_path / "made.parquet",
    )
    asked = []

    @contextmanager
    def session(*, needed: bool, num_cpus: int) -> Iterator[None]:
        asked.append((needed, num_cpus))
        yield

    done = [
        embed_all(
            list_files(str(folder), numbered=numbered_images(tmp_path / out)),
            read_package(tmp_path / "package"),
            tmp_path / out,
            model_name="hemline",
            model_version=3,
            params=replace(PARAMS, precision="auto", num_workers=num_workers),
            ray_session=session,
            progress=nullcontext(lambda _: None),
        )
        for out, num_workers in (("out", 2), ("out", 2), ("here", 0))
    ]
    assert asked[:2] == [(True, 4), (False, 4)], "two actors and two readers of a CPU each"
    assert not asked[2][0]
    assert replace(done[2], folder=done[0].folder) == done[0], "also the checksums of vectors"
    assert done[0] == done[1] == read_embeddings(tmp_path / "out")
    assert (done[0].num_images, done[0].num_quarantined) == (20, 2)
    assert done[0].precision == resolve_precision("auto", on_gpu=False), "never auto"
    assert done[0].attributes == tuple(ATTRIBUTES)
    of_package = (tmp_path / "package" / tables.PROTOTYPES_FILE).read_bytes()
    assert (tmp_path / "out" / tables.PROTOTYPES_FILE).read_bytes() == of_package
    assert done[0].prototypes().weights == prototypes.weights
    assert "20 images for 2 attributes by models:/hemline/3" in done[0].summary()


def test_batches_for_other_attributes_come_in_one_run(folder: Path, tmp_path: Path) -> None:
    """Images that the parent embedded lack one attribute, new ones and unreadable ones all."""
    packages, made = write_grown(tmp_path / "packages"), {}
    for name, out, params in (
        ("parent", "out", HERE),
        ("child", "out", PARAMS),
        ("child", "alone", HERE),
    ):
        source = list_files(str(folder), numbered=numbered_images(tmp_path / out))
        made[out] = embed_all(
            source,
            packages[name],
            tmp_path / out,
            model_name="hemline",
            model_version=VERSION_OF[name],
            params=params,
            ray_session=lambda **_: nullcontext(),
            progress=nullcontext(lambda _: None),
        )
        write_files(folder, {"z.png": picture(99)})
    assert made["out"].num_images == made["alone"].num_images == 21
    for name in ("collar", "hem / cuff", "sleeve"):
        assert vector_of_path(made["out"], name) == vector_of_path(made["alone"], name)


def vector_of_path(embedded: Embeddings, attribute: str) -> dict[str, list[float]]:
    found = {}
    for part in embedded.parts:
        table = pq.read_table(embedded.part_path(attribute, part.key))
        found |= zip(table["path"].to_pylist(), table["embedding"].to_pylist(), strict=True)
    return found


def test_the_store_gives_what_its_files_give(folder: Path, tmp_path: Path) -> None:
    paths = sorted(readable(folder))
    images = images_table("0" * 64 for _ in paths)
    images = images.set_column(1, "path", [paths])
    preprocess(
        images,
        folder,
        tmp_path / "store",
        image_size_px=SIZE_PX,
        images_per_shard=6,
        num_workers=0,
        on_progress=lambda _: None,
    )
    location = StoreLocation(address=str(tmp_path / "store"), cache=tmp_path / "cache")
    out = tmp_path / "out"
    assert run(stored_images(location, images, tables.BOXES.empty_table()), out, write=on_ray) == 20
    embeddings = assert_exact(out, readable(folder), set())
    assert embeddings.root is None


def test_the_registrys_model_runs_in_ray_data_as_documented(
    example, pictures, tmp_path: Path
) -> None:
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_root=str(tmp_path / "f"))
    run_id = start_run(tracking, params={}, tags={})
    version = registration.register_package(
        example.package.folder, card="", tracking=tracking, run_id=run_id
    )
    (tmp_path / "photos").mkdir()
    for name, data in {"a.jpg": pictures[0], "b.jpg": b"no image", "c.jpg": pictures[1]}.items():
        (tmp_path / "photos" / name).write_bytes(data)
    text = documented("Ray Data").replace("http://your-mlflow-server", tracking.uri)
    text = text.replace("models:/hemline@champion", version.uri).replace("/data", str(tmp_path))
    exec(text.replace("neckline_design", "skirt"), {"__name__": "consumer"})
    found = pq.read_table(tmp_path / "embeddings").sort_by("path")
    assert found.schema.field("embedding").type == pa.list_(pa.float32())
    assert [Path(path).name for path in found["path"].to_pylist()] == ["a.jpg", "b.jpg", "c.jpg"]
    assert set(found["attribute"].to_pylist()) == {"skirt"}
    first, bad, last = found["embedding"].to_pylist()
    assert bad is None
    expected = example.embeddings(pictures[:2])[:, 1]
    torch.testing.assert_close(torch.tensor([first, last]), torch.from_numpy(expected))
