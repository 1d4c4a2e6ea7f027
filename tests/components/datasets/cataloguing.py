"""Small data sets on disk and their catalogs, for the tests of catalogs."""

from builders import png, write_files

from components.datasets.catalog import build_catalog
from components.datasets.labelled import LabelledImages
from components.datasets.read import read_labels

HEADER = "image,attribute,value\n"


def build(root, *, data_format="table", exclude=(), previous=None):
    labelled = read_labels(root, data_format=data_format)
    return build_catalog(labelled, root, exclude_attributes=exclude, previous=previous)


def build_of(root, *labels, **others):
    """Returns the catalog of labels that no reader read."""
    labelled = LabelledImages(dataset="data", labels=labels, source="labels.csv", **others)
    return build_catalog(labelled, root, exclude_attributes=())


def paths_by_number(catalog):
    rows = catalog.images.select(["image", "path"]).to_pydict()
    return dict(zip(*rows.values(), strict=True))


def labels_by_name(catalog):
    """Returns (path, attribute, value) of all labels, sorted."""
    attributes, paths = catalog.schema.attributes, paths_by_number(catalog)
    return sorted(
        (paths[row["image"]], (x := attributes[row["attribute"]]).name, x.values[row["value"]])
        for row in catalog.labels.to_pylist()
    )


def write_data_set(root, rows, files):
    """Writes a data set of the table format; an image of its own for each name."""
    lines = [",".join(row) for row in rows]
    write_files(root, {name: png(seed) for seed, name in enumerate(files)})
    return write_files(root, {"labels.csv": HEADER + "\n".join(lines) + "\n"})


def write_three_images(root):
    """Writes a data set of three usable images."""
    rows = [
        ("c.png", "neck", "v"),
        ("a.png", "hem", "short"),
        ("a.png", "neck", "round"),
        ("b.png", "hem", "long"),
    ]
    return write_data_set(root, rows, ["a.png", "b.png", "c.png"])


def add_row(root, path):
    with (root / "labels.csv").open("a") as file:
        file.write(f"{path},neck,v\n")


def assert_same_files(one, two):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    assert len(names) == 9
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()
