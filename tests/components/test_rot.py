"""A bit is flipped anywhere in a file: an error names it and a remedy, or nothing else is read.

Shards, which are the largest files, are flipped at every byte in `images/test_store.py`.
"""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_run
from builders import random_prototypes
from embedded_folders import unit_vectors, write_embedded_folder

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.embeddings import MANIFEST, Embeddings, read_embeddings, write_embeddings
from components.embedding.part_files import listed_files
from components.errors import HemlineError
from components.images import store
from components.neighbours import folder as neighbours
from components.neighbours.job import parts_here
from components.neighbours.making import make_neighbours
from components.prototypes.prototypes import Prototypes, read_prototypes, write_prototypes
from components.registry.package import NETWORK_FILE, PACKAGE_FILE, read_package
from components.registry.quantised import quantised_graph, write_about
from components.search.finder import Finder
from components.search.index import build_index, index_files, read_index
from components.search.request import SearchRequest
from components.search.vector_map import mapped_vectors, write_map
from components.tagging import folder as tags
from components.training.setup import build_network
from components.training.trained import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    load_weights,
    read_trained_model,
    save_weights,
    write_trained_model,
)

PLACES = 200  # of a file, at most
REMEDIES = ("remove", "delete", "again", "fetch")
NUM_ITEMS, DIM = 1000, 16
SCHEMA = AttributeSchema(dataset="d", attributes=(Attribute(name="fit", values=("a", "b")),))


def check_rot(path: Path, read: Callable[[], Any], *, least_share: float = 0.95) -> None:
    """Flips bits of a file, one at a time, and reads: so many of them have to be errors."""
    expected, data, num_found = read(), path.read_bytes(), 0
    places = np.unique(np.linspace(0, len(data) - 1, PLACES).astype(int)).tolist()
    for number, place in enumerate(places):
        flipped = data[place] ^ (1 << number % 8)
        path.unlink()  # the last one may still be mapped
        path.write_bytes(data[:place] + bytes([flipped]) + data[place + 1 :])
        where = f"byte {place} of {len(data)}, {data[place]:#x} became {flipped:#x}"
        found, problem = None, ""
        try:
            found = read()
        except HemlineError as error:
            problem = str(error)
        if problem:
            assert path.name in problem, f"{where}: {problem}"
            assert any(word in problem for word in REMEDIES), f"{where}: {problem}"
            num_found += 1
        else:
            assert found == expected, where
    path.unlink()
    path.write_bytes(data)
    assert num_found >= least_share * len(places)


def plain(arrays: Any) -> list[bytes]:
    """Returns arrays as what can be compared."""
    return [np.asarray(array).tobytes() for array in arrays]


@pytest.fixture
def embedded(tmp_path: Path) -> Embeddings:
    vectors = {"fit": unit_vectors(NUM_ITEMS, DIM)}
    made = random_prototypes(SCHEMA, dim=DIM)
    embedded = write_embedded_folder(
        tmp_path / "embedded", vectors, part_sizes=[100, NUM_ITEMS - 100], prototypes=made
    )
    names = {path.relative_to(embedded.folder).as_posix(): path for path in listed_files(embedded)}
    crc32 = {name: files.checksum(path) for name, path in names.items()}
    embedded = replace(embedded, crc32=crc32)
    write_embeddings(embedded)
    return embedded


def plain_prototypes(made: Prototypes) -> Any:
    """Returns all of them as what can be compared."""
    attributes = {
        name: (x.values, plain([x.vectors_VD, x.num_images_V, x.spread_V]))
        for name, x in made.attributes.items()
    }
    return attributes, made.weights, made.calibrations, made.model


def everything(folder: Path) -> Any:
    """Returns what is read of embeddings."""
    read = read_embeddings(folder)
    for path in listed_files(read):
        read.check(path)
    vectors = [plain(part) for part in read.vectors("fit")]
    return read, vectors, read.items().to_pydict(), plain_prototypes(read.prototypes())


def test_embeddings(embedded: Embeddings) -> None:
    check_rot(embedded.folder / MANIFEST, lambda: everything(embedded.folder), least_share=0.8)
    for path in listed_files(embedded):
        check_rot(path, lambda: everything(embedded.folder))


def test_an_index_and_a_map(embedded: Embeddings) -> None:
    build_index(embedded, "fit")
    write_map(embedded, "fit")
    query = unit_vectors(1, DIM, seed=1)[0]

    def nearest() -> list[bytes]:
        index = read_index(embedded, "fit")
        assert index is not None
        found = index.nearest(query, top_k=5)
        return plain([found.images, *(x for part in mapped_vectors(embedded, "fit") for x in part)])

    for path in index_files(embedded):
        check_rot(path, nearest)
        check_rot(path.with_suffix(".json"), nearest, least_share=0.8)


def test_tags_and_neighbours(embedded: Embeddings, tmp_path: Path) -> None:
    tags.make_tags(embedded, random_prototypes(SCHEMA, dim=DIM), ["fit"], tmp_path / "tags")
    path = tmp_path / "tags" / tags.MANIFEST
    check_rot(path, lambda: tags.read_tags(path.parent), least_share=0.8)
    asked = [SearchRequest(weights={"fit": 1.0}, top_k=3)]
    work = nullcontext(lambda number: None)
    out = tmp_path / "neighbours"
    make_neighbours(Finder(embedded, None), embedded, asked, out, run_parts=parts_here, work=work)
    path = out / neighbours.MANIFEST
    check_rot(path, lambda: neighbours.read_neighbours(out), least_share=0.8)


def test_a_store(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    images, name = [0, 1, 2], store.shard_file(0)
    stored = store.StoredImages(images, ["0" * 64] * 3, pixels)
    crc32 = store.write_shard(tmp_path / name, [stored], image_size_px=8, recipe="r")
    shard = store.Shard(file=name, key="k", num_images=3, quarantined=(), crc32=crc32)
    store.write_manifest(tmp_path, [shard], image_size_px=8)

    def read() -> Any:
        held = store.ImageStore(tmp_path)
        numbers = (held.image_size_px, held.crop, held.images.tolist())
        return store.read_shards(tmp_path), numbers, held.gather(held.images).tobytes()

    check_rot(tmp_path / store.MANIFEST, read, least_share=0.8)
    check_rot(tmp_path / name, lambda: store.read_hashes(tmp_path).to_pydict(), least_share=0.2)


def test_a_package(example: Any, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(example.package.folder, folder)

    def read() -> Any:
        package = read_package(folder)
        package.check()
        return package

    check_rot(folder / PACKAGE_FILE, read, least_share=0.8)
    for name in (NETWORK_FILE, tables.PROTOTYPES_FILE):
        check_rot(folder / name, read, least_share=1)


def test_prototypes_and_whose_graph_it_is(tmp_path: Path) -> None:
    path = tmp_path / "prototypes.parquet"
    write_prototypes(random_prototypes(SCHEMA, dim=DIM), path)
    check_rot(path, lambda: plain_prototypes(read_prototypes(path)), least_share=0.6)
    write_about(tmp_path, model="0" * 16)
    check_rot(
        tmp_path / "quantised.json",
        lambda: quantised_graph(tmp_path, model="0" * 16),
        least_share=0.8,
    )


def test_a_checkpoint(tmp_path: Path) -> None:
    inputs = small_run.write_inputs(tmp_path / "inputs", num_epochs=1, steps_per_epoch=1)
    state = small_run.build(inputs, tmp_path / "state").state
    state.save()

    def read() -> Any:
        state.restore()
        return plain(state.network.state_dict().values()), state.curve, state.steps_done

    (path,) = (tmp_path / "state").glob("step-*.pt")
    check_rot(path, read, least_share=0.8)


def test_a_trained_model(tmp_path: Path) -> None:
    best, folder = tmp_path / "state/best.safetensors", tmp_path / "model"
    save_weights(build_network(small_run.MODEL, small_run.SCHEMA), best)

    def weights() -> Any:
        state, pixels = load_weights(best)
        return {name: tensor.numpy().tobytes() for name, tensor in state.items()}, pixels

    check_rot(best, weights)
    write_trained_model(
        folder,
        best,
        description={"model": asdict(small_run.MODEL)},
        schema=small_run.SCHEMA,
        image_size_px=32,
    )

    def read() -> Any:
        model = read_trained_model(folder)
        state = model.network.state_dict()
        return plain(state.values()), model.schema, model.image_size_px, model.crop

    check_rot(folder / WEIGHTS_FILE, read, least_share=1)
    check_rot(folder / DESCRIPTION_FILE, read, least_share=0.8)
