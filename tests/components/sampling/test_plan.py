"""The files of the stage `triplets`."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from builders import PROJECT

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.params import SamplingParams, load_section
from components.sampling.plan import write_plans

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
    records = [dict(zip(tables.SPLITS.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=tables.SPLITS)


def write(folder, *, splits=None, **changes):
    return write_plans(
        splits_table() if splits is None else splits,
        folder,
        params=replace(PARAMS, **changes),
        schema=SCHEMA,
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


def test_a_split_without_images_gets_no_file(tmp_path):
    left_out = write(tmp_path, splits=splits_table(("train", "test")))

    assert left_out.keys() == {"train", "test"}
    assert not (tmp_path / "valid.parquet").exists()


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
    write(tmp_path, splits=pa.concat_tables([train, twin]), evaluation_triplets=50)

    first, test = (read(tmp_path / f"{name}.parquet")[0] for name in ("train", "test"))
    assert not pc.all(pc.equal(first["anchor"], test["anchor"])).as_py()
