"""Reader of Street2Shop: photos of the street, and products of shops in eleven categories.

Format (Kiapour et al., Where to Buy It: Matching Street Clothing Photos in Online Shops, ICCV
2015): in `meta/json`, lists of a photo and the product that it shows,

    train_pairs_dresses.json, test_pairs_dresses.json
        [{"photo": 2847, "product": 47270,
          "bbox": {"width": 693, "top": 307, "left": 146, "height": 993}}]
    retrieval_dresses.json
        [{"photo": 163478, "product": 1}]

the street's with the product's place in pixels, and the shops'. A product's number counts within
its category only. The data set has addresses instead of pictures: those that could be fetched lie
in `photos`, under the photo's number in nine digits and the suffix of a picture.

A product of a street photo is an image of its own, `photos/000002847.jpg#xywh=146,307,693,993`, as
a photo may show several. Shop photos of products of train pairs are train, those of test pairs and
all others the gallery of test; there is no validation.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components import files
from components.datasets.labelled import Label, LabelledImages
from components.errors import HemlineError
from components.images.decode import Box, suffixes
from components.images.paths import fragment_of

FOLDER = Path("meta/json")
PHOTOS = "photos"


def read_street2shop(root: Path) -> LabelledImages:
    """Returns the products (`category/number`) and categories of street and shop photos.

    Pairs without a box of an area are counted. Where an image is said to show two products, its
    item is quarantined, as photos are that could not be fetched.

    Raises:
        HemlineError: there are no pairs, a file of a category is missing or damaged, or an entry
            has no photo or no product.
    """
    categories = sorted(
        path.stem.removeprefix("train_pairs_")
        for path in (root / FOLDER).glob("train_pairs_*.json")
    )
    if not categories:
        raise HemlineError(
            f"{root / FOLDER}/train_pairs_dresses.json is missing: data.format street2shop needs "
            "train_pairs_*.json, test_pairs_*.json and retrieval_*.json of a category or more"
        )
    names = _names(root / PHOTOS)
    labels: list[Label] = []
    domains: dict[str, str] = {}
    num_without_box = 0
    for category in categories:
        split_of: dict[str, str] = {}
        for split in ("train", "test"):
            for photo, item, box in _entries(root, f"{split}_pairs_{category}", category):
                split_of[item] = split
                if box is None:
                    num_without_box += 1
                    continue
                path = f"{_path(photo, names)}{fragment_of(box)}"
                domains[path] = "street"
                labels += _labels(path, item, category, split, role="query")
        for photo, item, _ in _entries(root, f"retrieval_{category}", category):
            path = _path(photo, names)
            domains[path] = "shop"
            labels += _labels(path, item, category, split_of.get(item, "test"), role="gallery")
    return LabelledImages(
        dataset="Street2Shop",
        labels=labels,
        source=str(root / FOLDER),
        one_value_each=True,
        groups={label.path: label.value for label in labels if label.attribute == "item"},
        identity="item",
        domains=domains,
        left_out={"pairs without the width or height of a box": num_without_box},
    )


def _labels(path: str, item: str, category: str, split: str, *, role: str) -> list[Label]:
    its_role = None if split == "train" else role
    return [Label(path, "item", item, split, its_role), Label(path, "category", category, split)]


def _names(folder: Path) -> dict[str, str]:
    """Returns the names of a folder's pictures by their stem."""
    read = suffixes()
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path.name for path in paths if path.suffix.lower() in read}


def _path(photo: int, names: Mapping[str, str]) -> str:
    stem = f"{photo:09d}"
    return f"{PHOTOS}/{names.get(stem, f'{stem}.jpg')}"


def _entries(root: Path, name: str, category: str) -> Iterator[tuple[int, str, Box | None]]:
    """Yields photo, item and box of every entry of a file; None where the box has no area."""
    path = root / FOLDER / f"{name}.json"
    content = files.read_json(path)
    if not isinstance(content, list):
        raise HemlineError(f"{path} is no list of photos and products: fetch it again")
    for place, entry in enumerate(content):
        named = entry if isinstance(entry, Mapping) else {}
        photo, product = named.get("photo"), named.get("product")
        if not isinstance(photo, int) or not isinstance(product, int):
            raise HemlineError(
                f"{path}: entry {place}, counted from 0, needs the numbers photo and product: "
                f"{str(entry)[:80]}"
            )
        yield photo, f"{category}/{product}", _box(named.get("bbox"))


def _box(found: Any) -> Box | None:
    sides = found if isinstance(found, Mapping) else {}
    edges = [sides.get(name) for name in ("left", "top", "width", "height")]
    if not all(isinstance(edge, int | float) for edge in edges):
        return None
    left, top, width, height = map(float, edges)  # type: ignore[arg-type]
    box = (max(left, 0), max(top, 0), left + width, top + height)
    return box if box[2] > box[0] and box[3] > box[1] else None
