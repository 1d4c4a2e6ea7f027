"""A line of stages without learning, in real git and DVC, whose champion is in a real MLflow store.

Its catalog and splits are what a test lays down, and the stage `train` only says what it read.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml
from builders import PROJECT, images_table, labels_table, splits_table, write_files
from small_line import run_dvc

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.provenance import git, recording
from components.registry import promotion
from components.registry.package import PACKAGE_FILE
from components.tracking import runs
from components.tracking.runs import Tracking

NUM_IMAGES = 80
KNOWN = {"neck": NUM_IMAGES, "hem": NUM_IMAGES}  # of the champion, by the number of their labels
CODE, OTHER_CODE = Path("components/models/network.py"), Path("components/search/finder.py")
_SPLITS = {0: "train", 60: "valid", 70: "test"}  # first image of each
_STAGES = {
    "ingest": {
        "cmd": "cp -r incoming/catalog data/catalog",
        "deps": ["incoming/catalog"],
        "outs": ["data/catalog"],
    },
    "preprocess": {
        "cmd": "mkdir data/store && cp data/catalog/quarantine.parquet data/store",
        "deps": ["data/catalog"],
        "params": ["preprocess"],
        "outs": ["data/store"],
    },
    "split": {
        "cmd": "cp -r incoming/splits data/splits",
        "deps": ["data/store", "incoming/splits"],
        "params": ["split"],
        "outs": ["data/splits"],
    },
    "triplets": {
        "cmd": "cp data/splits/splits.parquet data/triplets",
        "deps": ["data/splits"],
        "params": ["sampling"],
        "outs": ["data/triplets"],
    },
    "train": {
        "cmd": "md5sum data/triplets params.yaml components/models/* > models/run.json",
        "deps": ["data/triplets", "components/models"],
        "params": ["model", "train"],
        "outs": ["models/run.json"],
    },
    "evaluate": {
        "cmd": "cp models/run.json data/evaluation",
        "deps": ["models/run.json", "components/search"],
        "outs": ["data/evaluation"],
    },
}


def tracking() -> Tracking:
    """Returns the store of the current folder."""
    here = Path.cwd()
    return Tracking(uri=f"sqlite:///{here}/mlflow.db", artifact_root=str(here / "mlartifacts"))


def begin() -> None:
    """Makes the line in the current folder: run, its version registered and champion, committed."""
    kept = {"data/.keep": "", "models/.keep": ""}
    write_files(Path(), {str(CODE): "# learns\n", str(OTHER_CODE): "# finds\n", **kept})
    shutil.copy(PROJECT / ".gitignore", ".gitignore")
    shutil.copy(PROJECT / "params.yaml", "params.yaml")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": _STAGES}, sort_keys=False))
    git.read("init", "-q")
    run_dvc("init", "--quiet")
    lay(KNOWN)
    run_dvc("repro", "--quiet")
    commit("the first data")
    champion(1, KNOWN)


def champion(number: int, attributes: Mapping[str, int]) -> None:
    """Registers what the line made as a version that knows attributes, and makes it champion."""
    package = Path("registered") / str(number)
    content = {"schema": schema_of(attributes).as_dict(), "image_size_px": 96}
    files.write_json(content, package / "artifacts" / PACKAGE_FILE)
    where = tracking()
    run_id = runs.start_run(where, params={}, tags={})
    recording.record_outputs(Path("models/run.json"), tracking=where, run_id=run_id)
    if number == 1:
        where.client().create_registered_model(where.model_name)
    where.client().create_model_version(
        where.model_name, source=str(package.absolute()), run_id=run_id
    )
    promotion.move_champion("promote", number, expected=number - 1 or None, who="t", tracking=where)


def lay(
    attributes: Mapping[str, int], *, num_images: int = NUM_IMAGES, third: str | None = None
) -> None:
    """Lays down catalog and splits of images; each attribute has labels of the first so many.

    Every fifth image has a third value of the attribute `third`.
    """
    rows = [
        (image, place, 2 if name == third and image % 5 == 0 else image % 2)
        for place, (name, number) in enumerate(attributes.items())
        for image in range(number)
    ]
    catalog = tables.Catalog(
        schema=schema_of(attributes, third=third),
        numbering=tables.Numbering(origin="line", next_image=num_images),
        images=images_table(f"{image:064d}" for image in range(num_images)),
        labels=labels_table(rows),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.QUARANTINE.empty_table(),
        left_out={},
    )
    shutil.rmtree("incoming", ignore_errors=True)
    tables.write_catalog(catalog, Path("incoming/catalog"))
    splits = splits_table((*row, *_split_of(row[0])) for row in rows)
    path = Path("incoming/splits") / tables.SPLITS_FILE
    files.write_table(splits, path, schema=tables.SPLITS)


def schema_of(attributes: Mapping[str, int], *, third: str | None = None) -> AttributeSchema:
    """Returns the schema of attributes with two values each, one with three if it is named."""
    listed = tuple(
        Attribute(name=name, values=("a", "b", "c")[: 2 + (name == third)]) for name in attributes
    )
    return AttributeSchema(dataset="line", attributes=listed)


def commit(message: str) -> None:
    """Commits all that git keeps."""
    git.read("add", "--all")
    git.read("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message)


def _split_of(image: int) -> tuple[str, str]:
    """Returns split and role of an image; of both values, every other one that is held out asks."""
    split = [split for first, split in _SPLITS.items() if image >= first][-1]
    held_out = "query" if image % 4 < 2 else "gallery"
    return split, "train" if split == "train" else held_out
