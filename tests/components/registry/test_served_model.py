"""The registered model as its consumers call it: rows in, rows out, and bad rows."""

import ast
import base64
import json
import logging
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import encoded, flip_a_bit, heic, noise, random_prototypes
from consumer_docs import documented
from mlflow import pyfunc
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from moto.server import ThreadedMotoServer
from profiles import ADOBE_RGB, rgb_profile

from components.attributes import Attribute, AttributeSchema
from components.images.decode import decode
from components.prototypes.prototypes import read_prototypes, write_prototypes
from components.prototypes.tags import tag
from components.registry import pt2, registration, versions
from components.registry.graph import write_package
from components.registry.package import read_package
from components.tracking.runs import Tracking, start_run

SAME = 0.9999  # cosine: the graph may order float32 sums differently for another batch
TEXT = pd.StringDtype()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))


@pytest.fixture(scope="module")
def version(example, store: Tracking) -> versions.RegisteredVersion:
    run_id = start_run(store, params={}, tags={})
    return registration.register_package(
        example.package.folder, card="# A card\n", tracking=store, run_id=run_id
    )


@pytest.fixture(scope="module")
def model(version) -> pyfunc.PyFuncModel:
    """The model, loaded from a registry where no pickle may be."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        return pyfunc.load_model(version.uri)


@pytest.fixture(scope="module")
def expected(example, pictures) -> np.ndarray:
    """What the network itself gives [pictures, attributes, D]."""
    return example.embeddings(pictures)


@pytest.fixture
def calls(model, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Images decoded, and (images, attributes) of each pass through the network."""
    seen: dict[str, list[Any]] = {"decoded": [], "passes": []}
    served = model.unwrap_python_model()
    code = type(served).load_context.__globals__
    decode, network = code["decode"], served.network

    def counted_decode(data, **arguments):
        seen["decoded"].append(data)
        return decode(data, **arguments)

    def counted_network(pixels, attributes):
        seen["passes"].append(tuple(attributes.shape))
        return network(pixels, attributes)

    monkeypatch.setitem(code, "decode", counted_decode)
    monkeypatch.setattr(served, "network", counted_network)
    return seen


def check_same(found: pd.Series, expected_RD: np.ndarray) -> None:
    vectors_RD = np.stack(list(found))
    assert (np.einsum("rd,rd->r", vectors_RD, expected_RD) >= SAME).all()
    np.testing.assert_allclose(np.linalg.norm(vectors_RD, axis=1), 1, atol=1e-5)


def test_a_graph_with_a_flipped_bit_is_not_served(store, version, tmp_path) -> None:
    store.activate()
    copy = mlflow.artifacts.download_artifacts(artifact_uri=version.uri, dst_path=str(tmp_path))
    flip_a_bit(Path(copy) / "artifacts/network.pt2", share=0.9)
    with pytest.raises(MlflowException, match=r"network\.pt2 is damaged .* download it again"):
        pyfunc.load_model(copy)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 0.8, 0.95])
def test_a_description_with_a_flipped_bit_is_not_served(store, version, tmp_path, share) -> None:
    store.activate()
    copy = mlflow.artifacts.download_artifacts(artifact_uri=version.uri, dst_path=str(tmp_path))
    flip_a_bit(Path(copy) / "artifacts/package.json", share=share)
    with pytest.raises(MlflowException, match=r"package\.json is damaged .* download it again"):
        pyfunc.load_model(copy)


def test_no_attribute_asks_for_all_of_them(model, example, pictures, expected) -> None:
    index = [f"item {number}" for number in range(len(pictures))]
    found = model.predict(pd.DataFrame({"image": pictures}, index=index))
    names = example.package.schema.names
    assert list(found.columns) == ["attribute", "embedding"]
    assert list(found.index) == [name for name in index for _ in names]
    assert list(found["attribute"]) == names * len(pictures)
    assert found["embedding"][index[0]].iloc[0].dtype == np.float32
    check_same(found["embedding"], expected.reshape(-1, expected.shape[-1]))


def test_rows_with_an_attribute_and_without_stay_in_order(model, pictures, expected) -> None:
    rows = [(3, "skirt"), (1, None), (3, "sleeve"), (0, "neck|line"), (2, float("nan"))]
    images, attributes = zip(*((pictures[image], name) for image, name in rows), strict=True)
    found = model.predict(pd.DataFrame({"image": images, "attribute": attributes}))
    places = [(3, 1), (1, 0), (1, 1), (1, 2), (3, 0), (0, 2), (2, 0), (2, 1), (2, 2)]
    assert list(found.index) == [0, 1, 1, 1, 2, 3, 4, 4, 4]
    check_same(found["embedding"], np.stack([expected[place] for place in places]))


@pytest.mark.parametrize(
    "attributes",
    [
        pd.Series([None, None], dtype=object),
        pd.Series([np.nan, np.nan]),
        pd.Series([pd.NA, pd.NA], dtype=object),
        pd.Series([pd.NA, pd.NA], dtype="Int64"),
        pd.Series([None, None], dtype="category"),
        pd.Series([pd.NaT, pd.NaT]),
        pd.Series([None, None], dtype=TEXT),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_column_of_nulls_is_no_attribute(model, example, pictures, attributes) -> None:
    found = model.predict(pd.DataFrame({"image": pictures[:2], "attribute": attributes}))
    assert list(found["attribute"]) == example.package.schema.names * 2


@pytest.mark.parametrize("kind", ["category", TEXT, "str", object], ids=str)
def test_attributes_come_in_columns_of_any_kind(model, pictures, expected, kind) -> None:
    attributes = pd.Series(["skirt", None, "sleeve"]).astype(kind)
    found = model.predict(pd.DataFrame({"image": pictures[:3], "attribute": attributes}))
    assert list(found.index) == [0, 1, 1, 1, 2]
    check_same(found["embedding"], np.stack([expected[0, 1], *expected[1], expected[2, 0]]))


def test_a_column_of_arrow_bytes_is_images(model, pictures, expected) -> None:
    images = pd.Series(pictures[:2], dtype=pd.ArrowDtype(pa.binary()))
    found = model.predict(pd.DataFrame({"image": images, "attribute": "skirt"}))
    check_same(found["embedding"], expected[:2, 1])


def test_names_are_compared_in_one_unicode_form(example, pictures, tmp_path) -> None:
    schema = AttributeSchema(
        dataset="d", attributes=(Attribute(name="d\u00e9collet\u00e9", values=("v",)),)
    )
    write_package(example.network, tmp_path / "made", schema=schema, image_size_px=64)
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_root=str(tmp_path / "f"))
    run_id = start_run(tracking, params={}, tags={})
    version = registration.register_package(
        tmp_path / "made", card="", tracking=tracking, run_id=run_id
    )
    accented = pyfunc.load_model(version.uri)
    frame = pd.DataFrame({"image": pictures[:1], "attribute": ["de\u0301collete\u0301"]})
    assert list(accented.predict(frame)["attribute"]) == ["d\u00e9collet\u00e9"]


def test_a_model_of_boxes_sees_whole_pictures(example, pictures, tmp_path) -> None:
    """A wide picture whose edges the centre crop would lose."""
    made = tmp_path / "made"
    write_package(
        example.network, made, schema=example.package.schema, image_size_px=64, crop="box"
    )
    package = read_package(made)
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_root=str(tmp_path / "f"))
    run_id = start_run(tracking, params={}, tags={})
    version = registration.register_package(made, card="", tracking=tracking, run_id=run_id)
    model = pyfunc.load_model(version.uri)
    data = encoded(noise(300, 80))
    found = model.predict(pd.DataFrame({"image": [data], "attribute": "skirt"}))
    name = package.schema.names[package.schema.index("skirt")]
    expected = package.embed_each(decode(data, image_size_px=64, crop="box"), [name])[name]
    assert package.crop == "box"
    assert found["embedding"][0] @ expected > SAME
    centre = package.embed_each(decode(data, image_size_px=64), [name])[name]
    assert not np.allclose(found["embedding"][0], centre)


FORMS = {
    "split": lambda rows: {"dataframe_split": {"columns": list(rows[0]), "data": cells(rows)}},
    "records": lambda rows: {"dataframe_records": rows},
    "inputs, rows": lambda rows: {"inputs": rows},
    "inputs, columns": lambda rows: {"inputs": columns(rows)},
    "instances, rows": lambda rows: {"instances": rows},
    "instances, columns": lambda rows: {"instances": columns(rows)},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("attributes", [["skirt", "sleeve"], ["skirt", None], [None, None], []])
def test_every_form_of_a_request_is_answered(
    model, pictures, expected, *, form, attributes
) -> None:
    rows = [{"image": base64.b64encode(data).decode()} for data in pictures[:2]]
    for row, attribute in zip(rows, attributes, strict=False):
        row["attribute"] = attribute
    names = ["sleeve", "skirt", "neck|line"]
    places = [
        (row, names.index(name))
        for row, asked in enumerate(attributes or [None, None])
        for name in ([asked] if asked else names)
    ]
    found = answered(model, form(rows))
    assert [row["attribute"] for row in found] == [names[place] for _, place in places]
    check_same([row["embedding"] for row in found], np.stack([expected[x] for x in places]))


def test_one_row_may_be_sent_without_a_list(model, pictures, expected) -> None:
    text = base64.b64encode(pictures[0]).decode()
    (found,) = answered(model, {"inputs": {"image": text, "attribute": "skirt"}})
    check_same([found["embedding"]], expected[:1, 1])


def test_columns_of_different_lengths_are_refused(model) -> None:
    with pytest.raises(MlflowException, match="`attribute` differ in their number of rows"):
        answered(model, {"inputs": {"image": ["a", "b"], "attribute": ["skirt"]}})


def test_a_null_image_is_a_bad_row(model) -> None:
    with pytest.raises(MlflowException, match="row 0: no image"):
        answered(model, {"dataframe_records": [{"image": None, "attribute": "skirt"}]})


@pytest.mark.parametrize(
    ("encoding", "number", "tolerance"), [("base64", "<f4", 0), ("base64-float16", "<f2", 1e-3)]
)
def test_embeddings_travel_as_base64(model, pictures, *, encoding, number, tolerance) -> None:
    text = base64.b64encode(pictures[0]).decode()
    request = {"dataframe_records": [{"image": text}]}
    plain = [row["embedding"] for row in answered(model, request)]
    found = answered(model, request | {"params": {"encoding": encoding}})
    vectors = [np.frombuffer(base64.b64decode(row["embedding"]), number) for row in found]
    np.testing.assert_allclose(vectors, np.array(plain, np.float32), atol=tolerance, rtol=0)
    bad = {"dataframe_records": [{"image": ""}], "params": {"encoding": encoding}}
    bad["params"]["on_error"] = "null"
    assert [row["embedding"] for row in answered(model, bad)] == [None] * 3
    with pytest.raises(MlflowException, match="'base64', 'base64-float16'"):
        answered(model, request | {"params": {"encoding": "hex"}})
    with pytest.raises(MlflowException, match="encoding"):
        answered(model, request | {"params": {"encoding": 16}})


def answered(model: pyfunc.PyFuncModel, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what MLflow's server answers, without the server around it."""
    schema = model.metadata.get_input_schema()
    answer = scoring_server.invocations(json.dumps(request), "application/json", model, schema)
    assert answer.status == 200, answer.response
    return json.loads(answer.response)["predictions"]


def cells(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [list(row.values()) for row in rows]


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_bytes_text_and_paths_give_the_same(model, pictures, expected, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(pictures[0])
    text = base64.b64encode(pictures[0]).decode()
    mime = base64.encodebytes(pictures[0]).decode()  # with line breaks
    forms = [pictures[0], bytearray(pictures[0]), text, mime, str(path), path]
    for frame in (
        pd.DataFrame({"image": forms, "attribute": "skirt"}),
        pd.DataFrame({"image": pd.Series([text, str(path)], dtype=TEXT), "attribute": "skirt"}),
    ):
        found = model.predict(frame)
        check_same(found["embedding"], np.stack([expected[0, 1]] * len(frame)))


def test_every_format_and_colour_profile_that_hemline_reads(model, example) -> None:
    picture = noise(60, 60)
    profiled = encoded(picture, "JPEG", icc_profile=rgb_profile(ADOBE_RGB, 2.2))
    files = [encoded(picture, "AVIF"), encoded(picture, "JPEG2000"), heic(picture), profiled]
    found = model.predict(pd.DataFrame({"image": files, "attribute": "skirt"}))
    check_same(found["embedding"], example.embeddings(files)[:, 1])


def test_an_image_of_many_rows_is_decoded_and_embedded_once(model, pictures, calls) -> None:
    frame = pd.DataFrame(
        {
            "image": [pictures[0], pictures[1], pictures[0], pictures[0]],
            "attribute": ["skirt", "skirt", "sleeve", "skirt"],
        }
    )
    found = model.predict(frame)
    assert calls == {"decoded": pictures[:2], "passes": [(2, 2)]}
    np.testing.assert_array_equal(found["embedding"][0], found["embedding"][3])


def test_many_rows_are_embedded_in_batches(model, pictures, expected, calls) -> None:
    found = model.predict(pd.DataFrame({"image": pictures, "attribute": "skirt"}))
    assert calls["passes"] == [(32, 1), (8, 1)]
    check_same(found["embedding"], expected[:, 1])


def test_an_empty_frame_gives_an_empty_one(model) -> None:
    frame = pd.DataFrame({"image": pd.Series([], dtype=object)})
    found = model.predict(frame)
    assert (list(found.columns), len(found)) == (["attribute", "embedding"], 0)


BAD_IMAGES = {
    "not an image": (b"no image", "not_an_image: starts with b'no image'"),
    "truncated": (None, "truncated"),  # the first half of a picture
    "empty": (b"", "empty_file"),
    "null": (float("nan"), "no image"),
    "not base64": ("%%%", "'%%%': neither a file that exists nor the base64 text of an image"),
    "no file": ("photos/no-such.jpg", "'photos/no-such.jpg': neither a file that exists nor the"),
    "no file, of base64's letters": ("photos/12", "'photos/12': neither a file that exists nor"),
    "a number": (3.5, "an image is bytes, base64 text, a path or a URL, not float"),
}


@pytest.mark.parametrize(("image", "problem"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_names_its_row_or_gives_null(
    model, pictures, expected, *, image, problem, caplog: pytest.LogCaptureFixture
) -> None:
    bad = pictures[0][: len(pictures[0]) // 2] if problem == "truncated" else image
    frame = pd.DataFrame(
        {"image": [pictures[0], bad, pictures[1]], "attribute": ["skirt", None, "sleeve"]},
        index=[10, 20, 30],
    )
    with pytest.raises(ValueError, match="row 1: ") as raised:
        model.predict(frame)
    assert problem in str(raised.value)
    assert "'on_error': 'null'" in str(raised.value)
    with caplog.at_level(logging.WARNING):
        found = model.predict(frame, params={"on_error": "null"})
    assert f"row 1: {problem.split(':')[0]}" in caplog.text
    assert list(found.index) == [10, 20, 20, 20, 30]
    assert list(found["embedding"].isna()) == [False, True, True, True, False]
    assert list(found["attribute"]) == ["skirt", "sleeve", "skirt", "neck|line", "sleeve"]
    check_same(found["embedding"].dropna(), np.stack([expected[0, 1], expected[1, 0]]))


class Pictures(BaseHTTPRequestHandler):
    """Answers `/shop/a.jpg` with a picture, and leads from `/shop/to?` to what follows."""

    data = b""

    def do_GET(self) -> None:
        path, _, target = self.path.partition("?")
        status = {"/shop/a.jpg": 200, "/shop/to": 302}.get(path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", target)
        self.end_headers()
        self.wfile.write(self.data if status == 200 else b"")

    def log_message(self, *arguments: Any) -> None:
        """Prints nothing."""


@pytest.fixture(scope="module")
def web(pictures):
    """The address of a server on this machine that has a picture."""
    Pictures.data = pictures[0]
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ("{web}/shop/", "{web}/shop/a.jpg"),
        ("s3://other/ {web}", "{web}/shop/a.jpg"),
        ("true", "{web}/shop/a.jpg"),
        ("{web}/shop", "{web}/shop/to?{web}/shop/a.jpg"),
    ],
)
def test_a_url_that_is_allowed_is_read(
    model, expected, web, monkeypatch, *, allowed, asked
) -> None:
    monkeypatch.setenv("HEMLINE_READ_URLS", allowed.format(web=web))
    found = answered(
        model, {"dataframe_records": [{"image": asked.format(web=web), "attribute": "skirt"}]}
    )
    check_same([row["embedding"] for row in found], expected[:1, 1])


@pytest.mark.parametrize(
    ("allowed", "asked", "problem"),
    [
        ("", "{web}/shop/a.jpg", "HEMLINE_READ_URLS does not let this process read http"),
        ("{web}/sho", "{web}/shop/a.jpg", "HEMLINE_READ_URLS does not let"),
        ("{web}/shop", "{web}/shop/%2e%2e/b.jpg", "HEMLINE_READ_URLS does not let"),
        ("{web}/shop", "{web}/shop/to?{web}/b.jpg", "HEMLINE_READ_URLS does not let"),
        ("true", "{web}/shop/to?file:///etc/hosts", "the server answers with status 302"),
        ("true", "{web}/shop/to?ftp://here/a.jpg", "a URL may have the schemes http, https and s3"),
        ("true", "file:///etc/hosts", "schemes http, https and s3"),
        ("true", "http://me:s3cret@127.0.0.1/a.jpg", "'http://127.0.0.1/a.jpg': a URL may have"),
        (
            "true",
            "{web}/none.jpg?signature=s3cret",
            "none.jpg': the server answers with status 404",
        ),
        ("true", "http://127.0.0.1:9/a.jpg", "no answer"),
    ],
)
def test_a_url_that_is_not_allowed_or_has_nothing_says_so(
    model, web, monkeypatch, *, allowed, asked, problem
) -> None:
    monkeypatch.setenv("HEMLINE_READ_URLS", allowed.format(web=web))
    with pytest.raises(ValueError, match="row 0: ") as raised:
        model.predict(pd.DataFrame({"image": [asked.format(web=web)], "attribute": "skirt"}))
    assert problem in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_an_object_of_s3_is_read(model, pictures, expected, monkeypatch) -> None:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HEMLINE_READ_URLS": "s3://shop/photos/",
    }.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    s3.create_bucket(Bucket="shop")
    s3.put_object(Bucket="shop", Key="photos/a.jpg", Body=pictures[0])
    try:
        frame = pd.DataFrame({"image": ["s3://shop/photos/a.jpg"], "attribute": "skirt"})
        check_same(model.predict(frame)["embedding"], expected[:1, 1])
        with pytest.raises(ValueError, match=r"'s3://shop/photos/b.jpg': .*NoSuchKey"):
            model.predict(frame.assign(image="s3://shop/photos/b.jpg"))
    finally:
        server.stop()


@pytest.mark.parametrize("first", ["enable", "disable"])
def test_pytorch_is_imported_without_looking_for_garbage(first: str) -> None:
    """What becomes of garbage afterwards is up to the consumer's process, as before."""
    program = (
        "import gc, json, pathlib, sys, typing, zipfile\n"
        "looked = []\n"
        "gc.callbacks.append(lambda phase, info: looked.append(info))\n"
        f"gc.{first}()\n"
        "import pt2\n"
        "print(len(looked) < 20, 'torch' in sys.modules, gc.isenabled())\n"  # else hundreds
    )
    command, folder = [sys.executable, "-c", program], Path(pt2.__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == f"True True {first == 'enable'}\n"


def test_it_requires_what_it_imports_and_no_more(store, version) -> None:
    store.activate()
    folder = Path(mlflow.artifacts.download_artifacts(version.uri))
    names = {"PIL": "pillow"}
    imported = set()
    for file in (folder / "served_model.py", *folder.glob("code/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    own = {file.stem for file in folder.glob("code/*.py")}
    optional = {"boto3", "openvino", "pillow_heif"}
    needed = {names.get(name, name) for name in imported - own - optional - sys.stdlib_module_names}
    listed = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in listed} == needed


def test_the_documented_lines_run(
    store, version, pictures, *, example, expected, tmp_path, monkeypatch
) -> None:
    store.activate()
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.jpg", "b.jpg")):
        Path(name).write_bytes(pictures[number])
    found: dict[str, Any] = {"np": np, "base64": base64}
    headings = (
        "Load and predict",
        "Smaller answers",
        "Values and their probabilities",
        "The same, but with another value",
    )
    for heading in headings:
        text = documented(heading).replace("models:/hemline@champion", version.uri)
        exec(text.replace("neckline_design", "skirt").replace('"v"', '"long"'), found)
    check_same(found["found"]["embedding"], np.stack([expected[0, 1], *expected[1]]))
    lengths = np.linalg.norm(np.stack(found["vectors"]).astype(float), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-3)
    prototypes = read_prototypes(example.package.prototypes)
    np.testing.assert_array_equal(found["asked"]["skirt"], prototypes.of("skirt", "long"))
    check_same(found["asked"].drop("skirt"), expected[0, [0, 2]])


def test_values_are_named_with_the_probabilities_of_tags(example, model, pictures) -> None:
    """Those of `components.prototypes.tags`, which the package cannot carry: it takes SciPy."""
    prototypes = read_prototypes(example.package.prototypes)
    frame = pd.DataFrame({"image": pictures[:3]})
    plain = model.predict(frame)
    found = model.predict(frame, params={"values": True})
    assert [*found] == [*plain, "value", "confidence", "second_value", "second_confidence"]
    check_same(found["embedding"], np.stack(list(plain["embedding"])))
    for row in found.itertuples():
        attribute = prototypes.attributes[row.attribute]
        expected = tag(row.embedding[None], attribute, prototypes.calibrations[row.attribute])
        assert row.value == attribute.values[expected.value_n[0]]
        assert row.second_value == attribute.values[expected.second_n[0]]
        assert row.confidence == pytest.approx(float(expected.confidence_n[0]), abs=1e-6)
        assert row.second_confidence == pytest.approx(1 - row.confidence, abs=1e-6)


def test_items_are_embedded_for_as_an_attribute_and_are_not_named(
    example, store: Tracking, pictures, expected, tmp_path
) -> None:
    """In the place of the example's last attribute; the data set has landmarks too."""
    listed = example.package.schema.attributes[:2]
    schema = AttributeSchema(
        dataset="products",
        attributes=(*listed, Attribute(name="item", num_items=34_000)),
        landmarks=("left collar", "right collar"),
    )
    of_listed = replace(schema, attributes=listed)
    write_prototypes(random_prototypes(of_listed, dim=16), tmp_path / "prototypes.parquet")
    write_package(
        example.network,
        tmp_path / "made",
        schema=schema,
        image_size_px=64,
        prototypes=tmp_path / "prototypes.parquet",
    )
    assert read_package(tmp_path / "made").schema == schema
    run_id = start_run(store, params={}, tags={})
    version = registration.register_package(
        tmp_path / "made", card="", tracking=store, run_id=run_id
    )
    loaded, frame = pyfunc.load_model(version.uri), pd.DataFrame({"image": pictures[:2]})
    found = loaded.predict(frame, params={"values": True})
    check_same(found["embedding"], expected[:2].reshape(-1, expected.shape[-1]))
    rows = found[found["attribute"] == "item"]
    assert len(rows) == 2
    assert rows[["value", "confidence", "second_value", "second_confidence"]].isna().all(axis=None)
    assert found["value"].isna().sum() == 2
    alone = loaded.predict(frame.assign(attribute="item"), params={"values": True})
    check_same(alone["embedding"], expected[:2, 2])


def test_bad_rows_have_no_values(model, pictures) -> None:
    frame = pd.DataFrame({"image": [b"x", pictures[0]], "attribute": ["skirt", "skirt"]})
    found = model.predict(frame, params={"values": True, "on_error": "null"})
    assert found["value"].isna().tolist() == [True, False]
    assert found["confidence"].isna().tolist() == [True, False]
    nothing = model.predict(frame.iloc[:0], params={"values": True})
    assert "confidence" in nothing


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9, 0.999])
def test_prototypes_with_a_flipped_bit_name_no_values(
    store, version, pictures, tmp_path, share: float
) -> None:
    store.activate()
    copy = mlflow.artifacts.download_artifacts(artifact_uri=version.uri, dst_path=str(tmp_path))
    flip_a_bit(Path(copy) / "artifacts/prototypes.parquet", share=share)
    loaded, frame = pyfunc.load_model(copy), pd.DataFrame({"image": pictures[:1]})
    assert len(loaded.predict(frame)) == 3
    with pytest.raises(MlflowException, match=r"prototypes\.parquet is damaged.*download it again"):
        loaded.predict(frame, params={"values": True})


def test_a_version_without_prototypes_says_so(example, store: Tracking, pictures, tmp_path) -> None:
    """As one that an older hemline trained."""
    schema = example.package.schema
    write_package(example.network, tmp_path / "older", schema=schema, image_size_px=64)
    run_id = start_run(store, params={}, tags={})
    older = registration.register_package(
        tmp_path / "older", card="", tracking=store, run_id=run_id
    )
    loaded = pyfunc.load_model(older.uri)
    frame = pd.DataFrame({"image": pictures[:1]})
    assert len(loaded.predict(frame)) == 3
    with pytest.raises(MlflowException, match="this version has no vectors of values"):
        loaded.predict(frame, params={"values": True})


def test_an_unknown_attribute_names_its_row_or_gives_null(model, pictures, expected) -> None:
    frame = pd.DataFrame({"image": [pictures[0]] * 2, "attribute": ["skirt", "hem"]})
    with pytest.raises(ValueError, match=r"row 1: unknown attribute 'hem'; known: \['sleeve'"):
        model.predict(frame)
    found = model.predict(frame, params={"on_error": "null"})
    assert list(found["attribute"]) == ["skirt", "hem"]
    assert found["embedding"][1] is None
    check_same(found["embedding"][:1], expected[:1, 1])


def test_all_rows_may_be_bad(model) -> None:
    found = model.predict(pd.DataFrame({"image": [b"x", b"y"]}), params={"on_error": "null"})
    assert len(found) == 6
    assert found["embedding"].isna().all()


def test_other_ways_with_errors_are_refused(model, pictures) -> None:
    with pytest.raises(MlflowException, match="on_error is 'skip'; it takes 'raise', 'null'"):
        model.predict(pd.DataFrame({"image": pictures[:1]}), params={"on_error": "skip"})


@pytest.mark.parametrize(
    ("serving", "said", "is_read"),
    [
        (None, None, True),
        ("true", None, False),
        ("true", "true", True),
        (None, "false", False),
        (None, "maybe", False),
    ],
)
def test_paths_are_not_read_for_clients_of_a_server(
    model, pictures, *, tmp_path, monkeypatch, serving, said, is_read
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(pictures[0])
    for name, value in {
        "_MLFLOW_IS_IN_SERVING_ENVIRONMENT": serving,
        "HEMLINE_READ_PATHS": said,
    }.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    frame = pd.DataFrame({"image": [str(path)], "attribute": ["skirt"]})
    if is_read:
        assert len(model.predict(frame)) == 1
        return
    with pytest.raises(ValueError, match="HEMLINE_READ_PATHS does not let this process read a"):
        model.predict(frame)
