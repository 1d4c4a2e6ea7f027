"""Random images per second from the store: against a DataLoader that decodes, and against memcpy.

python -m benchmarks.gather
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.machine import machine
from benchmarks.photographs import write_photographs
from components.images.preprocess import preprocess
from components.images.store import ImageStore

NUM_IMAGES, BATCH_SIZE, NUM_BATCHES, SOURCE_PX = 2048, 64, 100, 256


class Photographs(Dataset[torch.Tensor]):
    """JPEG files, decoded, resized and cropped one at a time, as training code usually does."""

    def __init__(self, paths: list[Path], image_size_px: int) -> None:
        self._paths = paths
        self._transform = v2.Compose(
            [v2.Resize(image_size_px), v2.CenterCrop(image_size_px), v2.PILToTensor()]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._transform(Image.open(self._paths[index]).convert("RGB"))


def main() -> None:
    """Prints images/s of the three ways and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size-px", type=int, default=224)
    size = parser.parse_args().image_size_px
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = write_photographs(
            folder, num_images=NUM_IMAGES, num_pictures=NUM_IMAGES, side_px=SOURCE_PX
        )
        store = make_store(images, folder, size)
        draws = np.random.default_rng(0).integers(NUM_IMAGES, size=(NUM_BATCHES, BATCH_SIZE))
        pixels = store.gather(images["image"].to_numpy())
        starts = range(0, NUM_IMAGES - BATCH_SIZE, NUM_IMAGES // NUM_BATCHES)
        gathered = images_per_s(lambda: [store.gather(numbers) for numbers in draws])
        copied = images_per_s(
            lambda: [pixels[start : start + BATCH_SIZE].copy() for start in starts[:NUM_BATCHES]]
        )
        loaded = loader_images_per_s([folder / path for path in images["path"].to_pylist()], size)
    print(machine())
    print(f"store, batches of {BATCH_SIZE} at {size} px   {gathered:10,.0f} images/s")
    print(f"memcpy of as many bytes         {copied:10,.0f} images/s")
    print(f"DataLoader, 2 workers, decoding {loaded:10,.0f} images/s")
    print(f"store / DataLoader {gathered / loaded:.0f}, store / memcpy {gathered / copied:.2f}")


def make_store(images: pa.Table, folder: Path, size: int) -> ImageStore:
    """Returns a store of the images, made by the pipeline's own job."""
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    preprocess(
        images,
        folder,
        folder / "store",
        image_size_px=size,
        images_per_shard=NUM_IMAGES // 2,
        num_workers=2,
        on_progress=lambda _: None,
    )
    ray.shutdown()
    return ImageStore(folder / "store")


def images_per_s(work: Callable[[], object]) -> float:
    """Returns the speed of the best of five rounds of NUM_BATCHES batches."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return NUM_BATCHES * BATCH_SIZE / min(seconds)


def loader_images_per_s(paths: list[Path], size: int) -> float:
    """Returns the speed of one pass over all files, workers already started."""
    loader = DataLoader(
        Photographs(paths, size),
        batch_size=BATCH_SIZE,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
    )
    for _ in loader:  # starts the workers, fills the page cache
        pass
    start = time.perf_counter()
    for _ in loader:
        pass
    return len(paths) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
