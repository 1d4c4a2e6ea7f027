"""The index files of ASEN's authors: roles, the dialects of their data sets, their real counts."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from builders import write_files

from components.datasets.index_files import read_index, read_paths
from components.datasets.labelled import Label
from components.datasets.published import read_published
from components.datasets.read import read_labels
from components.errors import HemlineError

NUM_VALUES = {
    "DARN": {"clothes category": 3, "sleeve length": 2},
    "FashionAI": {
        "skirt_length": 6,
        "sleeve_length": 9,
        "coat_length": 8,
        "pant_length": 6,
        "collar_design": 5,
        "lapel_design": 5,
        "neckline_design": 10,
        "neck_design": 5,
    },
    "DeepFashion": {"texture": 2, "fabric": 1, "shape": 2, "part": 1, "style": 1},
}


def meta(num_values=NUM_VALUES):
    return json.dumps(
        {
            name: {"ATTRIBUTES": list(numbers), "ATTRIBUTES_NUM": numbers}
            for name, numbers in num_values.items()
        }
    )


def read(root, dataset, files):
    """Reads a data set of these files; their names are without folder and extension."""
    folder = {f"{dataset}/{name}.txt": content for name, content in files.items()}
    return read_published(write_files(root, {"meta.json": meta()} | folder), dataset=dataset)


DARN = {
    "filenames_train": "pic/1/a.jpg\npic/1/b.jpg\npic/2/c.jpg",
    "label_train": "2 0 2\n0 1 0\n1 0 1\n",
    "filenames_test": "pic/3/d.jpg\npic/3/e.jpg\npic/3/f.jpg",
    "query_test": "1 0 2\n",
    "candidate_test": "2 1 1\n0 0 2\n",
}


def test_queries_and_candidates_are_queries_and_gallery(tmp_path):
    labelled = read(tmp_path, "DARN", DARN)

    assert labelled.labels == [
        Label("DARN/pic/2/c.jpg", "clothes category", "2", "train"),
        Label("DARN/pic/1/a.jpg", "sleeve length", "0", "train"),
        Label("DARN/pic/1/b.jpg", "clothes category", "1", "train"),
        Label("DARN/pic/3/e.jpg", "clothes category", "2", "test", "query"),
        Label("DARN/pic/3/f.jpg", "sleeve length", "1", "test", "gallery"),
        Label("DARN/pic/3/d.jpg", "clothes category", "2", "test", "gallery"),
    ]
    assert labelled.values_of == {
        "clothes category": ["0", "1", "2"],
        "sleeve length": ["0", "1"],
    }
    assert labelled.dataset == "DARN"


def test_the_door_to_all_readers_passes_the_data_set_on(tmp_path):
    labels = read(tmp_path, "DARN", DARN).labels

    assert read_labels(tmp_path, data_format="published", dataset="DARN").labels == labels


def test_validation_is_read_as_test_is(tmp_path):
    files = {name.replace("test", "valid"): content for name, content in DARN.items()}
    test, valid = read(tmp_path / "a", "DARN", DARN), read(tmp_path / "b", "DARN", files)

    renamed = [x._replace(split={"test": "valid"}.get(x.split, x.split)) for x in test.labels]
    assert valid.labels == renamed


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.rstrip("\n") + "\n\n \n",
        lambda text: text.replace(" ", "\t").replace("\n", "\t\t\t\n"),
    ],
    ids=["CRLF", "BOM", "blank last lines", "padded tabs"],
)
def test_ways_to_write_the_same_files(tmp_path, written):
    files = {name: written(content) for name, content in DARN.items()}

    expected = read(tmp_path / "plain", "DARN", DARN).labels
    assert read(tmp_path / "other", "DARN", files).labels == expected


def test_a_line_of_training_may_hold_several_labels_or_none(tmp_path):
    labelled = read(tmp_path, "DARN", DARN | {"label_train": "2 0 2 1 1\n0\t\t\n1 0 1 0 0\n"})

    assert [x[:3] for x in labelled.labels if x.split == "train"] == [
        ("DARN/pic/2/c.jpg", "clothes category", "2"),
        ("DARN/pic/2/c.jpg", "sleeve length", "1"),
        ("DARN/pic/1/b.jpg", "clothes category", "1"),
        ("DARN/pic/1/b.jpg", "clothes category", "0"),
    ]
    assert labelled.left_out == {"images of label_train.txt without a label": 1}


@pytest.mark.parametrize("name", ["label_train", "query_test", "candidate_test"])
@pytest.mark.parametrize(
    ("row", "reason", "what"),
    [
        ("1 2 0", "unknown_attribute", "attribute"),
        ("1 1 2", "unknown_value", "value of sleeve length"),
    ],
)
def test_a_label_without_meaning_is_set_apart(tmp_path, name, row, reason, what):
    labelled = read(tmp_path, "DARN", DARN | {name: f"2 0 1\n{row}\n"})

    path = "DARN/pic/1/b.jpg" if name == "label_train" else "DARN/pic/3/e.jpg"
    assert labelled.unusable == [(path, reason, f"{name}.txt: {row} is of no {what}")]
    left = {role: sum(x.role == role for x in labelled.labels) for role in (None, "query")}
    assert left == {None: 1 if name == "label_train" else 3, "query": 1}


def test_fashionai_values_have_their_names(tmp_path):
    labelled = read(
        tmp_path, "FashionAI", {"filenames_train": "Images/a.jpg", "label_train": "0 7 1\n0 2 3\n"}
    )

    assert labelled.labels == [
        Label("FashionAI/Images/a.jpg", "neck_design", "turtle", "train"),
        Label("FashionAI/Images/a.jpg", "coat_length", "long", "train"),
    ]
    assert list(labelled.values_of) == list(NUM_VALUES["FashionAI"])


def test_fashionai_with_other_numbers_of_values_has_no_names(tmp_path):
    other = NUM_VALUES | {"FashionAI": NUM_VALUES["FashionAI"] | {"neckline_design": 11}}
    files = {
        "meta.json": meta(other),
        "FashionAI/filenames_train.txt": "a.jpg",
        "FashionAI/label_train.txt": "0 0 0",
    }
    with pytest.raises(HemlineError, match=r"meta\.json: FashionAI with .*'neckline_design': 11"):
        read_published(write_files(tmp_path, files), dataset="FashionAI")


def test_training_labels_without_their_filenames_are_counted(tmp_path):
    files = {name: content for name, content in DARN.items() if name != "filenames_train"}
    labelled = read(tmp_path, "DARN", files)

    assert {label.split for label in labelled.labels} == {"test"}
    assert labelled.left_out == {"labels of label_train.txt without filenames_train.txt": 3}


@pytest.mark.parametrize(
    "missing", ["label_train", "filenames_test", "query_test", "candidate_test"]
)
def test_a_split_that_lacks_a_file_is_refused(tmp_path, missing):
    files = {name: content for name, content in DARN.items() if name != missing}
    with pytest.raises(HemlineError, match=rf"{missing}\.txt is missing"):
        read(tmp_path, "DARN", files)


def test_a_folder_without_a_split_is_refused(tmp_path):
    with pytest.raises(HemlineError, match=r"DARN has no split; .* needs filenames_\*\.txt"):
        read(tmp_path, "DARN", {"label_test": "0 0 0\n"})


@pytest.mark.parametrize("name", ["label_train", "query_test", "candidate_test"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3 0 0", "no image has the id 3; there are 3, counted from 0"),
        ("-1 0 0", "no image has the id -1"),
        ("1 0", "expected .* got 2"),
        ("1 0 long", "'long' is not a whole number"),
    ],
)
def test_a_line_that_is_not_of_the_format_is_named(tmp_path, name, line, expected):
    with pytest.raises(HemlineError, match=rf"{name}\.txt line 3: {expected}"):
        read(tmp_path, "DARN", DARN | {name: f"0 0 0\n\n{line}\n"})


def test_a_label_file_that_agrees_is_compared_and_counted(tmp_path):
    """Five labels, three of them in queries and gallery; one of the others of no attribute."""
    label_test = "0 0 2\t\t\n1 1 0 0 2\n2 1 1 9 9\n"
    labelled = read(tmp_path, "DARN", DARN | {"label_test": label_test})

    assert labelled.labels == read(tmp_path / "without", "DARN", DARN).labels
    what = "further labels of label_test.txt, not in the published protocol"
    assert labelled.left_out[what] == 2
    assert labelled.unusable == []


@pytest.mark.parametrize(
    ("label_test", "expected"),
    [
        ("0 0 2\n1 0 1\n2 1 1\n", r"query_test\.txt line 1: .* image 1 value 2 of attribute 0"),
        ("0 1 2\n1 0 2\n2 1 1\n", r"candidate_test\.txt line 2: .* image 0 value 2 of attribute 0"),
        ("0 0 2\n1 0 2\n", r"candidate_test\.txt line 1: .* image 2 value 1 of attribute 1"),
    ],
    ids=["another value", "another attribute", "no labels"],
)
def test_a_label_file_that_contradicts_is_refused(tmp_path, label_test, expected):
    with pytest.raises(HemlineError, match=expected):
        read(tmp_path, "DARN", DARN | {"label_test": label_test})


def test_a_label_file_that_does_not_parse_is_refused(tmp_path):
    with pytest.raises(HemlineError, match=r"label_test\.txt line 1: expected an id and pairs"):
        read(tmp_path, "DARN", DARN | {"label_test": "0 0\n"})


# lines of the list of attributes: 0 shape, 1 texture, 2 style, 3 shape, 4 part, 5 fabric, 6 texture
CLOTH = "7\nnames\nmaxi 3\nfloral print 1\nred 5\nmini 3\nbow 4\ndenim 2\nlace print   1\n"
DEEPFASHION = {
    "filenames_train": "img/A/1.jpg\nimg/A/2.jpg\n",
    "label_train": "1\t1\t6\t3\t3\t\t\t\r\n0\t3\t0\t4\t4\t2\t5\t5\t2\t\t\r\n",
    "filenames_valid": "img/B/1.jpg\nimg/B/2.jpg\n",
    "label_valid": "0\t1\t1\t3\t3\t\r\n1\t3\t3\t\t\t\r\n",
    "query_valid": "1 2 1\n",
    "candidate_valid": "0 2 1\n",
}
RANKED = [  # image, attribute, rank among the lines of its type, name
    ("A/2", "texture", "1", "lace print"),
    ("A/2", "shape", "1", "mini"),
    ("A/1", "shape", "0", "maxi"),
    ("A/1", "part", "0", "bow"),
    ("A/1", "fabric", "0", "denim"),
    ("A/1", "style", "0", "red"),
]


@pytest.mark.parametrize("folder", ["Anno", "Anno_coarse"])
def test_deepfashion_values_are_ranks_within_their_type(tmp_path, folder):
    write_files(tmp_path, {f"DeepFashion/{folder}/list_attr_cloth.txt": CLOTH})
    labelled = read(tmp_path, "DeepFashion", DEEPFASHION)

    assert labelled.labels == [
        *(Label(f"DeepFashion/img/{x}.jpg", a, name, "train") for x, a, _, name in RANKED),
        Label("DeepFashion/img/B/2.jpg", "shape", "mini", "valid", "query"),
        Label("DeepFashion/img/B/1.jpg", "shape", "mini", "valid", "gallery"),
    ]
    assert labelled.values_of == {
        "texture": ["floral print", "lace print"],
        "fabric": ["denim"],
        "shape": ["maxi", "mini"],
        "part": ["bow"],
        "style": ["red"],
    }
    what = "further labels of label_valid.txt, not in the published protocol"
    assert labelled.left_out[what] == 1, "floral print of B/1"


def test_deepfashion_ranks_are_known_where_every_attribute_occurs(tmp_path):
    """Line 1 (floral print) occurs in label_valid alone, the others in label_train."""
    labelled = read(tmp_path, "DeepFashion", DEEPFASHION)

    assert [x for x in labelled.labels if x.split == "train"] == [
        Label(f"DeepFashion/img/{x}.jpg", a, rank, "train") for x, a, rank, _ in RANKED
    ]
    assert labelled.values_of["shape"] == ["0", "1"]


def test_deepfashion_needs_its_list_where_an_attribute_does_not_occur(tmp_path):
    files = DEEPFASHION | {"label_valid": "0 3 3\n1 3 3\n"}
    with pytest.raises(HemlineError, match=r"DeepFashion/Anno/list_attr_cloth\.txt is missing"):
        read(tmp_path, "DeepFashion", files)


def test_deepfashion_without_ranks_still_has_queries_and_gallery(tmp_path):
    train = ("filenames_train", "label_train")
    files = {name: content for name, content in DEEPFASHION.items() if name not in train}
    labelled = read(tmp_path, "DeepFashion", files)

    assert [x[2:] for x in labelled.labels] == [("1", "valid", "query"), ("1", "valid", "gallery")]
    what = "labels of label_valid.txt, not to be compared without Anno/list_attr_cloth.txt"
    assert labelled.left_out == {what: 3}


def test_deepfashion_attributes_under_another_type_are_set_apart(tmp_path):
    write_files(tmp_path, {"DeepFashion/Anno/list_attr_cloth.txt": CLOTH})
    files = DEEPFASHION | {"label_train": "0 1 0\n1 3 7\n0 6 0\n1 0 0\n0 1 1\n"}
    labelled = read(tmp_path, "DeepFashion", files)

    first, second = "DeepFashion/img/A/1.jpg", "DeepFashion/img/A/2.jpg"
    assert labelled.unusable == [
        (first, "unknown_value", "label_train.txt: 0 1 0 is of no value of texture"),
        (second, "unknown_value", "label_train.txt: 1 3 7 is of no value of shape"),
        (first, "unknown_attribute", "label_train.txt: 0 6 0 is of no attribute"),
        (second, "unknown_attribute", "label_train.txt: 1 0 0 is of no attribute"),
    ]
    assert labelled.labels[0] == Label(first, "texture", "floral print", "train")


def test_deepfashion_with_a_list_of_another_release_is_refused(tmp_path):
    cloth = CLOTH.replace("lace print   1", "lace print   5")
    write_files(tmp_path, {"DeepFashion/Anno/list_attr_cloth.txt": cloth})
    expected = r"list_attr_cloth\.txt has \[1, 1, 2, 1, 2\] .* counts \[2, 1, 2, 1, 1\]"
    with pytest.raises(HemlineError, match=expected):
        read(tmp_path, "DeepFashion", DEEPFASHION)


def test_deepfashion_label_files_that_contradict_are_refused(tmp_path):
    """The query's image has the first shape, not the second."""
    files = DEEPFASHION | {"label_valid": "0 1 1 3 3\n1 3 0\n"}
    with pytest.raises(HemlineError, match=r"query_valid\.txt line 1: label_valid\.txt does not"):
        read(tmp_path, "DeepFashion", files)


@pytest.mark.parametrize("dataset", ["Zappos50k", "darn", "", None])
def test_an_unknown_data_set_is_refused_with_those_there_are(tmp_path, dataset):
    write_files(tmp_path, {"meta.json": meta()})
    expected = rf"data\.dataset: .* no {dataset!r}; it has DARN, FashionAI, DeepFashion"
    with pytest.raises(HemlineError, match=expected):
        read_published(tmp_path, dataset=dataset)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"DARN": {"ATTRIBUTES": ["a"]}}',
        '{"DARN": {"ATTRIBUTES": ["a"], "ATTRIBUTES_NUM": {}}}',
        '{"DARN": {"ATTRIBUTES": ["a"], "ATTRIBUTES_NUM": {"a": "many"}}}',
        '{"DARN": ["a"]}',
    ],
)
def test_a_meta_file_that_is_not_of_the_format_is_refused(tmp_path, content):
    with pytest.raises(HemlineError, match=r"meta\.json is not as expected .*ATTRIBUTES_NUM"):
        read_published(write_files(tmp_path, {"meta.json": content}), dataset="DARN")


def test_a_missing_meta_file_is_named(tmp_path):
    with pytest.raises(HemlineError, match=r"meta\.json is missing"):
        read_published(tmp_path, dataset="DARN")


@pytest.fixture(scope="module")
def real_data():
    if "HEMLINE_REAL_DATA" not in os.environ:
        pytest.skip("HEMLINE_REAL_DATA names no folder with published/meta.json")
    return Path(os.environ["HEMLINE_REAL_DATA"]) / "published"


@pytest.mark.parametrize(
    ("dataset", "num_queries", "num_gallery"),
    [("FashionAI", 3_600, 14_400), ("DARN", 4_293, 17_168), ("DeepFashion", 5_525, 22_100)],
)
def test_the_real_files_give_the_published_counts(real_data, dataset, num_queries, num_gallery):
    labelled = read_published(real_data, dataset=dataset)

    counts = Counter((label.split, label.role) for label in labelled.labels)
    assert counts == {
        ("valid", "query"): num_queries,
        ("valid", "gallery"): num_gallery,
        ("test", "query"): num_queries,
        ("test", "gallery"): num_gallery,
    }
    assert not labelled.unusable
    for split in ("valid", "test"):
        paths = read_paths(real_data / dataset / f"filenames_{split}.txt")
        found = Counter(label.path for label in labelled.labels if label.split == split)
        assert found == Counter(f"{dataset}/{path}" for path in paths), "one label for each line"


def test_the_real_ids_are_unique_and_cover_the_filenames(real_data):
    for dataset in ("FashionAI", "DARN", "DeepFashion"):
        for split in ("valid", "test"):
            folder = real_data / dataset
            rows = [read_index(folder / f"{name}_{split}.txt") for name in ("query", "candidate")]
            num_paths = len(read_paths(folder / f"filenames_{split}.txt"))
            assert np.sort(np.concatenate(rows)[:, 0]).tolist() == list(range(num_paths))


def test_the_real_training_labels_are_counted(real_data):
    labelled = read_published(real_data, dataset="FashionAI")

    what = "labels of label_train.txt without filenames_train.txt"
    assert labelled.left_out == {what: 144_335}
    assert len(read_index(real_data / "FashionAI" / "label_train.txt")) == 144_335


def test_the_real_ranks_of_deepfashion_agree_with_its_queries(real_data):
    """All 1,000 attributes occur in the two label files, so every query and candidate is compared.

    Labels of the two files, counted by hand as pairs: those of the protocol and the further ones.
    """
    labelled = read_published(real_data, dataset="DeepFashion")

    for split in ("valid", "test"):
        lines = (real_data / "DeepFashion" / f"label_{split}.txt").read_text().splitlines()
        num_pairs = sum(len(line.split()) // 2 for line in lines)
        what = f"further labels of label_{split}.txt, not in the published protocol"
        assert labelled.left_out[what] == num_pairs - 27_625
