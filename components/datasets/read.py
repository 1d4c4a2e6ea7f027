"""Reads the labels of a data set on disk, cleaned in the same way for every format."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from posixpath import normpath

from components.attributes import nfc
from components.datasets.celeba import read_celeba
from components.datasets.darn import read_darn
from components.datasets.deepfashion import read_deepfashion, read_deepfashion_fine
from components.datasets.deepfashion_consumer_to_shop import read_deepfashion_consumer_to_shop
from components.datasets.deepfashion_inshop import read_deepfashion_inshop
from components.datasets.fashionai import read_fashionai
from components.datasets.imaterialist import read_imaterialist
from components.datasets.labelled import Label, LabelledImages, Landmark, Unusable, printable
from components.datasets.published import read_published
from components.datasets.shopping100k import read_shopping100k
from components.datasets.street2shop import read_street2shop
from components.datasets.table import read_table_format
from components.datasets.zappos50k import read_zappos50k
from components.errors import HemlineError
from components.images.paths import speller

READERS: Mapping[str, Callable[[Path], LabelledImages]] = {
    "fashionai": read_fashionai,
    "deepfashion": read_deepfashion,
    "deepfashion_fine": read_deepfashion_fine,
    "darn": read_darn,
    "zappos50k": read_zappos50k,
    "shopping100k": read_shopping100k,
    "imaterialist": read_imaterialist,
    "celeba": read_celeba,
    "deepfashion_inshop": read_deepfashion_inshop,
    "deepfashion_consumer_to_shop": read_deepfashion_consumer_to_shop,
    "street2shop": read_street2shop,
    "table": read_table_format,
}


def read_labels(
    root: Path,
    *,
    data_format: str,
    dataset: str | None = None,
    shop_gallery: str = "valid_and_test",
) -> LabelledImages:
    """Returns the labels of a data set on disk, `cleaned`; images are not looked at.

    Args:
        root: folder of the data set.
        data_format: `data.format` of the params.
        dataset: which data set of the folder, for `data.format` published.
        shop_gallery: `data.shop_gallery`, for `data.format` deepfashion_consumer_to_shop.

    Raises:
        HemlineError: the folder or a label file is missing or malformed.
    """
    if not root.is_dir():
        raise HemlineError(f"data.root: no folder {root}; `make demo` or `dvc pull` brings it")
    read = READERS.get(data_format, partial(read_published, dataset=dataset))
    if data_format == "deepfashion_consumer_to_shop":
        read = partial(read_deepfashion_consumer_to_shop, shop_gallery=shop_gallery)
    with _without_collector():
        return cleaned(read(root), spelled=speller(root))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pauses Python's search for cycles, of which labels have none.

    It looks at all of them again and again: half the time of a table of 240,000 rows.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def cleaned(
    labelled: LabelledImages, *, spelled: Callable[[str], str] = normpath
) -> LabelledImages:
    """Returns the same with every path normalised, every label once, and every text UTF-8.

    `./a.jpg` and `x/../a.jpg` are `a.jpg`; `spelled`, which normalises, may also give a path the
    spelling of its file. Names of attributes, values and groups are in NFC. Labels whose text is
    not UTF-8 are quarantined; outside labels, backslashes and numbers stand for such bytes. Where
    an image has one value of an attribute, all values of an attribute are quarantined of which an
    image has several.
    """
    spelled, name_of = cache(spelled), cache(nfc)
    texts, unusable = _apart(labelled.labels)
    path_of = {path: spelled(path) for path in dict.fromkeys(label.path for label in texts)}
    labels = list(
        dict.fromkeys(
            Label(path_of[path], name_of(attribute), name_of(value), split, role)
            for path, attribute, value, split, role in texts
        )
    )
    contradicting = _contradicting(labels) if labelled.one_value_each else {}
    unusable += [(spelled(path), why, more) for path, why, more in labelled.unusable]
    unusable += contradicting.values()
    counts = {
        **labelled.left_out,
        "repeated labels": len(texts) - len(labels),
        "paths in another spelling than their files": sum(
            normpath(path) != found for path, found in path_of.items()
        ),
    }
    return replace(
        labelled,
        dataset=printable(labelled.dataset),
        labels=[label for label in labels if (label.path, label.attribute) not in contradicting],
        values_of={
            nfc(printable(attribute)): [nfc(printable(value)) for value in values]
            for attribute, values in labelled.values_of.items()
        },
        groups={
            spelled(path): nfc(printable(group))
            for path, group in labelled.groups.items()
            if printable(path) == path
        },
        triplets=replace(labelled.triplets, paths=[*map(spelled, labelled.triplets.paths)]),
        regions=[
            x._replace(path=spelled(x.path), attribute=nfc(x.attribute)) for x in labelled.regions
        ],
        identity=None if labelled.identity is None else nfc(labelled.identity),
        domains={spelled(path): domain for path, domain in labelled.domains.items()},
        boxes=[x._replace(path=spelled(x.path)) for x in labelled.boxes],
        landmarks=[
            Landmark(spelled(path), name_of(name), x, y, visibility)
            for path, name, x, y, visibility in labelled.landmarks
        ],
        unusable=[(printable(path), why, printable(more)) for path, why, more in unusable],
        left_out={printable(what): number for what, number in counts.items() if number},
    )


def _apart(labels: Sequence[Label]) -> tuple[list[Label], list[Unusable]]:
    """Returns the labels that are UTF-8, and the others for the quarantine."""
    texts: list[Label] = []
    others: list[Unusable] = []
    for label in labels:
        written = ",".join((label.path, label.attribute, label.value))
        if printable(written) == written:
            texts.append(label)
        else:
            path = normpath(label.path)
            others.append((path, "bad_name", f"not UTF-8: {written}"))
    return texts, others


def _contradicting(labels: Sequence[Label]) -> dict[tuple[str, str], Unusable]:
    """Returns image and attribute of several values, and what the quarantine says of them."""
    values: dict[tuple[str, str], set[str]] = {}
    for label in labels:
        values.setdefault((label.path, label.attribute), set()).add(label.value)
    return {
        (path, attribute): (path, "conflicting_values", f"{attribute}: {', '.join(sorted(found))}")
        for (path, attribute), found in values.items()
        if len(found) > 1
    }
