"""What DeepFashion's two retrieval benchmarks have in common: boxes, landmarks and attributes.

Format (Liu et al., DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich
Annotations, CVPR 2016), in the folder `Anno` or its `attributes`; `*` is inshop or consumer2shop:

    list_bbox_*.txt       img/TOPS/T_Shirt/id_00000001/shop_02.jpg   1 1   72 79 232 273
    list_landmarks_*.txt  img/TOPS/T_Shirt/id_00000001/shop_02.jpg   1 3   0 146 102   1 173 095 ...
    list_attr_type.txt    衣长    length of upper-body clothes
    list_attr_cloth.txt   常规款    Regular length (51-65cm)    1
    list_attr_items.txt   id_00000001    -1  1  0 ...

Each begins with its number of rows and a line that names the columns. Behind an image come the type
of its clothes, 1 upper, 2 lower and 3 full body, and a number that is not read here (of the pose,
the source, the variation). A box is left, top, right and bottom in pixels. A landmark is visibility
(0 visible, 1 occluded, 2 cut off), x and y, and upper bodies have 6 of them, lower 4, full ones 8.

Names have blanks in them, so that two blanks or more are between two names. A name may stand in
Chinese and in English, of which the last counts, and with the number of its type: then the type is
an attribute here, and its names are values. Without types all are values of `attribute`. An item
has a number for each name, 1 yes, -1 no and 0 unknown, and each of its images its 1s.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from components.datasets.deepfashion import PARTITION, positive
from components.datasets.index_files import read_counted
from components.datasets.labelled import Box, Label, LabelledImages, Landmark
from components.errors import HemlineError

CLOTHES_TYPES = ("upper_body", "lower_body", "full_body")
_NAMES = [
    f"{side} {part}"
    for part in ("collar", "sleeve", "waistline", "hem")
    for side in ("left", "right")
]
LANDMARKS_OF = {
    "upper_body": (*_NAMES[:4], *_NAMES[6:]),
    "lower_body": tuple(_NAMES[4:]),
    "full_body": tuple(_NAMES),
}
_VISIBILITY_OF = {"0": "visible", "1": "occluded", "2": "absent"}
_BETWEEN_NAMES = re.compile(r"\s{2,}|\t")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Boxes and landmarks of a benchmark's images, and the type of their clothes by path."""

    boxes: list[Box] = field(default_factory=list)
    landmarks: list[Landmark] = field(default_factory=list)
    clothes_type_of: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ItemAttributes:
    """The attributes of a benchmark's items: values by attribute, and pairs of both by item."""

    values_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pairs_of: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)


def read_places(root: Path, benchmark: str, *, prefix: str) -> Places:
    """Returns what the files of boxes and landmarks say, where they are there.

    Args:
        root: folder of the data set.
        benchmark: `inshop` or `consumer2shop`.
        prefix: what comes before a path to be relative to the root.

    Raises:
        HemlineError: a file counts other rows than it has, or a line is not of the format.
    """
    places = Places()
    for where, path, clothes, cells in _rows(root / f"Anno/list_bbox_{benchmark}.txt"):
        box = _numbers(cells, count=4, where=where, needed="left, top, right and bottom of a box")
        places.clothes_type_of[prefix + path] = clothes
        places.boxes.append(Box(prefix + path, *box))
    for where, path, clothes, cells in _rows(root / f"Anno/list_landmarks_{benchmark}.txt"):
        places.clothes_type_of.setdefault(prefix + path, clothes)
        places.landmarks.extend(_landmarks(prefix + path, clothes, cells, where=where))
    return places


def _rows(path: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yields where a row stands, its image, its type of clothes, and the cells behind the third."""
    if not path.is_file():
        return
    for number, text in read_counted(path)[1]:
        image, *cells = text.split()
        if len(cells) < 2 or cells[0] not in {"1", "2", "3"}:
            raise HemlineError(
                f"{path} line {number}: expected an image, the type of its clothes (1, 2 or 3) and "
                f"more numbers, got {text[:80]!r}"
            )
        yield f"{path} line {number}", image, CLOTHES_TYPES[int(cells[0]) - 1], cells[2:]


def _landmarks(path: str, clothes: str, cells: Sequence[str], *, where: str) -> list[Landmark]:
    names = LANDMARKS_OF[clothes]
    needed = f"visibility, x and y of {len(names)} landmarks of {clothes} clothes"
    numbers = _numbers(cells, count=3 * len(names), where=where, needed=needed)
    if unknown := {*cells[::3]} - _VISIBILITY_OF.keys():
        raise HemlineError(f"{where}: visibility {min(unknown)!r} is none of 0, 1 and 2")
    seen = [_VISIBILITY_OF[cell] for cell in cells[::3]]
    points = zip(names, numbers[1::3], numbers[2::3], seen, strict=True)
    return [Landmark(path, *point) for point in points]


def _numbers(cells: Sequence[str], *, count: int, where: str, needed: str) -> list[float]:
    try:
        numbers = [*map(float, cells)]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        found = " ".join(cells)[:80]
        raise HemlineError(f"{where}: expected {needed}, {count} numbers, got {found!r}")
    return numbers


def read_item_attributes(root: Path) -> ItemAttributes:
    """Returns the attributes of items; none where the data set has no file of them.

    Raises:
        HemlineError: a file is missing beside another, counts other rows than it has, or has a line
            that is not of the format.
    """
    folders = [root / "Anno", root / "Anno/attributes"]
    folder = next((x for x in folders if (x / "list_attr_items.txt").is_file()), None)
    if folder is None:
        return ItemAttributes()
    names = _read_names(folder)
    values_of: dict[str, list[str]] = {}
    for attribute, value in dict.fromkeys(names):
        values_of.setdefault(attribute, []).append(value)
    pairs_of = {}
    path = folder / "list_attr_items.txt"
    for number, text in read_counted(path)[1]:
        item, *cells = text.split()
        found = positive(cells, num_attributes=len(names), where=f"{path} line {number}")
        pairs_of[item] = [names[place] for place in found]
    return ItemAttributes(values_of=values_of, pairs_of=pairs_of)


def _read_names(folder: Path) -> list[tuple[str, str]]:
    """Returns attribute and value of every listed name."""
    path = folder / "list_attr_cloth.txt"
    types: list[str] = []
    if (folder / "list_attr_type.txt").is_file():
        rows = read_counted(folder / "list_attr_type.txt")[1]
        types = [_BETWEEN_NAMES.split(text)[-1] for _, text in rows]
    names = []
    for number, text in read_counted(path)[1]:
        *several, last = _BETWEEN_NAMES.split(text)
        if not types:
            names.append(("attribute", last))
        elif several and last in map(str, range(1, len(types) + 1)):
            names.append((types[int(last) - 1], several[-1]))
        else:
            raise HemlineError(
                f"{path} line {number}: expected the name of an attribute and its type, 1 to "
                f"{len(types)}, at least two blanks apart, got {text[:80]!r}"
            )
    return names


@dataclass(frozen=True, kw_only=True)
class ItemImages:
    """The images of a benchmark's partition, by path.

    Attributes:
        item_of: the item that an image shows.
        uses_of: its splits, each with its role there, if it has one; the first is its own.
        domain_of: `street` or `shop`.
    """

    item_of: dict[str, str] = field(default_factory=dict)
    uses_of: dict[str, list[tuple[str, str | None]]] = field(default_factory=dict)
    domain_of: dict[str, str] = field(default_factory=dict)

    def add(
        self, path: str, item: str, use: tuple[str, str | None], *, domain: str, where: str
    ) -> None:
        """Adds an image, or finds it as it was.

        Raises:
            HemlineError: it was of another item, or in another split or role.
        """
        found = (self.item_of.get(path, item), self.uses_of.get(path, [use])[0])
        if found != (item, use):
            before, now = (
                f"{its} in {' '.join(filter(None, of))}" for its, of in (found, (item, use))
            )
            raise HemlineError(
                f"{where}: {path} shows {now}, and above {before}; an image can be in one place: "
                "extract the partition again"
            )
        self.item_of[path], self.uses_of[path], self.domain_of[path] = item, [use], domain


def labelled_items(
    root: Path,
    images: ItemImages,
    *,
    dataset: str,
    benchmark: str,
    prefix: str,
    counted: Mapping[str, int],
) -> LabelledImages:
    """Returns a benchmark's images with their items, attributes, boxes and landmarks.

    Roles are those of items: of other attributes, an image's product would answer it.

    Raises:
        HemlineError: as `read_places` and `read_item_attributes`.
    """
    places, attributes = read_places(root, benchmark, prefix=prefix), read_item_attributes(root)
    labels = []
    for path, item in images.item_of.items():
        uses = images.uses_of[path]
        labels += [Label(path, "item", item, *use) for use in uses]
        described = {
            "category": category_of(path),
            "clothes_type": places.clothes_type_of.get(path),
        }
        pairs = [*described.items(), *attributes.pairs_of.get(item, ())]
        labels += [Label(path, name, value, uses[0][0]) for name, value in pairs if value]
    with_box = {box.path for box in places.boxes}
    return LabelledImages(
        dataset=dataset,
        labels=labels,
        source=str(root / PARTITION),
        values_of={"clothes_type": CLOTHES_TYPES, **attributes.values_of},
        groups=images.item_of,
        identity="item",
        domains=images.domain_of,
        boxes=places.boxes,
        landmarks=places.landmarks,
        left_out={
            "images without a box": len(images.item_of.keys() - with_box),
            "boxes of images in no partition": len(with_box - images.item_of.keys()),
        },
        counted=counted,
    )


def category_of(path: str) -> str | None:
    """Returns the folders between `img` and an item's, such as `WOMEN/Dresses`; None without."""
    folders = PurePosixPath(path).parts[:-2]
    return "/".join(folders[folders.index("img") + 1 :]) or None if "img" in folders else None
