"""The Ray Data job that embeds the catalogue with a registered model.

Actors hold the network. One task embeds one shard of the image store, every attribute in one
backbone pass, and writes one part per attribute:
`attribute=<name>/part-00000.parquet`, columns of `tables.embeddings_schema`.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from torch import nn

from components import files, tables
from components.attributes import AttributeSchema
from components.images.remote_store import StoreLocation
from components.images.store import read_numbers, read_shard, read_shards

LoadNetwork = Callable[[], nn.Module]
"""Returns a network from (uint8 pixels [B, S, S, 3], attributes [B, K]) to [B, K, D]."""


@dataclass(frozen=True, kw_only=True)
class EmbedderActors:
    """How many actors embed, and what each gets."""

    num_workers: int
    cpus_per_worker: int
    use_gpu: bool
    batch_size_per_worker: int


def attribute_folder(embeddings: Path, attribute: str) -> Path:
    """Returns the folder of an attribute's parts; its name is escaped as in a URL."""
    return embeddings / f"attribute={quote(attribute, safe='')}"


def embed_catalogue(
    store: StoreLocation,
    images: pa.Table,
    out: Path,
    *,
    schema: AttributeSchema,
    load_network: LoadNetwork,
    model_name: str,
    model_version: int,
    actors: EmbedderActors,
    on_progress: Callable[[int], None],
) -> None:
    """Embeds every image of the store for every attribute into the folder `out`, made anew.

    `out/manifest.json` is written last: it names the model and counts the images, and a folder
    without it is not complete.

    Args:
        store: where the image store lies.
        images: the catalog's images, for their paths.
        out: folder to write.
        schema: attributes that the model knows.
        load_network: called once in every actor; must be picklable.
        model_name: of the registry.
        model_version: of the registry.
        actors: how the work is spread.
        on_progress: called with the number of images done since its last call.
    """
    shutil.rmtree(out, ignore_errors=True)
    folder = store.local()
    shards = [shard.file for shard in read_shards(folder) if shard.num_images]
    jobs = [_job(index, folder / shard, images) for index, shard in enumerate(shards)]
    results = ray.data.from_items(jobs, override_num_blocks=len(jobs)).map(
        _Embedder,
        fn_constructor_kwargs={
            "store": store,
            "out": out.absolute(),
            "attributes": schema.names,
            "load_network": load_network,
            "model_name": model_name,
            "model_version": model_version,
            "actors": actors,
        },
        compute=ray.data.ActorPoolStrategy(size=min(actors.num_workers, len(jobs))),
        num_cpus=actors.cpus_per_worker,
        num_gpus=1 if actors.use_gpu else 0,
    )
    num_images = 0
    for row in results.iter_rows():
        num_images += row["num_images"]
        on_progress(row["num_images"])
    manifest = {
        "model_name": model_name,
        "model_version": model_version,
        "attributes": schema.names,
        "num_images": num_images,
    }
    files.write_json(manifest, out / "manifest.json")


def _job(index: int, shard: Path, images: pa.Table) -> dict[str, Any]:
    numbers = read_numbers(shard)
    rows = np.searchsorted(images["image"].to_numpy(), numbers)
    paths = images["path"].take(pa.array(rows)).to_pylist()
    return {"index": index, "shard": shard.name, "paths": paths}


class _Embedder:
    """Embeds shards; lives in an actor."""

    def __init__(
        self,
        *,
        store: StoreLocation,
        out: Path,
        attributes: list[str],
        load_network: LoadNetwork,
        model_name: str,
        model_version: int,
        actors: EmbedderActors,
    ) -> None:
        torch.set_num_threads(actors.cpus_per_worker)
        self._device = torch.device("cuda" if actors.use_gpu else "cpu")
        self._network = load_network().to(self._device)
        self._batch_size = actors.batch_size_per_worker
        self._store = store.local()
        self._out = out
        self._attributes = attributes
        self._model_name = model_name
        self._model_version = model_version

    def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        images, pixels = read_shard(self._store / job["shard"])
        embeddings_NKD = self._embed(pixels)
        for k, attribute in enumerate(self._attributes):
            part = attribute_folder(self._out, attribute) / f"part-{job['index']:05d}.parquet"
            self._write(part, attribute, images, job["paths"], embeddings_NKD[:, k])
        return {"num_images": len(images)}

    @torch.inference_mode()
    def _embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        parts = []
        for start in range(0, len(pixels), self._batch_size):
            # a copy: a memory map is read-only, which torch does not support
            batch = torch.from_numpy(pixels[start : start + self._batch_size].copy())
            batch = batch.to(self._device)
            asked = torch.arange(len(self._attributes), device=self._device)
            parts.append(self._network(batch, asked.expand(len(batch), -1)).half().cpu().numpy())
        return np.concatenate(parts)

    def _write(
        self,
        part: Path,
        attribute: str,
        images: NDArray[np.int64],
        paths: Sequence[str],
        embeddings_ND: NDArray[np.float16],
    ) -> None:
        num_images, embedding_dim = embeddings_ND.shape
        flat = pa.array(np.ascontiguousarray(embeddings_ND).ravel(), pa.float16())
        columns = [
            pa.array(images),
            pa.array(paths, pa.string()),
            pa.array([attribute] * num_images),
            pa.FixedSizeListArray.from_arrays(flat, embedding_dim),
            pa.array([self._model_name] * num_images),
            pa.array([self._model_version] * num_images, pa.int32()),
        ]
        schema = tables.embeddings_schema(embedding_dim)
        files.write_table(pa.table(columns, names=schema.names), part, schema=schema)
