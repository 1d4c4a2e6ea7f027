"""A page over one shelf and one over two, made of real models and real embeddings."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from shops import SIDE_PX, Shop

from components.browse.app import create_app
from components.browse.shelf import ItemPictures, Shelf
from components.search.finder import Finder


def shelf_of(shop: Shop, name: str, *, seed: int, title: str) -> Shelf:
    """Returns the shop embedded with a model of its own."""
    package = shop.export(f"package-{name}", seed=seed)
    embedded = shop.embed(f"embeddings-{name}", package, version=seed)
    return Shelf(
        title=title,
        key=f"{embedded.digest[:8]}-{seed}",
        finder=Finder(embedded, shop.catalog),
        pictures=ItemPictures(embedded.items(), str(shop.root)),
        image_size_px=SIDE_PX,
        embed=package.embed_each,
        attend=package.attend,
        prototypes=embedded.prototypes,
    )


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def champion(shop: Shop) -> Shelf:
    return shelf_of(shop, "a", seed=1, title="hemline 1 (champion)")


@pytest.fixture(scope="session")
def challenger(shop: Shop) -> Shelf:
    return shelf_of(shop, "b", seed=2, title="hemline 2 (challenger)")


@pytest.fixture
def client(champion: Shelf) -> Iterator[FlaskClient]:
    with create_app([champion], trusted_hosts=["localhost"]).test_client() as client:
        yield client


@pytest.fixture
def comparing(champion: Shelf, challenger: Shelf) -> Iterator[FlaskClient]:
    app = create_app([champion, challenger], trusted_hosts=["localhost"])
    with app.test_client() as client:
        yield client


@pytest.fixture
def make_client(champion: Shelf) -> Callable[..., FlaskClient]:
    """Returns a function that makes a page over the shelf, changed, and perhaps one beside it."""

    def make(*, beside: dict[str, Any] | None = None, **changes: Any) -> FlaskClient:
        shelves = [replace(champion, **changes)]
        if beside is not None:
            shelves.append(replace(champion, title="beside", **beside))
        return create_app(shelves, trusted_hosts=["localhost"]).test_client()

    return make
