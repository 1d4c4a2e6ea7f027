"""The folder of a wardrobe: written whole or not at all, by as many processes as there are."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from components.datasets.fashionai import TRUTH_FILE
from components.errors import HemlineError

JPEG_QUALITY = 90
DATASET = "wardrobe"
"""What the data set calls itself, in FashionAI's layout: reports and cards take it from here."""

_MIN_IMAGE_SIZE_PX = 64
_IMAGES_PER_CHUNK = 32

_Drawn = TypeVar("_Drawn")


def check_at_least(**values_and_minima: tuple[int, int]) -> None:
    """Refuses an argument below its minimum.

    Raises:
        HemlineError: names the argument.
    """
    for name, (value, minimum) in values_and_minima.items():
        if value < minimum:
            raise HemlineError(f"{name} is {value}; it must be at least {minimum}")


def check_drawing(*, image_size_px: int, seed: int, num_processes: int) -> None:
    """Refuses what no wardrobe can be drawn with.

    Raises:
        HemlineError: an argument is out of range.
    """
    check_at_least(
        image_size_px=(image_size_px, _MIN_IMAGE_SIZE_PX),
        seed=(seed, 0),
        num_processes=(num_processes, 1),
    )


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Gives a new folder that becomes `out` at the end, in place of a wardrobe that is there.

    Where what is done with it fails, `out` stays as it was.

    Raises:
        HemlineError: `out` holds something else.
    """
    _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        root = Path(scratch) / "new"
        root.mkdir()
        yield root
        if out.exists():
            out.rename(Path(scratch) / "replaced")
        root.rename(out)


def _check_replaceable(out: Path) -> None:
    if not out.exists() or (out / TRUTH_FILE).is_file():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise HemlineError(
            f"{out} exists and does not hold a wardrobe (it has no {TRUTH_FILE}); "
            "choose another folder, or remove this one first"
        )


def draw_all(
    draw: Callable[[int], _Drawn],
    num_images: int,
    *,
    num_processes: int,
    on_progress: Callable[[int], None] | None,
) -> list[_Drawn]:
    """Returns what `draw` gives for every image, in order, each drawn by one of the processes.

    `on_progress` is called with the number of images finished since its last call.
    """
    if num_processes == 1:
        return _collect(map(draw, range(num_images)), on_progress)
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as pool:
        drawn = pool.map(draw, range(num_images), chunksize=_IMAGES_PER_CHUNK)
        return _collect(drawn, on_progress)


def _collect(drawn: Iterator[_Drawn], on_progress: Callable[[int], None] | None) -> list[_Drawn]:
    results = []
    for result in drawn:
        results.append(result)
        if on_progress is not None:
            on_progress(1)
    return results
