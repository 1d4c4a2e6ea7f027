"""The splits of an earlier run: how they are kept, and when they are continued."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.params import SplitParams
from components.sampling.splits import Assignment
from components.tables import Catalog


def write_assignment(
    assigned: Assignment, path: Path, *, catalog: Catalog, params: SplitParams
) -> None:
    """Writes splits.parquet with all that a later run needs to continue it.

    Everything is in this one file, so that it is continued whole or not at all.
    """
    about = {
        "origin": catalog.numbering.origin,
        "params": _continued(params),
        "schema": catalog.schema.as_dict(),
        "unanswerable": assigned.unanswerable.to_pydict(),
    }
    schema = files.filled(tables.SPLITS, assigned.splits)
    files.write_table(assigned.splits, path, schema=schema, about=about)


def read_previous(path: Path, *, catalog: Catalog, params: SplitParams) -> Assignment:
    """Returns the assignment in a file, with the positions that the catalog's schema has now.

    An attribute or value that the schema no longer has gets position -1.

    Raises:
        HemlineError: it cannot be continued: the file is of another version of hemline, of other
            images, or was made with other params.
    """
    about = files.read_about(path, schema=tables.SPLITS)
    if about.keys() != {"origin", "params", "schema", "unanswerable"}:
        raise HemlineError(f"{path} was made by another version of hemline")
    if about["origin"] != catalog.numbering.origin:
        raise HemlineError(f"{path} counts the images of another catalog")
    was, now = about["params"], _continued(params)
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        raise HemlineError(f"{path}: split.{key} was {was.get(key)} and is {now.get(key)}")
    before = AttributeSchema.from_dict(about["schema"])
    unanswerable = pa.Table.from_pydict(about["unanswerable"], schema=tables.UNANSWERABLE)
    return Assignment(
        splits=_moved(files.read_table(path, schema=tables.SPLITS), before, catalog.schema),
        unanswerable=_moved(unanswerable, before, catalog.schema),
    )


def _continued(params: SplitParams) -> dict[str, Any]:
    """Returns what decides which split and role a label has; `roles` says who is asked with them.

    So the two protocols can be compared on one assignment.
    """
    return {key: value for key, value in asdict(params).items() if key != "roles"}


def _moved(table: pa.Table, before: AttributeSchema, now: AttributeSchema) -> pa.Table:
    """Returns a table with the positions of one schema replaced by those of another.

    Items keep their numbers: the catalog that counts them is continued.
    """
    attributes_now = {attribute.name: attribute for attribute in now.attributes}
    value_of = np.full((len(before.attributes), max(before.num_values)), -1)
    for place, attribute in enumerate(before.attributes):
        is_now = attributes_now.get(attribute.name, Attribute(name=attribute.name))
        if attribute.is_identity and is_now.is_identity:
            value_of[place] = np.arange(value_of.shape[1])
        among = pd.Index(is_now.values, dtype=object)
        value_of[place, : len(attribute.values)] = among.get_indexer(pd.Index(attribute.values))
    attribute_of = pd.Index(now.names).get_indexer(pd.Index(before.names))
    attribute, value = table["attribute"].to_numpy(), table["value"].to_numpy()
    columns = {name: table[name] for name in table.column_names}
    columns |= {"attribute": attribute_of[attribute], "value": value_of[attribute, value]}
    return pa.table(columns).cast(table.schema)
