"""The one door to all readers: labels of a data set on disk, cleaned in the same way for each."""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from components.datasets.darn import read_darn
from components.datasets.deepfashion import read_deepfashion
from components.datasets.fashionai import read_fashionai
from components.datasets.labelled import Label, LabelledImages
from components.datasets.published import read_published
from components.datasets.table import read_table_format
from components.datasets.zappos50k import read_zappos50k
from components.errors import HemlineError

Unusable = tuple[str, str, str]  # a row of tables.QUARANTINE

READERS: Mapping[str, Callable[[Path], LabelledImages]] = {
    "fashionai": read_fashionai,
    "deepfashion": read_deepfashion,
    "darn": read_darn,
    "zappos50k": read_zappos50k,
    "table": read_table_format,
}


def read_labels(root: Path, *, data_format: str, dataset: str | None = None) -> LabelledImages:
    """Returns the labels of a data set on disk.

    Paths are normalised (`./a.jpg` is `a.jpg`) and repeated labels counted once. Set apart with
    their reason are labels whose text is not UTF-8 and, in data sets where an image has one value
    of an attribute, labels that contradict each other. Images are not looked at.

    Args:
        root: folder of the data set.
        data_format: `data.format` of the params.
        dataset: which data set of the folder, for `data.format` published.

    Raises:
        HemlineError: the folder or a label file is missing or malformed.
    """
    if not root.is_dir():
        raise HemlineError(f"data.root: no folder {root}; `make demo` or `dvc pull` brings it")
    if data_format == "published":  # the one format of several data sets
        return cleaned(read_published(root, dataset=dataset))
    return cleaned(READERS[data_format](root))


def cleaned(labelled: LabelledImages) -> LabelledImages:
    """Returns what a reader read with every path normalised and every label usable and once."""
    texts, not_texts = _apart(labelled.labels)
    labels = list(dict.fromkeys(x._replace(path=posixpath.normpath(x.path)) for x in texts))
    left_out = {**labelled.left_out, "repeated labels": len(texts) - len(labels)}
    contradicting = _contradicting(labels) if labelled.one_value_each else {}
    triplets = replace(
        labelled.triplets, paths=[posixpath.normpath(path) for path in labelled.triplets.paths]
    )
    return replace(
        labelled,
        labels=[label for label in labels if (label.path, label.attribute) not in contradicting],
        groups={posixpath.normpath(path): group for path, group in labelled.groups.items()},
        triplets=triplets,
        unusable=[*labelled.unusable, *not_texts, *contradicting.values()],
        left_out={what: number for what, number in left_out.items() if number},
    )


def _apart(labels: Sequence[Label]) -> tuple[list[Label], list[Unusable]]:
    """Returns the labels that are text, and the others (surrogates: PEP 383) for the quarantine."""
    texts, others = [], []
    for label in labels:
        written = ",".join((label.path, label.attribute, label.value))
        shown = written.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if shown == written:
            texts.append(label)
        else:
            path = label.path.encode(errors="surrogateescape").decode(errors="backslashreplace")
            others.append((path, "bad_name", f"not UTF-8: {shown}"))
    return texts, others


def _contradicting(labels: Sequence[Label]) -> dict[tuple[str, str], Unusable]:
    values: dict[tuple[str, str], list[str]] = {}
    for label in labels:
        values.setdefault((label.path, label.attribute), []).append(label.value)
    return {
        (path, attribute): (
            path,
            "conflicting_values",
            f"{attribute}: {', '.join(sorted(several))}",
        )
        for (path, attribute), several in values.items()
        if len(several) > 1
    }
