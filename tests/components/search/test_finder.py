"""The finder: names, filters, weights, reranking, and the index beside exact search."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import flip_a_bit, images_table, labels_table
from embedded_folders import unit_vectors, write_embedded_folder

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.embeddings import Embeddings
from components.errors import HemlineError
from components.search import finder as finder_module
from components.search.conditions import parse_condition
from components.search.finder import Finder
from components.search.index import build_index
from components.search.request import Found, SearchRequest
from components.search.vector_map import map_path, write_map
from components.tables import Catalog, Numbering

NUM_ITEMS, DIM = 60, 8
COLLAR, LENGTH = unit_vectors(NUM_ITEMS, DIM), unit_vectors(NUM_ITEMS, DIM, seed=1)
QUERY = {"collar": unit_vectors(1, DIM, seed=2)[0], "length": unit_vectors(1, DIM, seed=3)[0]}
SCHEMA = AttributeSchema(
    dataset="d",
    attributes=(
        Attribute(name="collar", values=("none", "rib")),
        Attribute(name="length", values=("short", "knee", "long")),
    ),
)
LABELS = [
    *((number, 0, number % 2) for number in range(0, NUM_ITEMS, 3)),
    *((number, 1, number % 3) for number in range(0, NUM_ITEMS, 5)),
    (10, 1, 2),  # a second value
]


def content(number: int) -> bytes:
    return b"twin" if number in {4, 8} else f"picture {number}".encode()


@pytest.fixture
def catalog() -> Catalog:
    digests = [hashlib.sha256(content(number)).hexdigest() for number in range(NUM_ITEMS + 5)]
    return Catalog(
        schema=SCHEMA,
        numbering=Numbering(origin="o", next_image=len(digests)),
        images=images_table(digests),
        labels=labels_table(LABELS),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )


@pytest.fixture
def embedded(tmp_path: Path) -> Embeddings:
    price = list(range(NUM_ITEMS))
    vectors = {"collar": COLLAR, "length": LENGTH}
    return write_embedded_folder(
        tmp_path, vectors, part_sizes=[25, 0, 35], columns={"price": price}
    )


def find(
    finder: Finder,
    vectors: Mapping[str, np.ndarray],
    *,
    top_k: int,
    weights: Mapping[str, float] | None = None,
    without: Sequence[int] = (),
    all_items: bool = True,
    **asked: Any,
) -> Sequence[Found]:
    """Returns what is found by the attributes of a query, 1 each where no weights are given."""
    request = SearchRequest(
        weights=dict.fromkeys(vectors, 1.0) if weights is None else weights,
        top_k=top_k,
        all_items=all_items,
        **asked,
    )
    return finder.find(finder.picture_query(vectors, copies=without), request).found


def numbers(found: Sequence[Found]) -> list[int]:
    return [item.image for item in found]


def ranked(similarity: np.ndarray, among: Sequence[int] | None = None) -> list[int]:
    some = range(NUM_ITEMS) if among is None else among
    return sorted(some, key=lambda number: (-similarity[number], number))


def test_one_attribute(embedded: Embeddings, catalog: Catalog) -> None:
    found = find(Finder(embedded, catalog), {"collar": QUERY["collar"]}, top_k=5)
    cosines = COLLAR @ QUERY["collar"]
    assert numbers(found) == ranked(cosines)[:5]
    np.testing.assert_allclose([item.similarity for item in found], cosines[numbers(found)], 1e-5)
    assert [item.path for item in found] == [f"{number}.png" for number in numbers(found)]


def test_several_attributes_are_a_weighted_sum(embedded: Embeddings) -> None:
    weights = {"collar": 2.0, "length": 0.5}
    total = 2 * COLLAR @ QUERY["collar"] + 0.5 * LENGTH @ QUERY["length"]
    found = find(Finder(embedded, None), QUERY, top_k=7, weights=weights)
    assert numbers(found) == ranked(total)[:7]
    np.testing.assert_allclose([item.similarity for item in found], total[numbers(found)], 1e-5)
    alike = find(Finder(embedded, None), QUERY, top_k=7)
    assert numbers(alike) == ranked(COLLAR @ QUERY["collar"] + LENGTH @ QUERY["length"])[:7]


def test_reranking_is_two_sorts_among_the_allowed(embedded: Embeddings) -> None:
    among = [number for number in range(NUM_ITEMS) if number < 40 and number != 7]
    general = COLLAR @ QUERY["collar"] + LENGTH @ QUERY["length"]
    first = ranked(general, among)[:12]
    found = find(
        Finder(embedded, None),
        QUERY,
        top_k=5,
        weights={"length": 3.0},
        conditions=[parse_condition("price<40")],
        without=[7],
        rerank=12,
    )
    assert numbers(found) == ranked(LENGTH @ QUERY["length"], first)[:5]


def test_filters_hold_together(embedded: Embeddings, catalog: Catalog) -> None:
    found = find(
        Finder(embedded, catalog),
        {"length": QUERY["length"]},
        top_k=NUM_ITEMS,
        conditions=[parse_condition("price>=10"), parse_condition("collar=rib")],
        all_items=False,
        without=[45],
    )
    among = [n for n in range(10, NUM_ITEMS) if n % 3 == 0 and n % 2 == 1 and n % 5 == 0]
    assert among == [15, 45]
    assert numbers(found) == [15]


def test_a_label_of_one_of_the_attributes_is_enough(embedded: Embeddings, catalog: Catalog) -> None:
    found = find(Finder(embedded, catalog), QUERY, top_k=99, all_items=False)
    assert sorted(numbers(found)) == [n for n in range(NUM_ITEMS) if n % 3 == 0 or n % 5 == 0]


def test_values_are_the_catalogs(embedded: Embeddings, catalog: Catalog) -> None:
    finder = Finder(embedded, catalog)
    values = {item.image: item.values for item in find(finder, QUERY, top_k=NUM_ITEMS)}
    assert values[10] == {"length": ("knee", "long")}
    assert values[30] == {"collar": ("none",), "length": ("short",)}
    assert values[1] == {}
    assert finder.values_of(10) == {"length": ("knee", "long")}
    without_catalog = Finder(embedded, None)
    assert without_catalog.values_of(10) == {}
    assert find(without_catalog, QUERY, top_k=1, all_items=False)[0].values == {}


def test_items_are_known_by_number_path_and_content(
    embedded: Embeddings, catalog: Catalog, tmp_path: Path
) -> None:
    finder = Finder(embedded, catalog)
    assert finder.number_of("7") == finder.number_of("7.png") == 7
    assert finder.path_of(7) == "7.png"
    assert finder.same_content(b"twin") == [4, 8]
    assert finder.same_content(content(NUM_ITEMS)) == []  # of the catalog, not embedded
    for name in ("60", "-1", "7.jpg", ""):
        with pytest.raises(
            HemlineError, match=f"no embedded image has the number or path '{name}'"
        ):
            finder.number_of(name)
    digest = hashlib.sha256(b"it").hexdigest()
    alone = write_embedded_folder(
        tmp_path / "alone",
        {"collar": COLLAR[:3]},
        columns={"content": ["", digest, f"{digest}#xywh=1,2,3,4"]},
    )
    assert Finder(alone, None).same_content(b"it") == [1, 2]


def test_a_region_of_a_photograph_is_one_of_its_products(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"it").hexdigest()
    paths = ["a.jpg#xywh=0,0,4,9", "a.jpg#xywh=4,0,4,9", "copy.jpg#xywh=0,0,4,9", "b.jpg"]
    contents = [*[digest] * 3, "f" * 64]
    embedded = write_embedded_folder(
        tmp_path, {"collar": COLLAR[:4]}, columns={"path": paths, "content": contents}
    )
    finder = Finder(embedded, None)
    assert finder.same_content(b"it") == [0, 1, 2]
    assert finder.same_content(b"it", region=(0, 0, 4, 9)) == [0, 2]
    assert finder.same_content(b"it", region=(0, 0, 8, 9)) == []


def test_numbers_may_have_gaps_and_parts_any_order(tmp_path: Path) -> None:
    images = [90, 3, 50, 7]
    gaps = write_embedded_folder(tmp_path, {"collar": COLLAR[:4]}, images=images, part_sizes=[1, 3])
    finder = Finder(gaps, None)
    for row, image in enumerate(images):
        vector = finder.vectors_of(image, ["collar"])["collar"]
        np.testing.assert_array_equal(vector, COLLAR[row])
        (nearest,) = find(finder, {"collar": vector}, top_k=1)
        assert (nearest.image, nearest.path) == (image, f"{image}.png")
    with pytest.raises(HemlineError, match="no embedded image"):
        finder.number_of("4")
    with pytest.raises(HemlineError, match="image 4 is not embedded"):
        finder.vectors_of(4, ["collar"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"vectors": {"hem": QUERY["collar"]}}, "no attribute 'hem'; .* for collar, length"),
        ({"vectors": QUERY, "weights": {"hem": 1.0}}, "no attribute 'hem'"),
        (
            {"vectors": {"collar": QUERY["collar"]}, "rerank": 5},
            "embeddings of the query for collar",
        ),
        ({"vectors": {}}, "no attribute"),
    ],
)
def test_what_cannot_be_searched_is_an_error(
    embedded: Embeddings, asked: dict, message: str
) -> None:
    with pytest.raises(HemlineError, match=message):
        find(Finder(embedded, None), **asked, top_k=1)


def test_a_map_changes_nothing(embedded: Embeddings, catalog: Catalog) -> None:
    plain = find(Finder(embedded, catalog), QUERY, top_k=NUM_ITEMS)
    write_map(embedded, "collar")  # of one attribute and not of the other
    assert find(Finder(embedded, catalog), QUERY, top_k=NUM_ITEMS) == plain


def test_a_map_of_other_embeddings_is_not_read(embedded: Embeddings) -> None:
    write_map(embedded, "collar")
    other = write_embedded_folder(
        embedded.folder, {"collar": LENGTH, "length": COLLAR}, model_version=2
    )
    found = find(Finder(other, None), {"collar": QUERY["collar"]}, top_k=5)
    assert numbers(found) == ranked(LENGTH @ QUERY["collar"])[:5]


def test_a_map_cut_short_is_an_error_that_names_it(embedded: Embeddings) -> None:
    path = write_map(embedded, "collar")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(HemlineError, match=r"vectors-.*\.arrow is damaged .* `hemline index`"):
        find(Finder(embedded, None), {"collar": QUERY["collar"]}, top_k=1)
    path.with_suffix(".json").unlink()  # as an older hemline wrote it
    with pytest.raises(HemlineError, match=r"vectors-.*\.arrow is not whole .* `hemline index`"):
        find(Finder(embedded, None), {"collar": QUERY["collar"]}, top_k=1)


def test_a_flipped_bit_of_a_map_is_found(embedded: Embeddings, monkeypatch) -> None:
    path, read = write_map(embedded, "collar"), []
    try:
        os.setxattr(path, "user.hemline.test", b"")
    except OSError:
        pytest.skip("no extended attributes here")
    checksum = files.checksum
    monkeypatch.setattr(files, "checksum", lambda path: read.append(path) or checksum(path))
    for _ in range(2):
        files._checksum_at.cache_clear()  # as another process
        find(Finder(embedded, None), {"collar": QUERY["collar"]}, top_k=1)
    assert read == [path], "once after it was written"
    flip_a_bit(path)
    with pytest.raises(HemlineError, match=r"vectors-.*\.arrow is damaged"):
        find(Finder(embedded, None), {"collar": QUERY["collar"]}, top_k=1)


NUM_LARGE = 1000
LARGE = unit_vectors(NUM_LARGE, DIM, seed=6)


class TestLargeCatalogue:
    """What large embeddings do; here they begin at 500 items."""

    @pytest.fixture
    def large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embeddings:
        monkeypatch.setattr(finder_module, "MIN_INDEXED", 500)
        columns = {"tenth": [number % 10 for number in range(NUM_LARGE)]}
        return write_embedded_folder(tmp_path, {"collar": LARGE, "length": LARGE}, columns=columns)

    @staticmethod
    def narrowed(large: Embeddings) -> Finder:
        """With an index that looks into one list only: what it misses tells that it was used."""
        build_index(large, "collar")
        (facts,) = (large.folder / "index/attribute=collar").glob("*.json")
        files.write_json({**files.read_json(facts), "num_probes": 1}, facts)
        return Finder(large, None)

    def test_an_index_is_used_for_one_attribute(self, large: Embeddings) -> None:
        finder, missed = self.narrowed(large), {"index": 0, "exact": 0, "rerank": 0, "few": 0}
        for query in unit_vectors(20, DIM, seed=5):
            both = {"collar": query, "length": query}
            fewer = [parse_condition("tenth<4")]  # leaves fewer than are searched with an index
            ways = {
                "index": find(finder, {"collar": query}, top_k=5),
                "exact": find(finder, {"collar": query}, top_k=5, exact=True),
                "rerank": find(finder, both, weights={"collar": 1.0}, top_k=5, rerank=NUM_LARGE),
            }
            for way, found in ways.items():
                missed[way] += numbers(found) != ranked(LARGE @ query, range(NUM_LARGE))[:5]
            few = find(finder, {"collar": query}, top_k=5, conditions=fewer)
            among = [number for number in range(NUM_LARGE) if number % 10 < 4]
            missed["few"] += numbers(few) != ranked(LARGE @ query, among)[:5]
        assert missed.pop("index") > 5
        assert missed == {"exact": 0, "rerank": 0, "few": 0}

    def test_weights_scale_what_an_index_found(self, large: Embeddings) -> None:
        finder, query = self.narrowed(large), {"collar": QUERY["collar"]}
        plain = find(finder, query, top_k=5)
        twice = find(finder, query, top_k=5, weights={"collar": 2.0})
        assert numbers(twice) == numbers(plain)
        assert [item.similarity for item in twice] == [2 * item.similarity for item in plain]

    def test_what_shall_not_be_found_leaves_its_place_to_others(self, large: Embeddings) -> None:
        finder, query = self.narrowed(large), {"collar": QUERY["collar"]}
        plain = numbers(find(finder, query, top_k=7))
        assert numbers(find(finder, query, top_k=5, without=plain[1:3])) == [plain[0], *plain[3:]]

    def test_as_many_as_asked_for_are_found(self, large: Embeddings) -> None:
        """One list holds fewer: then all are compared."""
        query = QUERY["collar"]
        found = find(self.narrowed(large), {"collar": query}, top_k=400)
        assert numbers(found) == ranked(LARGE @ query, range(NUM_LARGE))[:400]

    def test_a_missing_index_is_told_with_the_remedy(self, large: Embeddings) -> None:
        finder, both = Finder(large, None), ["collar", "length"]
        query = QUERY["collar"]
        found = find(finder, {"collar": query}, top_k=4)
        assert numbers(found) == ranked(LARGE @ query, range(NUM_LARGE))[:4]
        notice = finder.missing_index(both)
        command = f"hemline index --embeddings {large.folder}"
        assert f"`{command} --attribute collar --attribute length`" in notice
        build_index(large, "length")
        assert f"`{command} --attribute collar`" in Finder(large, None).missing_index(both)
        build_index(large, "collar")
        assert Finder(large, None).missing_index(both) == ""
        other = write_embedded_folder(
            large.folder, {"collar": LARGE, "length": LARGE}, model_version=2
        )
        assert "no index of collar, length" in Finder(other, None).missing_index(both)


def test_few_embeddings_need_no_index(embedded: Embeddings) -> None:
    assert Finder(embedded, None).missing_index(["collar"]) == ""
    assert not map_path(embedded, "collar").exists()
