"""Conditions against the rows that hold, worked by hand."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from builders import images_table, labels_table

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.search.conditions import (
    CatalogLookup,
    Condition,
    parse_condition,
    rows_that_hold,
)
from components.tables import Catalog, Numbering

# of images 4, 0, 2; the catalog has 0 to 3
ITEMS = pa.table(
    {
        "image": [4, 0, 2],
        "path": ["4.png", "0.png", "2.png"],
        "price": [9.5, None, 20.0],
        "stock": pa.array([True, False, None]),
        "shop": pa.array(["a", "b", "a"]).dictionary_encode(),
        "seen": [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3)],
        "tags": [["x"], [], ["y"]],
    }
)


@pytest.fixture
def lookup() -> CatalogLookup:
    attributes = (
        Attribute(name="collar", values=("none", "rib")),
        Attribute(name="length", values=("short", "knee", "long")),
        Attribute(name="fit=slim?", values=("yes", "no=")),
    )
    return CatalogLookup(
        Catalog(
            schema=AttributeSchema(dataset="d", attributes=attributes),
            numbering=Numbering(origin="o", next_image=4),
            images=images_table("abcd", groups=["g", None, "h", None]),
            labels=labels_table([(0, 0, 0), (0, 1, 1), (0, 1, 2), (0, 2, 1), (2, 1, 0), (2, 2, 0)]),
            triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
            quarantine=tables.quarantine_table([]),
            left_out={},
        )
    )


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("image>=2", [4, 2]),
        ("image > 1.5", [4, 2]),
        ("image!=2", [4, 0]),
        ("path=0.png", [0]),
        ("path>=2", [4, 2]),
        ("price<10", [4]),
        ("price!=9.5", [2]),  # a missing value fulfils nothing
        ("stock=true", [4]),
        ("shop=a", [4, 2]),
        ("shop==b", [0]),
        ("seen>2026-01-15T00:00:00Z", [0, 2]),
        ("width=8", [0, 2]),  # the catalog does not know image 4
        ("group=h", [2]),
        ("collar=none", [0]),
        ("collar=rib", []),
        ("length=long", [0]),
        ("length!=long", [2]),  # 4 has no label
        ("length!=short", [0]),
        ("fit=slim?=yes", [2]),
        ("fit=slim? != yes", [0]),
        ("attribute:fit=slim?=no=", [0]),
    ],
)
def test_rows_that_hold(text: str, images: list[int], lookup: CatalogLookup) -> None:
    holds = rows_that_hold([parse_condition(text)], ITEMS, lookup)
    assert ITEMS["image"].to_numpy()[holds].tolist() == images


def test_all_conditions_hold(lookup: CatalogLookup) -> None:
    both = [parse_condition("shop=a"), parse_condition("price<10")]
    assert rows_that_hold(both, ITEMS, lookup).tolist() == [True, False, False]
    assert rows_that_hold([], ITEMS, None).all()


# texts, as a manifest in CSV has them
WRITTEN = pa.table(
    {
        "image": [0, 1, 2, 3, 4],
        "sku": ["00123", "123", "12E4", "A7", "120000"],
        "price": ["9.5", "20.0", None, "100", "on request"],
        "stock": ["9", "10", None, "1e+16", "0"],
        "shop": pa.array(["NA", "b", "NA", None, "2"], pa.large_string()),
    }
)


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("price<100", [0, 1]),
        ("price=20", [1]),
        ("price>=.5", [0, 1, 3]),
        ("price!=20", [0, 3, 4]),
        ("price=on request", [4]),
        ("stock>9", [1, 3]),
        ("sku=00123", [0]),  # a text: 123 is another
        ("sku=123", [1]),
        ("sku=120000", [4]),  # and 12E4 is none
        ("sku=A7", [3]),
        ("shop=NA", [0, 2]),
        ("shop=2.0", [4]),
    ],
)
def test_texts_are_numbers_where_both_sides_are(text: str, images: list[int]) -> None:
    holds = rows_that_hold([parse_condition(text)], WRITTEN, None)
    assert WRITTEN["image"].to_numpy()[holds].tolist() == images


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("text", ["price<=1e2", "price<=+100", "price<=1E+2", "price<=100"])
def test_a_bound_is_a_number_however_it_is_written(text: str, kind: pa.DataType) -> None:
    prices = pa.array(["19.90", "5", "100", "n/a", "200", None]).cast(kind)
    items = pa.table({"image": range(6), "price": prices})
    holds = rows_that_hold([parse_condition(text)], items, None)
    assert holds.tolist() == [True, True, True, False, False, False]


def test_names_are_compared_in_one_unicode_form() -> None:
    nfc, nfd = "d\u00e9collet\u00e9", "de\u0301collete\u0301"
    items = pa.table({"image": [0, 1, 2], "cut": [nfc, nfd, "v"]})
    attributes = (Attribute(name=nfc, values=("none", nfc)),)
    known = CatalogLookup(
        Catalog(
            schema=AttributeSchema(dataset="d", attributes=attributes),
            numbering=Numbering(origin="o", next_image=3),
            images=images_table("abc"),
            labels=labels_table([(0, 0, 0), (2, 0, 1)]),
            triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
            quarantine=tables.quarantine_table([]),
            left_out={},
        )
    )
    for form in (nfc, nfd):
        holds = rows_that_hold([parse_condition(f"cut={form}")], items, None)
        assert holds.tolist() == [True, True, False]
        holds = rows_that_hold([parse_condition(f"{form}={form}")], items, known)
        assert holds.tolist() == [False, False, True]


def test_an_attribute_may_be_called_like_a_column() -> None:
    attributes = (
        Attribute(name="width", values=("narrow", "wide")),
        Attribute(name="shop", values=("a", "b")),
        Attribute(name="fit", values=("slim", "loose")),
    )
    known = CatalogLookup(
        Catalog(
            schema=AttributeSchema(dataset="d", attributes=attributes),
            numbering=Numbering(origin="o", next_image=4),
            images=images_table("abcd"),
            labels=labels_table([(0, 0, 1), (2, 0, 0), (2, 1, 1), (0, 2, 1)]),
            triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
            quarantine=tables.quarantine_table([]),
            left_out={},
        )
    )

    def found(text: str) -> list[int]:
        holds = rows_that_hold([parse_condition(text)], ITEMS, known)
        return ITEMS["image"].to_numpy()[holds].tolist()

    assert found("attribute:width=wide") == [0]
    assert found("attribute:width!=wide") == [2]
    assert found("column:width=8") == [0, 2]
    assert found("attribute:shop=b") == [2]
    assert found("column:shop=b") == [0]
    assert found("attribute:fit=loose") == found("fit=loose") == [0]
    assert found("column:height>5") == found("height>5") == [0, 2]
    for text in ("width=wide", "width>=8", "shop=b"):
        expected = f"is a column and an attribute; write column:{text} or attribute:{text}"
        with pytest.raises(HemlineError, match=expected):
            found(text)
    with pytest.raises(HemlineError, match="no column 'attribute:hem'"):
        found("attribute:hem=1")
    with pytest.raises(HemlineError, match="no column 'column:fit'"):
        found("column:fit=slim")


def test_numbers_and_a_text_have_no_order() -> None:
    with pytest.raises(HemlineError, match="stock>1O compares '1O' with a column of numbers"):
        rows_that_hold([parse_condition("stock>1O")], WRITTEN, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "hem=1",
            "no column 'hem'; there are image, path, price, .* group, domain, and the attributes",
        ),
        ("width>=wide", "the condition width>=wide compares 'wide' with a column of type int32"),
        ("stock=maybe", "compares 'maybe' with a column of type bool"),
        ("tags=x", "compares 'x' with a column of type list"),
        ("collar=fur", "collar has no value 'fur'; it has none, rib"),
        ("collar<rib", "use = or !="),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    text: str, message: str, lookup: CatalogLookup
) -> None:
    with pytest.raises(HemlineError, match=message):
        rows_that_hold([parse_condition(text)], ITEMS, lookup)


def test_without_a_catalog_there_are_the_items_columns() -> None:
    assert rows_that_hold([parse_condition("price=20")], ITEMS, None).tolist() == [0, 0, 1]
    with pytest.raises(
        HemlineError, match=r"there are image, path, price, stock, shop, seen, tags$"
    ):
        rows_that_hold([parse_condition("width=8")], ITEMS, None)


@pytest.mark.parametrize("text", ["", "width", "=3", "width 3"])
def test_a_text_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(HemlineError, match="is not a condition: write a column"):
        parse_condition(text)


def test_conditions_are_read_as_written() -> None:
    expected = Condition(column="neck line", operator=">=", value="a = b")
    assert parse_condition(" neck line >= a = b ") == expected
    assert parse_condition("a!=") == Condition(column="a", operator="!=", value="")
