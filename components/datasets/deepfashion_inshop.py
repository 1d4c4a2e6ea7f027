"""Reader of DeepFashion's In-shop Clothes Retrieval benchmark.

Format: `Eval/list_eval_partition.txt` begins with its number of rows and the names of its columns,
and has an image, its item, and `train`, `query` or `gallery` in a row:

    img/WOMEN/Dresses/id_00000008/02_7_additional.jpg   id_00000008   train

in any order. `deepfashion_items.py` describes the files of `Anno`. Queries and gallery are of the
same items, and test; there is no validation.
"""

from pathlib import Path

from components.datasets.deepfashion import PARTITION, image_prefix
from components.datasets.deepfashion_items import ItemImages, labelled_items
from components.datasets.index_files import read_counted
from components.datasets.labelled import LabelledImages
from components.errors import HemlineError

USE_OF: dict[str, tuple[str, str | None]] = {
    "train": ("train", None),
    "query": ("test", "query"),
    "gallery": ("test", "gallery"),
}


def read_deepfashion_inshop(root: Path) -> LabelledImages:
    """Returns the items and attributes of all images, with split and role of their items.

    Raises:
        HemlineError: the partition is missing, a file counts other rows than it has, a line is not
            of the format, or an image is in two places.
    """
    path, prefix, images = root / PARTITION, image_prefix(root), ItemImages()
    for number, text in read_counted(path)[1]:
        cells = text.split()
        if len(cells) != 3 or cells[2] not in USE_OF:
            raise HemlineError(
                f"{path} line {number}: expected an image, its item and one of "
                f"{', '.join(USE_OF)}, got {text[:80]!r}"
            )
        image, item, status = cells
        where = f"{path} line {number}"
        images.add(prefix + image, item, USE_OF[status], domain="shop", where=where)
    return labelled_items(
        root, images, dataset="DeepFashion-InShop", benchmark="inshop", prefix=prefix, counted={}
    )
