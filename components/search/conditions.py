"""Conditions on what may be found: on columns of the tables, and on the labels of a catalog.

`width>=200` compares a column, `neckline_design=v` asks for a value of an attribute, `item=A-17`
for the images of a product.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.attributes import nfc
from components.errors import HemlineError
from components.tables import Catalog

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
}
_COLUMN, _ATTRIBUTE = "column:", "attribute:"
_NUMBER = r"-?(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-][0-9]+)?"
"""A text that is a number: `00123` and `12E4` are not, nor what is too long to be exact."""
_BOUND = r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""A number that < and > compare with: there, `1e2` and `+100` can be no names of articles."""
_SHOWN_ITEMS = 20  # images, in a message
_OPERATOR = r"[!<>=]=|[<>=]"
_FORM = re.compile(rf"(?P<column>.+?)\s*(?P<operator>{_OPERATOR})\s*(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A column or attribute, one of = != >= <= > <, and the text to compare with."""

    column: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{self.value}"


class CatalogLookup:
    """Labels and columns of a catalog's images.

    Attributes:
        schema: the attributes and their values.
        images: `tables.IMAGES`.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.schema = catalog.schema
        self.images: pa.Table = catalog.images
        self._labels: pa.Table = catalog.labels.select(["image", "attribute", "value"])

    def labelled(self, attributes: Collection[str]) -> NDArray[np.int64]:
        """Returns the numbers of the images that have a value of one of the attributes.

        Raises:
            HemlineError: the catalog does not know an attribute.
        """
        asked = pa.array([self.schema.index(name) for name in attributes], pa.int16())
        labels = self._labels.filter(pc.field("attribute").isin(asked))
        return np.unique(labels["image"].to_numpy())

    def with_value(self, attribute: str, value: str) -> NDArray[np.int64]:
        """Returns the numbers of the images that have a value.

        Raises:
            HemlineError: the catalog does not know the attribute, or it has no such value.
        """
        index = self.schema.index(attribute)
        if index == self.schema.identity:
            return self._of_item(attribute, value)
        values = self.schema.attributes[index].values
        if value not in values:
            raise HemlineError(f"{attribute} has no value {value!r}; it has {', '.join(values)}")
        theirs = (pc.field("attribute") == index) & (pc.field("value") == values.index(value))
        return np.unique(self._labels.filter(theirs)["image"].to_numpy())

    def values(self, images: Sequence[int]) -> dict[int, dict[str, tuple[str, ...]]]:
        """Returns each image's values of every attribute that it has a label of, in order."""
        theirs = self._labels.filter(pc.field("image").isin(pa.array(images, pa.int64())))
        rows = sorted(zip(*(theirs[name].to_pylist() for name in theirs.column_names), strict=True))
        found: dict[int, dict[str, tuple[str, ...]]] = {image: {} for image in images}
        item_of = self._items(images)
        for image, index, number in rows:
            attribute = self.schema.attributes[index]
            values = found[image].get(attribute.name, ())
            value = item_of[image] if attribute.is_identity else attribute.values[number]
            found[image][attribute.name] = (*values, value)
        return found

    def _of_item(self, attribute: str, name: str) -> NDArray[np.int64]:
        """Returns the numbers of an item's images, which are those of a group."""
        groups = self.images["group"]
        named = self.images["image"].filter(pc.equal(groups, name)).to_numpy()
        found = np.intersect1d(named, self.labelled([attribute]))
        if not len(found):
            some = ", ".join(groups.drop_null().slice(0, _SHOWN_ITEMS).unique().to_pylist())
            raise HemlineError(f"{attribute} has no item {name!r}; the first are {some}")
        return found

    def _items(self, images: Sequence[int]) -> dict[int, str]:
        """Returns the name of each image's group; {} without items."""
        if self.schema.identity is None:
            return {}
        rows = self.images.filter(pc.field("image").isin(pa.array(images, pa.int64())))
        return dict(zip(rows["image"].to_pylist(), rows["group"].to_pylist(), strict=True))


def parse_condition(text: str) -> Condition:
    """Returns the condition that a text such as `width>=200` states.

    Raises:
        HemlineError: the text is not of that form.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise HemlineError(
            f"{text!r} is not a condition: write a column, one of {' '.join(_COMPARE)}, and a "
            "value, for instance 'width>=200'"
        )
    return Condition(**match.groupdict())


def rows_that_hold(
    conditions: Sequence[Condition], items: pa.Table, lookup: CatalogLookup | None
) -> NDArray[np.bool_]:
    """Returns which items fulfil all conditions [n].

    A column is one of the items' or of the catalog's images; a missing value fulfils no condition.
    Texts, such as those of a manifest in CSV, are compared as numbers where both sides are numbers.
    Other names are attributes': `=` holds where one of an item's values is the given one, `!=`
    where the item has a label and none is. `column:` and `attribute:` before a name that both have
    say which is meant. A name may have an operator in it (`fit=slim?=yes`): a condition's text is
    split at the first one before which there is such a name.

    Args:
        conditions: all must hold.
        items: `tables.EMBEDDED_ITEMS` and more columns.
        lookup: what the catalog says of the items, if there is one.

    Raises:
        HemlineError: there is no such column or value, a name is both a column's and an
            attribute's, or they cannot be compared.
    """
    holds_n = np.ones(items.num_rows, bool)
    for condition in (_meant(each, items, lookup) for each in conditions):
        column, attribute = _found(condition.column, items, lookup)
        if column is not None and attribute is not None:
            raise HemlineError(
                f"the condition {condition}: {attribute} is a column and an attribute; write "
                f"{_COLUMN}{condition} or {_ATTRIBUTE}{condition}"
            )
        if column is not None:
            holds_n &= _compare(condition, column)
        elif lookup is not None and attribute is not None:
            holds_n &= _compare_labels(condition, attribute, items["image"].to_numpy(), lookup)
        else:
            raise _unknown_column(condition, items, lookup)
    return holds_n


def _meant(condition: Condition, items: pa.Table, lookup: CatalogLookup | None) -> Condition:
    """Returns a condition split where a name ends; as it is where there is no such name."""
    text = str(condition)
    for found in re.finditer(_OPERATOR, text):
        column, value = text[: found.start()].rstrip(), text[found.end() :].lstrip()
        if any(one is not None for one in _found(column, items, lookup)):
            return Condition(column=column, operator=found[0], value=value)
    return condition


def _found(
    name: str, items: pa.Table, lookup: CatalogLookup | None
) -> tuple[pa.ChunkedArray | None, str | None]:
    """Returns the column and the attribute of a name, which may say by its beginning which."""
    names = lookup.schema.names if lookup is not None else []
    column = _column(name, items, lookup)
    if column is None and name.startswith(_COLUMN):
        return _column(name.removeprefix(_COLUMN), items, lookup), None
    attribute = name if nfc(name) in names else name.removeprefix(_ATTRIBUTE)
    return column, attribute if nfc(attribute) in names else None


def _column(name: str, items: pa.Table, lookup: CatalogLookup | None) -> pa.ChunkedArray | None:
    """Returns a value for each item; null where the catalog does not know the item."""
    if name in items.column_names:
        return items[name]
    if lookup is None or name not in lookup.images.column_names:
        return None
    rows = pc.index_in(items["image"], value_set=lookup.images["image"])
    return lookup.images[name].take(rows)


def _compare(condition: Condition, column: pa.ChunkedArray) -> NDArray[np.bool_]:
    value = condition.value
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_string(column.type):
        column = _as_numbers(condition, column)
        if not value.isascii():  # in NFD: what pyarrow 25 gives for NFC is NFD
            column = pc.utf8_normalize(column, form="NFD")
            value = unicodedata.normalize("NFD", value)
    try:
        given = _typed(value, column.type)
        holds = _COMPARE[condition.operator](column, given)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise HemlineError(
            f"the condition {condition} compares {condition.value!r} "
            f"with a column of type {column.type}: {error}"
        ) from error
    return np.asarray(pc.fill_null(holds, fill_value=False).to_numpy())


def _as_numbers(condition: Condition, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns texts as numbers where a number is asked for and some of them are one.

    Other texts among them become NaN, which only `!=` holds for.
    """
    is_number = pc.match_substring_regex(column, f"^{_NUMBER}$")
    orders = condition.operator not in {"=", "==", "!="}
    if re.fullmatch(_BOUND if orders else _NUMBER, condition.value):
        some = pc.any(is_number).as_py()
        return pc.if_else(is_number, column, "nan").cast(pa.float64()) if some else column
    if orders and pc.all(is_number, min_count=1).as_py():
        raise HemlineError(
            f"the condition {condition} compares {condition.value!r} with a column of numbers"
        )
    return column


def _typed(value: str, column: pa.DataType) -> pa.Scalar:
    """Returns a text as a scalar that can be compared with a column."""
    if pa.types.is_integer(column):  # width>=200.5 makes sense too
        whole = value.lstrip("+-").isdecimal()
        return pa.scalar(value).cast(pa.int64() if whole else pa.float64())
    return pa.scalar(value).cast(column)


def _compare_labels(
    condition: Condition, name: str, images_n: NDArray[np.int64], lookup: CatalogLookup
) -> NDArray[np.bool_]:
    has_n = np.isin(images_n, lookup.with_value(name, nfc(condition.value)))
    if condition.operator in {"=", "=="}:
        return has_n
    if condition.operator == "!=":
        return np.isin(images_n, lookup.labelled([name])) & ~has_n
    raise HemlineError(f"the condition {condition} orders values of {name}: use = or !=")


def _unknown_column(
    condition: Condition, items: pa.Table, lookup: CatalogLookup | None
) -> HemlineError:
    columns, attributes = items.column_names, ""
    if lookup is not None:
        columns = [*dict.fromkeys([*columns, *lookup.images.column_names])]
        attributes = f", and the attributes {', '.join(lookup.schema.names)}"
    return HemlineError(
        f"no column {condition.column!r}; there are {', '.join(columns)}{attributes}"
    )
