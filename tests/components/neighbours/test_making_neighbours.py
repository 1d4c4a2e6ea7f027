"""Neighbours of a folder of embeddings: made, repeated, resumed, and brought up to date."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from builders import flip_a_bit, images_table, labels_table
from embedded_folders import unit_vectors, write_embedded_folder

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.embeddings import read_embeddings
from components.errors import HemlineError
from components.images.keyed_parts import MAKING
from components.neighbours import by_index, changes, wanted
from components.neighbours import folder as folder_module
from components.neighbours.folder import (
    MANIFEST,
    NEAREST,
    NeighboursFolder,
    read_neighbours,
)
from components.neighbours.job import parts_here
from components.neighbours.making import Made, RunParts, make_neighbours
from components.neighbours.parts import PartMade, PartsMaker
from components.search.conditions import parse_condition
from components.search.finder import Finder
from components.search.index import read_index
from components.search.request import SearchRequest
from components.tables import Catalog, Numbering

NUM_ITEMS, DIM, TOP_K = 230, 12, 6
COLLAR, LENGTH = unit_vectors(NUM_ITEMS, DIM), unit_vectors(NUM_ITEMS, DIM, seed=1)
ALL = range(NUM_ITEMS)
BOTH: list[dict[str, float]] = [{"collar": 1.0}, {"length": 1.0}]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted, "ITEMS_PER_PART", 100)


def make(
    tmp_path: Path,
    images: Sequence[int] = ALL,
    *,
    out: str = "out",
    weights: Sequence[dict[str, float]] = BOTH,
    vectors: dict[str, np.ndarray] | None = None,
    run_parts: RunParts = parts_here,
    catalog: Catalog | None = None,
    **asked: Any,
) -> Made:
    """Makes the neighbours of embeddings of some of the images."""
    chosen = {"collar": COLLAR, "length": LENGTH} if vectors is None else vectors
    rows = np.asarray(images)
    embedded = write_embedded_folder(
        tmp_path / "embedded",
        {name: each[rows] for name, each in chosen.items()},
        images=images,
        columns={"price": [image % 7 for image in images]},
    )
    conditions = [parse_condition(text) for text in asked.pop("where", ())]
    asked = {"top_k": TOP_K, "conditions": conditions, **asked}
    return make_neighbours(
        Finder(embedded, catalog),
        embedded,
        [SearchRequest(weights=each, **asked) for each in weights],
        tmp_path / out,
        run_parts=run_parts,
        work=nullcontext(lambda number: None),
    )


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / NEAREST).iterdir()}


def found(folder: Path, attribute: str) -> dict[int, list[int]]:
    table = pd.read_parquet(folder / NEAREST)
    table = table[table["attribute"] == attribute].sort_values(["item", "rank"])
    return {item: [*rows["neighbour"]] for item, rows in table.groupby("item")}


def counts(made: Made) -> tuple[int, int, int]:
    return made.num_whole, made.num_merged, made.num_kept


def test_neighbours_are_what_a_search_finds(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert counts(made) == (2 * NUM_ITEMS, 0, 0)
    embedded = write_embedded_folder(tmp_path / "again", {"collar": COLLAR, "length": LENGTH})
    finder = Finder(embedded, None)
    table = pd.read_parquet(tmp_path / "out" / NEAREST)
    assert [*table] == ["item", "attribute", "rank", "neighbour", "similarity"]
    for attribute in ("collar", "length"):
        request = SearchRequest(weights={attribute: 1.0}, top_k=TOP_K, exact=True)
        for item in (0, 99, 100, 229):
            rows = table[(table["item"] == item) & (table["attribute"] == attribute)]
            answer = finder.find(finder.item_query(item, [attribute]), request).found
            assert [*rows["neighbour"]] == [each.image for each in answer]
            assert [*rows["similarity"]] == [np.float32(each.similarity) for each in answer]
            assert [*rows["rank"]] == [*range(1, TOP_K + 1)]


def test_several_attributes_together_are_one_comparison(tmp_path: Path) -> None:
    weights = {"collar": 2.0, "length": 1.0}
    make(tmp_path, weights=[weights])
    table = pd.read_parquet(tmp_path / "out" / NEAREST)
    assert {*table["attribute"]} == {"collar=2 + length"}
    sums = 2 * COLLAR[5] @ COLLAR.T + LENGTH[5] @ LENGTH.T
    sums[5] = -np.inf
    assert found(tmp_path / "out", "collar=2 + length")[5] == (-sums).argsort()[:TOP_K].tolist()


def test_the_folder_is_one_table_for_other_programs(tmp_path: Path) -> None:
    make(tmp_path)
    folder = tmp_path / "out" / NEAREST
    rows = 2 * NUM_ITEMS * TOP_K
    assert len(pd.read_parquet(folder)) == rows
    assert len(pl.read_parquet(folder)) == rows
    assert pq.read_table(folder).num_rows == rows
    assert duckdb.sql(f"select count(*) from '{folder}/*.parquet'").fetchall() == [(rows,)]


def test_a_repeated_run_makes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    before = bytes_in(tmp_path / "out")
    manifest = (tmp_path / "out" / MANIFEST).read_text()
    made = make(tmp_path, run_parts=nobody)
    assert counts(made) == (0, 0, 2 * NUM_ITEMS)
    assert bytes_in(tmp_path / "out") == before
    assert (tmp_path / "out" / MANIFEST).read_text() == manifest


def test_a_killed_run_resumes(tmp_path: Path) -> None:
    """The third part kills it: the other attribute and the rest are made, what was made is kept."""

    def killed(maker: PartsMaker, todo: list[tuple[str, slice]]) -> Iterator[PartMade]:
        yield from parts_here(maker, todo[:2])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, run_parts=killed)
    assert not (tmp_path / "out" / NEAREST).exists()
    assert counts(make(tmp_path)) == (NUM_ITEMS + 30, 0, 200)
    assert not (tmp_path / "out" / MAKING).exists()
    make(tmp_path, out="at once")
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "at once")


def test_a_run_that_is_killed_while_its_parts_come_in_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New parts are in their place and old ones are gone, and the manifest is still the old one."""
    make(tmp_path, range(220))

    def killed(made: NeighboursFolder) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
    assert counts(make(tmp_path, run_parts=nobody)) == (0, 0, 2 * NUM_ITEMS)
    make(tmp_path, out="at once")
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "at once")


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    make(tmp_path)
    path = next((tmp_path / "out" / NEAREST).iterdir())
    whole = path.read_bytes()
    flip_a_bit(path)
    (tmp_path / "out" / MANIFEST).unlink()
    make(tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("share", [0.3, 0.999])  # in a page, in the file's description
def test_a_part_that_is_not_as_it_was_written_is_made_again(tmp_path: Path, share: float) -> None:
    make(tmp_path)
    before = bytes_in(tmp_path / "out")
    damaged = sorted((tmp_path / "out" / NEAREST).iterdir())[0]
    flip_a_bit(damaged, share=share)
    assert counts(make(tmp_path)) == (100, 0, 2 * NUM_ITEMS - 100)
    assert bytes_in(tmp_path / "out") == before


def test_lists_are_not_brought_up_to_date_from_a_damaged_part(tmp_path: Path) -> None:
    make(tmp_path, range(220))
    for path in (tmp_path / "out" / NEAREST).iterdir():
        flip_a_bit(path, share=0.3)
    assert counts(make(tmp_path)) == (2 * NUM_ITEMS, 0, 0)
    make(tmp_path, out="at once")
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "at once")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (range(200), ALL),  # items come
        (ALL, range(20, 230)),  # items go
        ([*range(0, 230, 2)], [*range(30, 180)]),  # both, and half the images
        (range(150), [*range(100), *range(120, 230)]),
    ],
)
def test_what_is_brought_up_to_date_is_what_a_full_run_makes(
    tmp_path: Path, before: Sequence[int], after: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(changes._MOST_CHANGED, "exact", 2.0)
    make(tmp_path, before)
    made = make(tmp_path, after)
    make(tmp_path, after, out="in full")
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "in full")
    assert made.num_merged > 0
    assert made.num_whole < 2 * len(after)


def test_only_what_must_change_is_made_in_whole(tmp_path: Path) -> None:
    make(tmp_path, range(220), weights=BOTH[:1])
    assert counts(make(tmp_path, weights=BOTH[:1])) == (10, 220, 0)
    before = found(tmp_path / "out", "collar")
    having = sum(3 in those for those in before.values())
    without = [image for image in ALL if image != 3]
    made = make(tmp_path, without, weights=BOTH[:1])
    assert counts(made) == (having, NUM_ITEMS - 1 - having, 0)


def test_an_item_whose_vector_changed_has_other_neighbours(tmp_path: Path) -> None:
    make(tmp_path)
    changed = COLLAR.copy()
    changed[17] = COLLAR[200]
    vectors = {"collar": changed, "length": LENGTH}
    made = make(tmp_path, vectors=vectors)
    make(tmp_path, vectors=vectors, out="in full")
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "in full")
    assert found(tmp_path / "out", "collar")[200][0] == 17
    assert made.num_kept == NUM_ITEMS  # of the other attribute


def test_too_many_changes_make_all_again(tmp_path: Path) -> None:
    make(tmp_path, range(60))
    assert counts(make(tmp_path)) == (2 * NUM_ITEMS, 0, 0)


def test_another_number_of_neighbours_makes_all_again(tmp_path: Path) -> None:
    make(tmp_path)
    assert counts(make(tmp_path, top_k=3)) == (2 * NUM_ITEMS, 0, 0)
    assert {len(those) for those in found(tmp_path / "out", "collar").values()} == {3}


def test_conditions_are_on_neighbours_and_every_item_has_a_list(tmp_path: Path) -> None:
    make(tmp_path, where=["price>=5"])
    lists = found(tmp_path / "out", "length")
    assert [*lists] == [*ALL]
    assert {each % 7 for those in lists.values() for each in those} == {5, 6}
    manifest = read_neighbours(tmp_path / "out")
    assert manifest.conditions == ("price>=5",)
    made = make(tmp_path, where=["price>=4"])
    make(tmp_path, where=["price>=4"], out="in full")
    assert made.num_merged > 0
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "in full")


def catalog_of(labelled: Sequence[int]) -> Catalog:
    attributes = tuple(Attribute(name=name, values=("a", "b")) for name in ("collar", "length"))
    return Catalog(
        schema=AttributeSchema(dataset="d", attributes=attributes),
        numbering=Numbering(origin="o", next_image=NUM_ITEMS),
        images=images_table([str(image) for image in ALL]),
        labels=labels_table([(image, 0, image % 2) for image in labelled]),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )


def test_neighbours_have_a_label_unless_all_items_are_asked_for(tmp_path: Path) -> None:
    labelled = range(0, NUM_ITEMS, 3)
    make(tmp_path, catalog=catalog_of(labelled), weights=BOTH[:1])
    lists = found(tmp_path / "out", "collar")
    assert [*lists] == [*ALL]
    assert {each for those in lists.values() for each in those} <= {*labelled}
    make(tmp_path, catalog=catalog_of(labelled), weights=BOTH[:1], all_items=True)
    make(tmp_path, out="without a catalog", weights=BOTH[:1])
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "without a catalog")


def test_a_vector_that_is_no_number_is_refused(tmp_path: Path) -> None:
    broken = LENGTH.copy()
    broken[40, 2] = np.nan
    with pytest.raises(HemlineError, match="image 40 for length in"):
        make(tmp_path, vectors={"collar": COLLAR, "length": broken})


class TestByIndex:
    """Candidates beyond a limit, here 1,000 of 3,000."""

    NUM, CENTRES = 3000, 40

    @pytest.fixture(autouse=True)
    def large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wanted, "MOST_EXACT", 1000)
        monkeypatch.setattr(by_index, "_COMPARED_AT_ONCE", 5000)

    def clustered(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(5)
        vectors = unit_vectors(self.CENTRES, DIM)[rng.integers(0, self.CENTRES, self.NUM)]
        vectors = vectors + 0.15 * rng.normal(size=vectors.shape)
        return {"collar": vectors / np.linalg.norm(vectors, axis=1, keepdims=True)}

    def run(self, tmp_path: Path, num: int, **asked: Any) -> Made:
        return make(tmp_path, range(num), vectors=self.clustered(), weights=BOTH[:1], **asked)

    def test_its_recall_is_what_was_promised(self, tmp_path: Path) -> None:
        made = self.run(tmp_path, self.NUM)
        (comparison,) = made.folder.comparisons
        assert comparison.method == "index"
        index = read_index(read_embeddings(tmp_path / "embedded"), "collar")
        assert index is not None
        assert comparison.num_probes < index.facts.num_lists / 2  # or it would be exact search
        self.run(tmp_path, self.NUM, exact=True, out="exact")
        ours, right = (found(tmp_path / out, "collar") for out in ("out", "exact"))
        recall = np.mean([len({*ours[item]} & {*right[item]}) / TOP_K for item in right])
        assert recall >= 0.95
        assert recall == pytest.approx(comparison.recall, abs=0.02)  # measured on 500 of 3,000
        assert all(item not in those for item, those in ours.items())

    def test_a_repeated_run_makes_nothing_and_few_new_items_are_merged(
        self, tmp_path: Path
    ) -> None:
        self.run(tmp_path, self.NUM - 10)
        before = found(tmp_path / "out", "collar")
        assert counts(self.run(tmp_path, self.NUM - 10, run_parts=nobody)) == (0, 0, self.NUM - 10)
        made = self.run(tmp_path, self.NUM)
        assert (made.num_whole, made.num_merged) == (10, self.NUM - 10)
        self.run(tmp_path, self.NUM, exact=True, out="exact")
        after, right = (found(tmp_path / out, "collar") for out in ("out", "exact"))
        assert all(after[item] == right[item] for item in range(self.NUM - 10, self.NUM))
        for item, those in before.items():  # what came is where it belongs
            assert {*right[item]} & {*range(self.NUM - 10, self.NUM)} <= {*after[item]}
            assert {*after[item]} <= {*those, *range(self.NUM - 10, self.NUM)}
        assert counts(self.run(tmp_path, self.NUM, run_parts=nobody)) == (0, 0, self.NUM)

    def test_many_new_items_are_found_by_the_index_again(self, tmp_path: Path) -> None:
        self.run(tmp_path, self.NUM - 100)
        assert counts(self.run(tmp_path, self.NUM)) == (self.NUM, 0, 0)
        self.run(tmp_path, self.NUM, out="in full")
        assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "in full")

    def test_exact_lists_stay_exact_where_few_items_make_them_too_many(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wanted, "MOST_EXACT", self.NUM - 5)
        self.run(tmp_path, self.NUM - 10)
        made = self.run(tmp_path, self.NUM)
        assert (made.num_whole, made.num_merged) == (10, self.NUM - 10)
        assert made.folder.comparisons[0].method == "exact"
        assert counts(self.run(tmp_path, self.NUM, run_parts=nobody)) == (0, 0, self.NUM)
        self.run(tmp_path, self.NUM, exact=True, out="exact")
        assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "exact")

    def test_lists_by_an_index_are_not_taken_for_exact_ones(self, tmp_path: Path) -> None:
        self.run(tmp_path, self.NUM)
        made = self.run(tmp_path, self.NUM, exact=True)
        assert counts(made) == (self.NUM, 0, 0)

    def test_conditions_leave_as_good_a_recall(self, tmp_path: Path) -> None:
        made = self.run(tmp_path, self.NUM, where=["price>=3"])
        (comparison,) = made.folder.comparisons
        assert comparison.method == "index"
        self.run(tmp_path, self.NUM, where=["price>=3"], exact=True, out="exact")
        ours, right = (found(tmp_path / out, "collar") for out in ("out", "exact"))
        recall = np.mean([len({*ours[item]} & {*right[item]}) / TOP_K for item in right])
        assert recall >= 0.95
        assert {each % 7 for those in ours.values() for each in those} <= {3, 4, 5, 6}


def nobody(maker: PartsMaker, todo: list[tuple[str, slice]]) -> Iterator[PartMade]:
    raise AssertionError("parts were made again")
