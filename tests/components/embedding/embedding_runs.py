"""Small runs of batch embedding, for tests here and for programs that they kill."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from builders import encoded, noise
from numpy.typing import NDArray
from ray import cloudpickle
from torch import Tensor, nn

from components import files, tables
from components.embedding.embeddings import Embeddings, part_path, read_embeddings
from components.embedding.file_source import FileReader, list_files
from components.embedding.job import embed_here, write_here, write_on_ray
from components.embedding.making import OnProgress, make_parts, plan_parts
from components.embedding.part_files import Recipe, numbered_images
from components.embedding.source import Pixels, Reader, Source
from components.embedding.writing import Write
from components.images.decode import decode
from components.params import EmbedParams

SIZE_PX = 32
ATTRIBUTES = {"collar": 0, "hem / cuff": 1}
RECIPE = Recipe(
    model_name="small",
    model_version=1,
    model_sha256="0" * 64,
    image_size_px=SIZE_PX,
    attributes=ATTRIBUTES,
    precision="fp32",
)
PARAMS = EmbedParams(
    num_workers=2,
    cpus_per_worker=1,
    gpus_per_worker=0,
    batch_size_per_worker=3,
    num_readers=2,
    precision="fp32",
    images_per_part=8,
)
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


class Projection(nn.Module):
    """Another linear map of the pixels for every attribute: different for different pictures."""

    def __init__(self) -> None:
        super().__init__()
        shape = (len(ATTRIBUTES), 3 * SIZE_PX**2, 8)
        self.weight = torch.randn(shape, generator=torch.Generator().manual_seed(5))

    def forward(self, pixels_nSS3: Tensor, attributes_nK: Tensor) -> Tensor:
        flat = pixels_nSS3.flatten(1).float() - 128
        vectors = torch.einsum("np,nkpd->nkd", flat, self.weight[attributes_nK])
        return nn.functional.normalize(vectors, dim=-1)


def picture(seed: int) -> bytes:
    """Returns a small picture; another one for every seed."""
    return encoded(noise(40, 36, seed=seed))


def readable(folder: Path) -> dict[str, Path]:
    """Returns the files of the fixture `folder` that can be read, by their paths in it."""
    unread = {"broken.jpg", "empty.png"}
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*.??g")}
    return {name: path for name, path in found.items() if name not in unread}


def load_network(device: str) -> nn.Module:
    """Returns the network as actors load it."""
    return Projection().to(device)


@dataclass(frozen=True, kw_only=True)
class NotingReader:
    """Reads files and notes which, and takes its time.

    Attributes:
        notes: file with a line for every file that was read.
        pause_s: before every batch.
        awaited: file without which no more than `num_free` files are read.
    """

    notes: Path
    pause_s: float = 0
    awaited: Path | None = None
    num_free: int = 0
    num_cpus: float = 1

    def read(
        self,
        images_n: NDArray[np.int64],
        addresses: Sequence[str],
        *,
        image_size_px: int,
        crop: str,
    ) -> Iterable[Pixels]:
        time.sleep(self.pause_s)
        while self.awaited and not self.awaited.exists() and self._num_read() > self.num_free:
            time.sleep(0.02)
        with self.notes.open("a") as file:
            file.write("".join(f"{address}\n" for address in addresses))
        return FileReader().read(images_n, addresses, image_size_px=image_size_px, crop=crop)

    def _num_read(self) -> int:
        return noted(self.notes).total()


def noted(notes: Path) -> Counter[str]:
    """Returns how often each file was read, by its name."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return Counter(Path(line).name for line in lines)


def list_again(folder: str, out: Path, reader: NotingReader) -> Source:
    """Returns a folder's images with the numbers that they have in `out`."""
    source = list_files(folder, numbered=numbered_images(out))
    return Source(
        items=source.items,
        addresses=source.addresses,
        root=source.root,
        reader=reader,
    )


def embed_and_die(
    batches: list[pa.Table],
    reader: Reader,
    recipe: Recipe,
    *,
    num_batches: int,
    died: Path | None = None,
) -> Iterator[pa.Table]:
    """Embeds here, and kills its process after so many batches; with `died`, a file, only once."""
    embedded = embed_here(batches, reader, recipe, load_network=load_network, params=PARAMS)
    for number, batch in enumerate(embedded):
        if number == num_batches and not (died and died.exists()):
            if died:
                died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch


on_ray = partial(write_on_ray, load_network=load_network, params=PARAMS)
in_process = partial(write_here, load_network=load_network, params=PARAMS)


def run(
    source: Source,
    out: Path,
    *,
    write: Write = in_process,
    recipe: Recipe = RECIPE,
    images_per_part: int = PARAMS.images_per_part,
    on_progress: OnProgress = lambda _: None,
) -> int:
    """Embeds and returns how much progress was reported."""
    done: list[int] = []

    def count(num_images: int) -> None:
        done.append(num_images)
        on_progress(num_images)

    make_parts(
        source,
        plan_parts(source, out, recipe=recipe, images_per_part=images_per_part),
        out,
        recipe=recipe,
        write=write,
        batch_size=PARAMS.batch_size_per_worker,
        on_progress=count,
    )
    return sum(done)


def assert_exact(out: Path, readable: dict[str, Path], unreadable: set[str]) -> Embeddings:
    """Asserts that every readable file is embedded once, rightly, and the others quarantined."""
    embeddings = read_embeddings(out)
    items = embeddings.items()
    path_of = dict(zip(items["image"].to_pylist(), items["path"].to_pylist(), strict=True))
    assert sorted(path_of.values()) == sorted(readable)
    quarantine = files.read_table(out / "quarantine.parquet", schema=tables.QUARANTINE)
    assert quarantine["path"].to_pylist() == sorted(unreadable)
    assert embeddings.num_quarantined == len(unreadable)
    assert embeddings.num_images == len(readable)
    network = Projection()
    for attribute in embeddings.attributes:
        vectors = list(embeddings.vectors(attribute))
        images = np.concatenate([each.images_n for each in vectors])
        found = np.concatenate([each.embeddings_nD for each in vectors])
        assert sorted(images.tolist()) == sorted(path_of), "each once"
        files_of = [readable[path_of[image]] for image in images.tolist()]
        pixels = np.stack([decode(f.read_bytes(), image_size_px=SIZE_PX) for f in files_of])
        asked = torch.full((len(pixels), 1), ATTRIBUTES[attribute])
        expected = network(torch.from_numpy(pixels), asked)[:, 0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-3)  # float16
    parts = [part for part in embeddings.parts if part.num_images]
    named = {part_path(out, name, part.key) for name in embeddings.attributes for part in parts}
    assert {*out.glob("vectors/**/*")} == named, "nothing else lies there"
    return embeddings
