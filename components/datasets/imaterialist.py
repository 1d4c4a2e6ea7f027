"""Reader of iMaterialist-Fashion 2018: JSON files of labels, and a table that names them.

Format (Guo et al., The iMaterialist Fashion Attribute Dataset, ICCV workshops 2019):

    train.json        {"images": [{"imageId": "1", "url": "..."}],
                       "annotations": [{"imageId": "1", "labelId": ["95", "66"]}]}
    *label_map*.csv   labelId,taskId,labelName,taskName
                      1,6,Argyle,pattern

and `validation.json` or `val.json` like the first. What the data set calls a task is an attribute
here; an image may have several values of one. Ids are numbers or their text, and keys are also
written `image_id` and `label_id`. The data set has addresses instead of pictures: those that could
be fetched lie in folders named like the JSON file, as `train/1.jpg`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components import files
from components.datasets.labelled import Label, LabelledImages, read_csv_table
from components.errors import HemlineError

SPLIT_OF = {"train": "train", "validation": "valid", "val": "valid"}
LABEL_MAP = "*label_map*.csv"
COLUMNS = ("labelId", "labelName", "taskName")


def read_imaterialist(root: Path) -> LabelledImages:
    """Returns every label of the images that the files annotate, with the file as their split.

    Raises:
        HemlineError: there is no JSON file, or no table of names or several, or one of them is not
            of the format, or annotates with an unknown label.
    """
    named = {
        file: SPLIT_OF[file.stem] for name in SPLIT_OF if (file := root / f"{name}.json").is_file()
    }
    if not named:
        raise HemlineError(
            f"{root} has none of {', '.join(f'{name}.json' for name in SPLIT_OF)}: "
            "data.format imaterialist needs one of them"
        )
    names = _read_label_map(root)
    labels: list[Label] = []
    num_without = 0
    for file, split in named.items():
        for image, label_ids in _annotations(file):
            path = f"{file.stem}/{image}.jpg"
            num_without += not label_ids
            for label_id in label_ids:
                if label_id not in names:
                    raise HemlineError(
                        f"{file}: image {image} has the label {label_id}, which {LABEL_MAP} does "
                        f"not name; it has {len(names)} labels"
                    )
                labels.append(Label(path, *names[label_id], split))
    values_of: dict[str, list[str]] = {}
    for attribute, value in names.values():
        values_of.setdefault(attribute, []).append(value)
    return LabelledImages(
        dataset="iMaterialist-Fashion",
        labels=labels,
        source=str(root),
        values_of=values_of,
        left_out={"images without a label": num_without},
    )


def _read_label_map(root: Path) -> dict[str, tuple[str, str]]:
    """Returns attribute and value by label id, in the order of the file."""
    found = sorted(root.glob(LABEL_MAP))
    if len(found) != 1:
        raise HemlineError(
            f"{root} has {len(found)} files {LABEL_MAP}, and one is needed: it comes with the "
            "competition's description and names the labels"
        )
    columns, rows = read_csv_table(found[0])
    if missing := [name for name in COLUMNS if name not in columns]:
        raise HemlineError(
            f"{found[0]}: column {missing[0]} is missing; the first line has {', '.join(columns)}"
        )
    key, value, attribute = map(columns.index, COLUMNS)
    names: dict[str, tuple[str, str]] = {}
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if cells[key] in names:
            raise HemlineError(f"{found[0]} line {number}: a second name of label {cells[key]}")
        names[cells[key]] = (cells[attribute], cells[value])
    return names


def _annotations(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields image id and label ids of every annotation."""
    content = files.read_json(file)
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list):
        raise HemlineError(f"{file} has no list `annotations`: it holds no labels")
    for place, entry in enumerate(annotations):
        image = _either(entry, "imageId", "image_id")
        label_ids = _either(entry, "labelId", "label_id")
        if not isinstance(image, str | int) or not isinstance(label_ids, list):
            raise HemlineError(
                f"{file}: annotation {place}, counted from 0, needs imageId and a list labelId: "
                f"{str(entry)[:80]}"
            )
        yield str(image), [str(label_id) for label_id in label_ids]


def _either(entry: object, *keys: str) -> Any:
    named = entry if isinstance(entry, Mapping) else {}
    return next((named[key] for key in keys if key in named), None)
