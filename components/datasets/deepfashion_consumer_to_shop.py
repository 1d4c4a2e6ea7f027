"""Reader of DeepFashion's Consumer-to-shop Clothes Retrieval benchmark.

Format: `Eval/list_eval_partition.txt` begins with its number of rows and the names of its columns,
and has a pair in a row: a consumer's image, a shop's, their item, and `train`, `val` or `test`:

    img/TOPS/T_Shirt/id_00000001/comsumer_01.jpg  img/TOPS/T_Shirt/id_00000001/shop_02.jpg
                                                                       id_00000001  train

(in one line). An image may be in several pairs. Consumers' images ask and shops' answer; the data
set is described with the shops' images of test as the gallery of test, and with those of validation
besides. `deepfashion_items.py` describes the files of `Anno`.
"""

from pathlib import Path

from components.datasets.deepfashion import PARTITION, SPLIT_OF, image_prefix
from components.datasets.deepfashion_items import ItemImages, labelled_items
from components.datasets.index_files import read_counted
from components.datasets.labelled import LabelledImages
from components.errors import HemlineError


def read_deepfashion_consumer_to_shop(
    root: Path, *, shop_gallery: str = "valid_and_test"
) -> LabelledImages:
    """Returns the items and attributes of all images, with split and role of their items.

    `shop_gallery` says whose shop images answer the queries of test: `data.shop_gallery`.

    Raises:
        HemlineError: the partition is missing, a file counts other rows than it has, a line is not
            of the format, or an image is in two places.
    """
    path, prefix, images = root / PARTITION, image_prefix(root), ItemImages()
    for number, text in read_counted(path)[1]:
        cells = text.split()
        if len(cells) != 4 or cells[3] not in SPLIT_OF:
            raise HemlineError(
                f"{path} line {number}: expected a consumer's image, a shop's, their item and one "
                f"of {', '.join(SPLIT_OF)}, got {text[:80]!r}"
            )
        consumer, shop, item, status = cells
        split, where = SPLIT_OF[status], f"{path} line {number}"
        asks, answers = (None, None) if split == "train" else ("query", "gallery")
        images.add(prefix + consumer, item, (split, asks), domain="street", where=where)
        images.add(prefix + shop, item, (split, answers), domain="shop", where=where)
    if shop_gallery == "valid_and_test":
        for uses in images.uses_of.values():
            if uses == [("valid", "gallery")]:
                uses.append(("test", "gallery"))
    num_in_gallery = sum(("test", "gallery") in uses for uses in images.uses_of.values())
    counted = {f"shop images that answer test (data.shop_gallery {shop_gallery})": num_in_gallery}
    return labelled_items(
        root,
        images,
        dataset="DeepFashion-ConsumerToShop",
        benchmark="consumer2shop",
        prefix=prefix,
        counted=counted,
    )
