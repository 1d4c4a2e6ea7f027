"""Stage `split`: the catalog's usable images → train, valid and test; query and gallery."""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from components import files, tables
from components.errors import DamagedFileError, HemlineError
from components.params import SplitParams, load_section
from components.sampling.leaks import ASKS_AND_ANSWERS, find_leaks, report_of, unanswerable_of
from components.sampling.previous import read_previous, write_assignment
from components.sampling.relations import related_images
from components.sampling.splits import Assignment, split_labels
from components.tables import Catalog
from pipelines.shell import options
from pipelines.shell.reporting import console, notes


def split(
    *,
    catalog: options.Catalog,
    store: options.Store,
    splits: options.Splits,
    params: options.Params = options.PARAMS,
) -> None:
    """Assign every labelled image that the store holds to a split and a role.

    Splits that are there already are continued: old labels keep their split and role.
    """
    section = load_section(params, SplitParams)
    source = tables.read_catalog(catalog)
    undecoded = tables.read_quarantine(store)
    hashes = files.read_table(store / tables.IMAGE_HASHES_FILE, schema=tables.IMAGE_HASHES)
    images = source.images.filter(pc.invert(pc.is_in(source.images["path"], undecoded["path"])))
    labels = source.labels.filter(pc.is_in(source.labels["image"], images["image"]))
    path = splits / tables.SPLITS_FILE
    previous = _previous(path, source, section)
    related = related_images(images, hashes, near_duplicate_distance=section.searched_distance)
    assigned = split_labels(
        images,
        labels,
        related,
        params=section,
        identity=source.schema.identity,
        previous=previous,
    )
    leaks = find_leaks(assigned.splits, related, images)
    report = report_of(assigned, leaks, images=images, params=section, schema=source.schema)
    files.write_table(leaks, splits / tables.LEAKS_FILE, schema=tables.LEAKS)
    files.write_table(
        unanswerable_of(assigned), splits / tables.UNANSWERABLE_FILE, schema=tables.UNANSWERABLE
    )
    files.write_json(report, splits / tables.SPLITS_REPORT_FILE)
    write_assignment(assigned, path, catalog=source, params=section)
    _print(report, splits)


def _previous(path: Path, source: Catalog, section: SplitParams) -> Assignment | None:
    if section.method != "random" or not path.exists():
        return None
    try:
        return read_previous(path, catalog=source, params=section)
    except DamagedFileError:  # from scratch, what was a test image would not stay one
        raise
    except HemlineError as error:
        notes.print(f"assigning all labels from scratch: {error}")
        return None


def _print(report: dict[str, Any], folder: Path) -> None:
    for name, roles in report["splits"].items():
        for role, size in roles.items():
            console.print(f"{name}, {role}: {size['num_images']} images")
    if report["roles"] == "leave_one_out" and not _all_ask(report):
        console.print("split.roles leave_one_out changes nothing: the data set gives its roles")
    if report["num_labels_without_split"]:
        console.print(f"{report['num_labels_without_split']} labels have no published split")
    if report.get("num_held_out_items"):
        num_items, left = report["num_held_out_items"], report["items"]["train"]["num_items"]
        console.print(
            f"the data set has no valid: {num_items} of {num_items + left} training items are it"
        )
    for name, counts in report.get("items", {}).items():
        console.print(f"{name}: {_items_text(counts)}")
    for kind, found in report["leaks"].items():
        if found["num_units"]:
            console.print(
                f"{kind.replace('_', ' ')}: {found['num_units']} units in more than one split, "
                f"{found['num_images']} images; {folder / tables.LEAKS_FILE} lists them"
            )
    if report["unanswerable"]:
        counts = ", ".join(f"{name} {num}" for name, num in report["unanswerable"].items())
        console.print(
            f"queries that no gallery item answers: {counts}; "
            f"{folder / tables.UNANSWERABLE_FILE} lists them"
        )


def _all_ask(report: dict[str, Any]) -> bool:
    """Returns whether images of any split both ask and answer."""
    return any(ASKS_AND_ANSWERS in roles for roles in report["splits"].values())


def _items_text(counts: dict[str, int]) -> str:
    """Returns what is to be known of a split's items."""
    unusual = {
        "num_without_query": "of them nobody asks for",
        "num_without_gallery": "of them are not in the gallery",
        "num_images_without_domain": "images are neither street nor shop",
    }
    texts = [f"{counts[key]} {what}" for key, what in unusual.items() if counts.get(key)]
    return ", ".join([f"{counts['num_items']} items", *texts])
