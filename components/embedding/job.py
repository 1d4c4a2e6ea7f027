"""Embedding images with a registered model, every attribute in one pass: a Ray Data job, or here.

Tasks read and decode a batch of images, actors that hold the network embed it, and writers, which
are tasks too, put batches together into parts and write them. This process plans the parts and
names them in the manifest. `batches.py` has what goes between readers, actors and writers.

Shape letters: n images of a batch, S side in pixels, K attributes, D embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from components.embedding.batches import attributes_of, embedded_batch, read_schema
from components.embedding.embeddings import Embeddings
from components.embedding.making import OnProgress, make_parts, plan_parts
from components.embedding.part_files import Recipe
from components.embedding.source import Reader, Source
from components.embedding.writing import Done, PlannedPart, Work, write_parts
from components.freed_memory import keep_freed_memory
from components.images.decode import UnreadableImageError
from components.params import EmbedParams
from components.registry.inference import inference_of
from components.registry.package import Package

LoadNetwork = Callable[[str], nn.Module]
"""Returns on a device: a network from (pixels [n, S, S, 3], attributes [n, K]) to [n, K, D]."""

_WRITERS_PER_WORKER = 0.25  # on CPUs; with GPUs, a writer for each of them
_READER_BYTES = 2**29  # a process that reads, with its libraries

RaySession = Callable[..., AbstractContextManager[None]]
"""Called with `needed` and `num_cpus`: starts or joins Ray, if needed, while a block lasts."""


def embed_all(
    source: Source,
    package: Package,
    out: Path,
    *,
    model_name: str,
    model_version: int,
    params: EmbedParams,
    ray_session: RaySession,
    progress: AbstractContextManager[OnProgress],
    attributes: Sequence[str] | None = None,
    earlier: Sequence[Path] = (),
) -> Embeddings:
    """Returns the embeddings of all images by a model, of which it makes those that `out` lacks.

    What embeddings in `out`, or in the folders `earlier`, share with those of the model is taken
    over: by an ancestor, say. All workers see the package's folder. `ray_session` is entered once
    it is known whether anything is left to embed, `progress` when Ray runs. Without `attributes` it
    embeds for all that the model knows.

    Raises:
        HemlineError: the model does not know an attribute, no image can be read, or the store has
            another crop than the model.
    """
    schema = package.schema
    package = package.run_by(inference_of(package, params))
    recipe = Recipe(
        model_name=model_name,
        model_version=model_version,
        model_sha256=package.graph_sha256,
        image_size_px=package.image_size_px,
        attributes={schema.names[x]: x for x in map(schema.index, attributes or schema.names)},
        precision=package.inference.precision,
        runtime=package.inference.runtime,
        quantised=package.quantised_key if package.inference.precision == "int8" else None,
        storage=params.storage,
        crop=package.crop,
        ancestors=package.ancestors,
    )
    source = source.cropped(package.crop, of=f"models:/{model_name}/{model_version}")
    plans = plan_parts(source, out, recipe=recipe, images_per_part=params.images_per_part)
    is_on_ray = params.num_workers > 0
    needed = is_on_ray and not all(plan.is_done for plan in plans)
    num_readers = ceil(params.num_readers * source.reader.num_cpus)
    num_cpus = params.num_workers * params.cpus_per_worker + num_readers
    with ray_session(needed=needed, num_cpus=num_cpus), progress as on_progress:
        return make_parts(
            source,
            plans,
            out,
            recipe=recipe,
            write=partial(
                write_on_ray if is_on_ray else write_here,
                load_network=package.load_network,
                params=params,
            ),
            batch_size=params.batch_size_per_worker,
            on_progress=on_progress,
            prototypes=package.prototypes,
            earlier=earlier,
        )


def write_here(
    plans: Sequence[PlannedPart], work: Work, *, load_network: LoadNetwork, params: EmbedParams
) -> Iterator[Done]:
    """Makes parts in this process: a `writing.Write`."""
    embed = partial(embed_here, load_network=load_network, params=params)
    return write_parts(plans, work, embed=embed)


def write_on_ray(
    plans: Sequence[PlannedPart], work: Work, *, load_network: LoadNetwork, params: EmbedParams
) -> Iterator[Done]:
    """Makes parts in writers, each with a share of the actors and readers: a `writing.Write`.

    `load_network` must be picklable.
    """
    from components.embedding.writers import write_in_tasks  # noqa: PLC0415 - as in `embed_on_ray`

    per_worker = min(1, params.gpus_per_worker or _WRITERS_PER_WORKER)
    num_writers = min(len(plans), ceil(params.num_workers * per_worker))
    embeds = []
    for index in range(num_writers):
        share = replace(
            params,
            num_workers=len(range(index, params.num_workers, num_writers)),
            num_readers=max(1, len(range(index, params.num_readers, num_writers))),
        )
        embeds.append(partial(embed_on_ray, load_network=load_network, params=share))
    return write_in_tasks(plans, work, embeds)


def embed_on_ray(
    batches: list[pa.Table],
    reader: Reader,
    recipe: Recipe,
    *,
    load_network: LoadNetwork,
    params: EmbedParams,
) -> Iterator[pa.Table]:
    """Yields the batches with their embeddings: a `batches.Embed`.

    `load_network` is called once in every actor; it must be picklable.
    """
    import ray.data  # noqa: PLC0415 - a second that a few images in this process need not wait

    read = partial(read_batch, reader=reader, image_size_px=recipe.image_size_px, crop=recipe.crop)
    whole_block = {"batch_size": None, "batch_format": "pyarrow"}  # a block holds one batch
    embedded = (
        ray.data.from_arrow(batches)
        .map_batches(
            read,
            **whole_block,
            num_cpus=reader.num_cpus,
            compute=ray.data.TaskPoolStrategy(size=params.num_readers),
            # also sets reading apart: with equal resources, Ray Data would read inside the actors
            memory=_READER_BYTES + 6 * recipe.image_size_px**2 * params.batch_size_per_worker,
        )
        .map_batches(
            Embedder,
            **whole_block,
            fn_constructor_kwargs={
                "load_network": load_network,
                "recipe": recipe,
                "params": params,
            },
            compute=ray.data.ActorPoolStrategy(size=min(params.num_workers, len(batches))),
            num_cpus=params.cpus_per_worker,
            num_gpus=params.gpus_per_worker,
        )
    )
    yield from embedded.iter_batches(**whole_block)


def embed_here(
    batches: list[pa.Table],
    reader: Reader,
    recipe: Recipe,
    *,
    load_network: LoadNetwork,
    params: EmbedParams,
) -> Iterator[pa.Table]:
    """Yields the batches with their embeddings, made in this process: a `batches.Embed`."""
    embedder = Embedder(load_network=load_network, recipe=recipe, params=params)
    for batch in batches:
        read = read_batch(
            batch, reader=reader, image_size_px=recipe.image_size_px, crop=recipe.crop
        )
        yield embedder(read)


def read_batch(batch: pa.Table, *, reader: Reader, image_size_px: int, crop: str) -> pa.Table:
    """Returns a batch of `TO_READ` as `read_schema`."""
    pixels_nSS3 = np.zeros((len(batch), image_size_px, image_size_px, 3), np.uint8)
    reasons: list[str | None] = [None] * len(batch)
    details: list[str | None] = [None] * len(batch)
    images_n, addresses = batch["image"].to_numpy(), batch["address"].to_pylist()
    found = reader.read(images_n, addresses, image_size_px=image_size_px, crop=crop)
    for row, pixels in enumerate(found):
        if isinstance(pixels, UnreadableImageError):
            reasons[row], details[row] = pixels.reason, pixels.detail
        else:
            pixels_nSS3[row] = pixels
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels_nSS3)
    columns = [*batch.drop_columns("address").columns, reasons, details, tensors]
    return pa.table(columns, schema=read_schema(image_size_px))


class Embedder:
    """Embeds batches; lives in an actor, or in this process."""

    def __init__(self, *, load_network: LoadNetwork, recipe: Recipe, params: EmbedParams) -> None:
        torch.set_num_threads(params.cpus_per_worker)
        keep_freed_memory()
        self._device = torch.device("cuda" if params.gpus_per_worker else "cpu")
        self._network = load_network(self._device.type)
        self._numbers = recipe.attributes
        self._storage = recipe.storage

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Returns a batch of `read_schema` as `embedded_schema`."""
        pixels_nSS3 = batch["pixels"].combine_chunks().to_numpy_ndarray()
        numbers = [self._numbers[name] for name in attributes_of(batch)]
        asked_nK = torch.tensor(numbers, device=self._device).expand(len(batch), -1)
        with torch.inference_mode():
            embeddings_nKD = self._network(torch.tensor(pixels_nSS3, device=self._device), asked_nK)
        stored_nKD = embeddings_nKD.to(getattr(torch, self._storage)).cpu().contiguous().numpy()
        return embedded_batch(batch, stored_nKD)
