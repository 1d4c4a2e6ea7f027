"""The files of the stage `triplets`."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from builders import PROJECT
from builders import splits_table as table_of_rows

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.params import SamplingParams, load_section
from components.sampling.epochs import write_epochs

SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(
        Attribute(name="neck", values=("v", "round", "square")),
        Attribute(name="hem", values=("short", "long")),
    ),
)
PARAMS = replace(
    load_section(PROJECT / "params.yaml", SamplingParams),
    method="batches",
    num_epochs=3,
    triplets_per_epoch=50,
    evaluation_triplets=20,
    batches_per_epoch=4,
    attributes_per_batch=2,
    values_per_attribute=2,
    images_per_value=2,
)
IMAGES_OF = {"train": range(20), "valid": range(20, 30), "test": range(30, 40)}


def splits_table(names=("train", "valid", "test")):
    """Returns splits where neck has one square image in test, and hem one value in valid."""
    rows = []
    for name in names:
        role = "train" if name == "train" else "gallery"
        for image in IMAGES_OF[name]:
            rows.append((image, 0, 2 if image == 30 else image % 2, name, role))
            rows.append((image, 1, 0 if name == "valid" else image // 2 % 2, name, role))
    return table_of_rows(rows)


def write(folder, *, splits=None, published=None, **changes):
    return write_epochs(
        splits_table() if splits is None else splits,
        folder,
        params=replace(PARAMS, **changes),
        schema=SCHEMA,
        published=published,
    )


def read(path, schema=tables.TRIPLETS):
    groups = range(files.num_row_groups(path, schema=schema))
    return [files.read_row_group(path, group, schema=schema) for group in groups]


@pytest.mark.parametrize(
    ("split", "num_rows"), [("train", [50, 50, 50]), ("valid", [20]), ("test", [20])]
)
def test_triplets_of_a_split_are_of_its_images(tmp_path, split, num_rows):
    write(tmp_path)
    epochs = read(tmp_path / f"{split}.parquet")

    assert [epoch.num_rows for epoch in epochs] == num_rows
    for number, epoch in enumerate(epochs):
        assert set(epoch["epoch"].to_pylist()) == {number}
        for column in ("anchor", "positive", "negative"):
            assert set(epoch[column].to_pylist()) <= set(IMAGES_OF[split])


def test_batches_are_of_training_images(tmp_path):
    write(tmp_path)
    epochs = read(tmp_path / "batches.parquet", tables.BATCHES)

    assert [epoch.num_rows for epoch in epochs] == [4 * 2 * 2 * 2] * 3
    assert all(set(epoch["image"].to_pylist()) <= set(IMAGES_OF["train"]) for epoch in epochs)


def test_only_the_method_that_wants_batches_gets_them(tmp_path):
    write(tmp_path, method="triplets")

    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"train.parquet", "valid.parquet", "test.parquet", "left_out.json"}


def test_what_was_left_out_is_named_and_written(tmp_path):
    left_out = write(tmp_path)

    assert left_out == {
        "train": {"values_with_one_image": [], "attributes_with_one_value": []},
        "valid": {"values_with_one_image": [], "attributes_with_one_value": ["hem"]},
        "test": {"values_with_one_image": ["neck=square"], "attributes_with_one_value": []},
    }
    assert files.read_json(tmp_path / "left_out.json") == left_out


def test_only_the_attributes_that_are_asked_for_are_planned(tmp_path):
    write(tmp_path, attributes=["neck"], attributes_per_batch=1)

    for split in ("train", "valid", "test"):
        for epoch in read(tmp_path / f"{split}.parquet"):
            assert set(epoch["attribute"].to_pylist()) == {0}
    neck = splits_table().filter(pc.field("attribute") == 0)
    write(tmp_path / "neck", splits=neck, attributes_per_batch=1)
    for path in tmp_path.glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "neck" / path.name).read_bytes()


@pytest.mark.parametrize("published", [True, False])
def test_published_triplets_of_other_attributes_are_left_out(tmp_path, published):
    table = published_table() if published else None
    write(tmp_path, published=table, attributes=["neck", "hem"], triplets_per_epoch=12)
    write(tmp_path / "all", published=table, triplets_per_epoch=12)
    for path in tmp_path.glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "all" / path.name).read_bytes()

    if published:
        with pytest.raises(HemlineError, match=r"split valid: .*no triplets"):
            write(tmp_path, published=table, attributes=["neck"])


def test_an_attribute_that_does_not_exist_is_an_error_that_names_the_key(tmp_path):
    with pytest.raises(HemlineError, match=r"^sampling\.attributes: .*'item'; there are neck, hem"):
        write(tmp_path, attributes=["item"])


def test_a_split_without_labels_of_what_is_asked_for_is_an_error_that_names_both(tmp_path):
    no_hem = (pc.field("split") != "valid") | (pc.field("attribute") == 0)

    with pytest.raises(HemlineError, match="no labels of hem of split valid"):
        write(tmp_path, splits=splits_table().filter(no_hem), attributes=["hem"])


def test_items_of_one_image_are_counted_and_not_listed(tmp_path):
    schema = replace(
        SCHEMA, attributes=(Attribute(name="item", num_items=40), SCHEMA.attributes[1])
    )
    rows = [
        (image, 0, image // 2 if image < 36 else image, split, "gallery")
        for split, images in IMAGES_OF.items()
        for image in images
    ]
    table = table_of_rows(rows)
    params = replace(PARAMS, attributes=["item"], attributes_per_batch=1)
    left_out = write_epochs(table, tmp_path, params=params, schema=schema)

    assert left_out["test"]["items_with_one_image"] == {"item": 4}
    assert left_out["test"]["values_with_one_image"] == []
    assert "items_with_one_image" not in left_out["train"]


@pytest.mark.parametrize("missing", ["train", "valid", "test"])
def test_a_split_without_labels_is_an_error_that_names_it(tmp_path, missing):
    others = splits_table([name for name in IMAGES_OF if name != missing])

    with pytest.raises(HemlineError, match=f"no labels of split {missing}"):
        write(tmp_path, splits=others)


def test_a_split_without_triplets_is_an_error_that_names_it(tmp_path):
    single = (pc.field("split") != "valid") | (pc.field("image") == 20)

    with pytest.raises(HemlineError, match=r"split valid: no attribute has two .*; label more"):
        write(tmp_path, splits=splits_table().filter(single))


def test_labels_that_hardly_allow_a_triplet_are_an_error_that_names_the_split(tmp_path):
    valid = splits_table().filter(pc.field("split") != "valid")
    both = [(image, 0, value, "valid", "query") for image in (20, 21) for value in (0, 1)]
    splits = pa.concat_tables([valid, table_of_rows(both)])

    with pytest.raises(HemlineError, match=r"split valid: no triplet can be sampled.*; label more"):
        write(tmp_path, splits=splits)


def published_table():
    """Returns 30 triplets of train, 5 each of valid and test, and two that reach out of theirs."""
    rows = [("train", 0, image, (image + 2) % 20, (image + 1) % 20) for image in range(20)]
    rows += [("train", 0, image, (image + 4) % 20, (image + 1) % 20) for image in range(10)]
    rows += [("valid", 1, image, image + 1, image + 2) for image in range(20, 25)]
    rows += [("test", 0, image, image + 1, image + 2) for image in range(34, 29, -1)]
    rows += [("train", 1, 0, 1, 25), ("test", 1, 5, 30, 31)]  # images of valid and of train
    records = [dict(zip(tables.PUBLISHED_TRIPLETS.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=tables.PUBLISHED_TRIPLETS)


def rows_of(table):
    return [tuple(row.values())[1:] for row in table.to_pylist()]


def test_published_triplets_are_taken_and_those_that_reach_out_are_counted(tmp_path):
    left_out = write(tmp_path, published=published_table(), triplets_per_epoch=12)
    published = [tuple(row.values()) for row in published_table().to_pylist()]

    for split, count in (("valid", 5), ("test", 5)):
        (epoch,) = read(tmp_path / f"{split}.parquet")
        assert rows_of(epoch) == [row[1:] for row in published if row[0] == split][:count]
        assert set(epoch["epoch"].to_pylist()) == {0}
    epochs = read(tmp_path / "train.parquet")
    assert [epoch.num_rows for epoch in epochs] == [12, 12, 12]
    assert all(set(rows_of(epoch)) <= {row[1:] for row in published[:30]} for epoch in epochs)
    kind = "published_triplets_that_reach_out_of_the_split"
    assert left_out == {
        "train": {kind: {"hem": 1}},
        "valid": {kind: {}},
        "test": {kind: {"hem": 1}},
    }
    assert files.read_json(tmp_path / "left_out.json") == left_out


@pytest.mark.parametrize("missing", ["train", "valid", "test"])
def test_a_split_without_published_triplets_is_an_error_that_names_it(tmp_path, missing):
    published = published_table().filter(pc.field("split") != missing)

    with pytest.raises(HemlineError, match=rf"split {missing}: .*no triplets; .*triplets drawn"):
        write(tmp_path, published=published)


def test_published_triplets_and_batches_go_together(tmp_path):
    write(tmp_path, published=published_table())

    assert len(read(tmp_path / "batches.parquet", tables.BATCHES)) == 3


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    for folder, seed in (("one", 1), ("two", 1), ("other", 2)):
        write(tmp_path / folder, seed=seed)

    for path in (tmp_path / "one").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert path.read_bytes() != (tmp_path / "other" / path.name).read_bytes()


def test_splits_are_drawn_from_streams_of_their_own(tmp_path):
    """The same labels under the names train and test must not give the same triplets."""
    train = splits_table(("train",))
    twin = train.set_column(3, "split", pa.array(["test"] * train.num_rows))
    splits = pa.concat_tables([train, splits_table(("valid",)), twin])
    write(tmp_path, splits=splits, evaluation_triplets=50)

    first, test = (read(tmp_path / f"{name}.parquet")[0] for name in ("train", "test"))
    assert not pc.all(pc.equal(first["anchor"], test["anchor"])).as_py()
