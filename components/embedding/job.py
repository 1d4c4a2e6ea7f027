"""The Ray Data job that embeds images with a registered model, every attribute in one pass.

Tasks read and decode a batch of images, actors that hold the network embed it, and this process
brings batches together into parts. A part that is there is not made again, so that a run that was
killed goes on where it stopped.

Shape letters: n images of a batch, S side in pixels, K attributes, D embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from torch import nn

from components.embedding.embeddings import Embeddings
from components.embedding.making import PartInMaking, PartPlan, Recipe, conclude
from components.embedding.source import Reader, Source
from components.images.decode import UnreadableImageError

LoadNetwork = Callable[[str], nn.Module]
"""Returns on a device: a network from (pixels [n, S, S, 3], attributes [n, K]) to [n, K, D]."""


_READER_BYTES = 2**29  # of a process that reads, with its libraries


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How the work is spread.

    Attributes:
        num_workers: actors that embed.
        cpus_per_worker: threads of an actor.
        gpus_per_worker: GPUs of an actor; a fraction lets several share one, 0: none.
        batch_size_per_worker: images that an actor embeds at once.
        num_readers: tasks at a time that read and decode.
    """

    num_workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    batch_size_per_worker: int
    num_readers: int

    def num_cpus(self, reader: Reader) -> int:
        """Returns how many CPUs all of them take."""
        return self.num_workers * self.cpus_per_worker + ceil(self.num_readers * reader.num_cpus)


def embed(
    source: Source,
    plans: Sequence[PartPlan],
    out: Path,
    *,
    recipe: Recipe,
    load_network: LoadNetwork,
    workers: Workers,
    on_progress: Callable[[int], None],
) -> Embeddings:
    """Embeds what is left of a plan, and writes the catalogue's manifest last.

    Args:
        source: the images.
        plans: all parts of the catalogue.
        out: its folder.
        recipe: how images are embedded.
        load_network: called once in every actor; must be picklable.
        workers: how the work is spread.
        on_progress: called with the number of images done since its last call.

    Raises:
        HemlineError: no image can be read.
    """
    making = {plan.key: PartInMaking(plan, out, recipe) for plan in plans if not plan.is_done}
    num_images = sum(len(plan.items) for plan in plans)
    batches = [
        batch for each in making.values() for batch in each.batches(workers.batch_size_per_worker)
    ]
    on_progress(num_images - sum(len(batch["places"]) for batch in batches))
    for key in [key for key, each in making.items() if each.is_complete]:
        making.pop(key).write()  # all its images were held
    if batches:
        for batch in _embed_batches(batches, source.reader, recipe, load_network, workers):
            key = batch["key"]
            making[key].add(batch)
            on_progress(len(batch["places"]))
            if making[key].is_complete:
                making.pop(key).write()
    assert not making, "every batch comes back"
    return conclude(source, plans, out, recipe=recipe)


def _embed_batches(
    batches: list[dict[str, Any]],
    reader: Reader,
    recipe: Recipe,
    load_network: LoadNetwork,
    workers: Workers,
) -> Iterator[dict[str, Any]]:
    """Yields the batches with their embeddings, in any order."""
    read = partial(_read, reader=reader, image_size_px=recipe.image_size_px)
    embedded = (
        ray.data.from_items(batches, override_num_blocks=len(batches))
        .map(
            read,
            num_cpus=reader.num_cpus,
            compute=ray.data.TaskPoolStrategy(size=workers.num_readers),
            # also sets reading apart: with equal resources, Ray Data would read inside the actors
            memory=_READER_BYTES + 6 * recipe.image_size_px**2 * workers.batch_size_per_worker,
        )
        .map(
            _Embedder,
            fn_constructor_kwargs={
                "load_network": load_network,
                "recipe": recipe,
                "workers": workers,
            },
            compute=ray.data.ActorPoolStrategy(size=min(workers.num_workers, len(batches))),
            num_cpus=workers.cpus_per_worker,
            num_gpus=workers.gpus_per_worker,
        )
    )
    yield from embedded.iter_rows()


def _read(batch: dict[str, Any], *, reader: Reader, image_size_px: int) -> dict[str, Any]:
    """Returns the batch with its pixels [n, S, S, 3], and why an image has none: then zeros."""
    num_images = len(batch["places"])
    pixels_nSS3 = np.zeros((num_images, image_size_px, image_size_px, 3), np.uint8)
    reasons, details = [""] * num_images, [""] * num_images
    addresses = list(batch.pop("addresses"))
    images_n = np.asarray(batch.pop("images"))
    for place, pixels in enumerate(reader.read(images_n, addresses, image_size_px=image_size_px)):
        if isinstance(pixels, UnreadableImageError):
            reasons[place], details[place] = pixels.reason, pixels.detail
        else:
            pixels_nSS3[place] = pixels
    return {**batch, "pixels": pixels_nSS3, "reasons": reasons, "details": details}


class _Embedder:
    """Embeds batches; lives in an actor."""

    def __init__(self, *, load_network: LoadNetwork, recipe: Recipe, workers: Workers) -> None:
        torch.set_num_threads(workers.cpus_per_worker)
        self._device = torch.device("cuda" if workers.gpus_per_worker else "cpu")
        self._network = load_network(self._device.type)
        self._asked = torch.tensor(list(recipe.attributes.values()), device=self._device)
        self._bf16 = recipe.precision == "bf16"

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the batch with embeddings [n, K, D] instead of its pixels."""
        pixels_nSS3 = torch.from_numpy(np.array(batch.pop("pixels"))).to(self._device)
        asked_nK = self._asked.expand(len(pixels_nSS3), -1)
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16),
        ):
            embeddings_nKD = self._network(pixels_nSS3, asked_nK)
        return {**batch, "embeddings": embeddings_nKD.half().cpu().numpy()}
