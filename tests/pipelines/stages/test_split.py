"""Stage `split`: what it writes, continues and says."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import yaml
from builders import PROJECT, flip_a_bit, images_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.tables import Catalog, Numbering, write_catalog
from pipelines.stages.split import split

SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(
        Attribute(name="neck", values=tuple(map(str, range(400)))),
        Attribute(name="sleeve", values=("short", "long")),
    ),
)


class Project:
    """A folder with params, a catalog and a store."""

    def __init__(self, folder):
        self.folder = folder
        self.set_params()

    def set_params(self, *, data_format="table", **changes):
        params = yaml.safe_load((PROJECT / "params.yaml").read_text())
        params["data"]["format"] = data_format
        params["split"].update(changes)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def write(self, num_images, *, schema=SCHEMA, origin="first", undecoded=(), given=False):
        """Writes a catalog in which every other image is a copy of the one before."""
        rows = [
            (image, attribute, image % 2 if attribute or image % 5 else image)
            for image in range(num_images)
            for attribute in range(2)
        ]
        splits = ["train", "valid", "test"] if given else [None]
        labels = [(*row, splits[place % len(splits)], None) for place, row in enumerate(rows)]
        images = images_table(str(image // 2) for image in range(num_images))
        write_catalog(
            Catalog(
                schema=schema,
                numbering=Numbering(origin=origin, next_image=num_images),
                images=images,
                labels=pa.Table.from_arrays(
                    [pa.array(column) for column in zip(*labels, strict=True)],
                    names=tables.LABELS.names,
                ).cast(tables.LABELS),
                triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
                quarantine=tables.QUARANTINE.empty_table(),
                left_out={},
            ),
            self.folder / "catalog",
        )
        store = self.folder / "store"
        quarantine = tables.quarantine_table((f"{x}.png", "truncated", "") for x in undecoded)
        files.write_table(quarantine, store / "quarantine.parquet", schema=tables.QUARANTINE)
        hashes = np.random.default_rng(0).integers(0, 2**64, num_images, np.uint64)
        hashes[3:100:4] = hashes[1:98:4]  # near-duplicates of another content
        table = pa.table({"image": images["image"], "perceptual_hash": hashes})
        kept = table.take([x for x in range(num_images) if x not in undecoded])
        files.write_table(kept, store / "hashes.parquet", schema=tables.IMAGE_HASHES)

    def split(self):
        split(
            catalog=self.folder / "catalog",
            store=self.folder / "store",
            splits=self.folder / "splits",
            params=self.folder / "params.yaml",
        )
        return self.splits

    @property
    def splits(self):
        table = files.read_table(self.folder / "splits/splits.parquet", schema=tables.SPLITS)
        return {tuple(row.values()) for row in table.to_pylist()}

    @property
    def report(self):
        return json.loads((self.folder / "splits/report.json").read_text())


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_files_agree_with_each_other_and_with_what_is_printed(project, capsys):
    project.write(400, undecoded=[7, 8])
    rows = project.split()
    printed = capsys.readouterr().out.splitlines()
    report, folder = project.report, project.folder / "splits"
    leaks = files.read_table(folder / "leaks.parquet", schema=tables.LEAKS).to_pandas()
    lost = files.read_table(folder / "unanswerable.parquet", schema=tables.UNANSWERABLE)

    assert {path.name for path in folder.iterdir()} == {
        "splits.parquet",
        "leaks.parquet",
        "unanswerable.parquet",
        "report.json",
    }
    assert {row[0] for row in rows} == set(range(400)) - {7, 8}
    for name, roles in report["splits"].items():
        for role, size in roles.items():
            of_role = [row for row in rows if row[3:5] == (name, role)]
            assert size == {
                "num_images": len({row[0] for row in of_role}),
                "num_labels": len(of_role),
            }
            assert f"{name}, {role}: {size['num_images']} images" in printed

    assert set(leaks["kind"]) == {"near_duplicate"}, "copies are kept together"
    found = report["leaks"]["near_duplicate"]
    assert found == {"num_units": leaks["unit"].nunique(), "num_images": leaks["image"].nunique()}
    assert report["leaks"]["identical_file"]["num_images"] == 0
    assert report["unanswerable"] == {"neck": lost.num_rows}
    assert printed[-2:] == [
        f"near duplicate: {found['num_units']} units in more than one split, "
        f"{found['num_images']} images; {folder}/leaks.parquet lists them",
        f"queries that no gallery item answers: neck {lost.num_rows}; "
        f"{folder}/unanswerable.parquet lists them",
    ]


def test_items_are_counted_and_what_is_unusual_of_them_is_said(project, capsys):
    """Items of three images that train or test; the data set has no valid, and gives no roles."""
    project.write(300)
    project.set_params(data_format="deepfashion_inshop", method="published")
    item = np.arange(300) // 3
    schema = AttributeSchema(
        dataset="toy", attributes=(Attribute(name="item", num_items=100), *SCHEMA.attributes[1:])
    )
    images = images_table(
        map(str, range(300)),
        groups=[f"id_{x}" for x in item],
        domains=[
            "street" if x % 3 == 0 else None if x % 3 == 1 and x > 290 else "shop"
            for x in range(300)
        ],
    )
    labels = pa.table(
        [
            np.arange(300),
            np.zeros(300, int),
            item,
            np.where(item % 2 == 0, "train", "test"),
            pa.nulls(300, pa.string()),
        ],
        tables.LABELS.names,
    )
    catalog = tables.read_catalog(project.folder / "catalog")
    write_catalog(
        replace(catalog, schema=schema, images=images, labels=labels.cast(tables.LABELS)),
        project.folder / "catalog",
    )
    rows = project.split()
    printed = capsys.readouterr().out.splitlines()
    report = project.report

    num_held_out = len({row[2] for row in rows if row[3] == "valid"})
    assert report["num_held_out_items"] == num_held_out > 0
    assert f"the data set has no valid: {num_held_out} of 50 training items are it" in printed
    assert report["items"]["test"] == {
        "num_items": 50,
        "num_without_query": 0,
        "num_without_gallery": 0,
        "num_images_without_domain": 2,
    }
    assert "test: 50 items, 2 images are neither street nor shop" in printed


def test_a_second_run_writes_the_same_bytes(project, capsys):
    project.write(400)
    project.split()
    first = contents(project.folder / "splits")
    capsys.readouterr()
    project.split()

    assert contents(project.folder / "splits") == first
    assert "from scratch" not in capsys.readouterr().err


def test_a_grown_catalog_continues_with_the_names_of_its_schema(project, capsys):
    project.write(400)
    before = project.split()
    neck, sleeve = SCHEMA.attributes
    first = Attribute(name="collar", values=("a", "b"))
    grown = AttributeSchema(dataset="toy", attributes=(first, neck))
    # what was sleeve (attribute 1) is gone, what was neck is attribute 1
    project.write(400, schema=AttributeSchema(dataset="toy", attributes=(sleeve, neck)))
    swapped = project.split()
    assert "from scratch" not in capsys.readouterr().err
    assert len(swapped) == len(before)
    assert {row[0]: row[3] for row in swapped} == {row[0]: row[3] for row in before}

    project.write(420, schema=grown)
    after = project.split()
    split_of = {row[0]: row[3] for row in before}
    assert all(split_of.get(row[0], row[3]) == row[3] for row in after)
    assert {row[0] for row in after} == set(range(420))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 8}, "split.seed was 7 and is 8"),
        ({"near_duplicates": "together"}, "split.near_duplicates was report and is together"),
    ],
)
def test_other_params_assign_all_labels_again_and_say_why(project, capsys, change, reason):
    project.write(400)
    before = project.split()
    project.set_params(**change)

    assert project.split() != before
    path = project.folder / "splits/splits.parquet"
    assert f"assigning all labels from scratch: {path}: {reason}\n" in capsys.readouterr().err


def test_another_catalog_is_assigned_again(project, capsys):
    project.write(400)
    before = project.split()
    project.write(400, origin="second")
    assert project.split() == before, "the same seed, from scratch"
    assert "from scratch" in capsys.readouterr().err


def test_a_damaged_file_is_not_assigned_again(project):
    project.write(400)
    project.split()
    path = project.folder / "splits/splits.parquet"
    flip_a_bit(path, share=0.1)
    with pytest.raises(HemlineError, match=r"splits\.parquet is damaged .* `dvc checkout"):
        project.split()
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(HemlineError, match=r"is not a Parquet file: .*: remove it; `dvc checkout"):
        project.split()
    path.unlink()
    assert project.split()


def test_a_run_that_fails_between_its_files_leaves_the_old_splits(project):
    project.write(400)
    before = project.split()
    (project.folder / "splits/report.json").unlink()
    (project.folder / "splits/report.json").mkdir()  # which no file can replace
    project.write(420)
    with pytest.raises(OSError, match=r"report\.json"):
        project.split()
    assert project.splits == before

    (project.folder / "splits/report.json").rmdir()
    assert before < project.split()


def test_the_data_sets_own_split_is_taken_and_leaks_are_reported(project, capsys):
    project.write(400, given=True)
    project.split()
    project.set_params(method="column")
    rows = project.split()

    places = {(image, attribute): 2 * image + attribute for image, attribute, *_ in rows}
    assert all(row[3] == ["train", "valid", "test"][places[row[:2]] % 3] for row in rows)
    assert len(rows) == 800
    leaks = project.report["leaks"]
    assert leaks["same_image"] == {"num_units": 400, "num_images": 400}
    assert leaks["identical_file"] == {"num_units": 200, "num_images": 400}
    printed = capsys.readouterr().out
    assert "identical file: 200 units in more than one split, 400 images" in printed
    assert "from scratch" not in printed, "what the data set decides is not continued"


@pytest.mark.parametrize("gives_roles", [True, False])
def test_leave_one_out_says_so_where_the_data_set_gives_all_roles(project, capsys, gives_roles):
    project.write(400, given=True)
    catalog = tables.read_catalog(project.folder / "catalog")
    roles = ["gallery", "query"] if gives_roles else [None]
    column = pa.array([roles[row // 12 % len(roles)] for row in range(800)], pa.string())
    labels = catalog.labels.set_column(4, "role", column)
    write_catalog(replace(catalog, labels=labels), project.folder / "catalog")
    project.set_params(method="column", roles="leave_one_out")
    project.split()

    printed = capsys.readouterr().out
    assert ("split.roles leave_one_out changes nothing" in printed) == gives_roles
    assert ("test, query and gallery: " in printed) != gives_roles


def test_near_duplicates_that_are_ignored_are_not_in_the_report(project):
    project.write(400)
    project.set_params(near_duplicates="ignore")
    project.split()

    assert project.report["near_duplicate_distance"] is None
    assert "near_duplicate" not in project.report["leaks"]


def test_a_store_without_hashes_is_an_error(project):
    project.write(400)
    (project.folder / "store/hashes.parquet").unlink()

    with pytest.raises(HemlineError, match=r"hashes\.parquet is missing"):
        project.split()
