"""What differs between two catalogs, of all that a network learned some attributes from."""

from collections.abc import Collection

import pandas as pd

from components.tables import Catalog

_IMAGE = ["image", "sha256", "group", "domain"]
_SLOTS = ["anchor", "positive", "negative"]


def changed_sources(before: Catalog, after: Catalog, known: Collection[str]) -> tuple[str, ...]:
    """Returns what came, went or changed, in a few words each; nothing where all is as it was.

    Images count that have a label of a known attribute, and so do the labels and the published
    triplets of known attributes. What belongs to other attributes alone does not.
    """
    old, new = (_by_image(catalog, known) for catalog in (before, after))
    counts = {what: _num_images(old[what], new[what]) for what in old}
    found = [
        f"{what}{number:,} image{'s' if number > 1 else ''}"
        for what, number in counts.items()
        if number
    ]
    if _num_images(*(_triplets(catalog, known) for catalog in (before, after))):
        found.append("published triplets")
    return tuple(found)


def _by_image(catalog: Catalog, known: Collection[str]) -> dict[str, pd.DataFrame]:
    """Returns tables of what was learned from, by what they have of images; these by their path."""
    images, labels = catalog.images.to_pandas(), _labels(catalog)
    labels = labels[labels["attribute"].isin(known)]
    tables = {
        "": images[_IMAGE],
        "labels of ": labels,
        "boxes of ": catalog.boxes.to_pandas(),
        "landmarks of ": catalog.landmarks.to_pandas(),
    }
    labelled, path_of = {*labels["image"]}, images.set_index("image")["path"]
    return {
        what: rows[rows["image"].isin(labelled)].assign(image=lambda x: x["image"].map(path_of))
        for what, rows in tables.items()
    }


def _labels(catalog: Catalog) -> pd.DataFrame:
    """Returns the labels by the names of attributes and values; an item has its number."""
    names = {
        (place, number): value
        for place, attribute in enumerate(catalog.schema.attributes)
        for number, value in enumerate(attribute.values)
    }
    labels = catalog.labels.to_pandas()
    pairs = zip(labels["attribute"], labels["value"], strict=True)
    return _named(labels.assign(value=[names.get(pair, pair[1]) for pair in pairs]), catalog)


def _triplets(catalog: Catalog, known: Collection[str]) -> pd.DataFrame:
    """Returns the published triplets of known attributes, images by their path."""
    path_of = catalog.images.to_pandas().set_index("image")["path"]
    triplets = _named(catalog.triplets.to_pandas(), catalog)
    triplets[_SLOTS] = triplets[_SLOTS].apply(lambda slot: slot.map(path_of))
    return triplets[triplets["attribute"].isin(known)].rename(columns={"anchor": "image"})


def _named(rows: pd.DataFrame, catalog: Catalog) -> pd.DataFrame:
    """Returns rows with their attributes by name: positions may differ between catalogs."""
    return rows.assign(attribute=rows["attribute"].map(dict(enumerate(catalog.schema.names))))


def _num_images(one: pd.DataFrame, other: pd.DataFrame) -> int:
    """Returns how many images have a row that only one of two tables has."""
    both = pd.concat([one.drop_duplicates(), other.drop_duplicates()])
    return int(both.drop_duplicates(keep=False)["image"].nunique())
