"""The page over products with items."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from products import ITEM, Products

from components.browse.shelf import ItemPictures
from components.search.finder import Finder

PRODUCTS = Products(6)
FIRST = PRODUCTS.names[0]
QUERY = f"photos/{FIRST}/street-1.png"


@pytest.fixture
def products(tmp_path: Path, make_client: Callable[..., FlaskClient]) -> FlaskClient:
    catalog = PRODUCTS.catalog(tmp_path / "raw")
    embedded = PRODUCTS.embed(tmp_path / "embeddings", catalog)
    return make_client(
        finder=Finder(embedded, catalog),
        pictures=ItemPictures(embedded.items(), str(tmp_path / "raw")),
        attend=lambda pixels, attributes: None,
        prototypes=embedded.prototypes,
    )


def test_results_name_their_product_and_say_whether_it_is_the_query_s(
    products: FlaskClient,
) -> None:
    page = products.get(
        "/search", query_string={"image": QUERY, "attribute": ITEM, "where": "domain=shop"}
    ).text
    assert "<b>2</b> of 10 with a label agree in item" in page
    assert page.count(f"</span>{FIRST}</span>") == 2
    assert page.count("</span>A-001</span>") == 2


def test_products_are_no_choices(products: FlaskClient) -> None:
    """Neither of the filter nor of what a picture is to have instead: they are too many."""
    catalogue = products.get("/").text
    assert '<option value="neck=v">neck: v</option>' in catalogue
    assert "item=A-" not in catalogue
    question = products.get("/search", query_string={"image": QUERY, "attribute": ITEM}).text
    assert "change.neck" in question
    assert "change.item" not in question


def test_the_catalogue_is_filtered_by_a_product(products: FlaskClient) -> None:
    assert "one of 4 items, filtered" in products.get("/", query_string={"show": "item=A-002"}).text


def test_with_another_value_products_need_not_be_the_same(products: FlaskClient) -> None:
    page = products.get("/search", query_string={"image": QUERY, "change.neck": "round"}).text
    assert "weighted sums over 2 attributes" in page
    asked = {"image": QUERY, "change.item": "A-002", "attribute": "neck"}
    assert "item cannot be changed" in products.get("/search", query_string=asked).text
