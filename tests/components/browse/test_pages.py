"""What the page shows: all items, the nearest items, where the model looked, two models."""

import base64
import io
import re

import numpy as np
import pytest
from builders import encoded, heic, noise
from flask.testing import FlaskClient
from PIL import Image
from shops import COLLARS, NUM_ITEMS, SCHEMA, SIDE_PX, Shop, picture

from components.browse.pages import PER_PAGE
from components.browse.shelf import Shelf
from components.errors import HemlineError
from components.images.decode import decode

NEW = picture(1000)  # not of the shop


def shown(page: str) -> list[tuple[int, float]]:
    """Returns the numbers and the similarities of the items that a page found."""
    numbers = re.findall(r'alt="Item (\d+)"', page)
    similarities = re.findall(r'<span title="similarity">(-?\d\.\d{3})</span>', page)
    return [
        (int(number), float(similarity))
        for number, similarity in zip(numbers, similarities, strict=True)
    ]


def expected(
    shelf: Shelf, query: bytes, weights: dict[str, float], *, without: int = -1
) -> list[tuple[int, float]]:
    """Returns the naive ranking: a loop over all items, sorted."""
    vectors = shelf.embed(decode(query, image_size_px=SIDE_PX), [*weights])
    similarities = {}
    for image in range(NUM_ITEMS):
        stored = shelf.finder.vectors_of(image, [*weights])
        terms = (weights[name] * float(vectors[name] @ stored[name]) for name in weights)
        similarities[image] = sum(terms)
    ranking = sorted(similarities.items(), key=lambda item: -item[1])
    return [item for item in ranking if item[0] != without]


def assert_same_ranking(ours: list[tuple[int, float]], theirs: list[tuple[int, float]]) -> None:
    assert [image for image, _ in ours] == [image for image, _ in theirs][: len(ours)]
    for (_, similarity), (_, other) in zip(ours, theirs, strict=False):
        assert similarity == pytest.approx(other, abs=2e-3)  # stored vectors are float16


def upload(client: FlaskClient, data: bytes, name: str = "new.png", **fields: object) -> str:
    """Returns the page that an upload leads to."""
    form = {"picture": (io.BytesIO(data), name), **fields}
    answer = client.post("/uploads", data=form, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_first_page_shows_every_item_once(client: FlaskClient) -> None:
    pages = [client.get("/").text, client.get("/?page=2").text]
    numbers = [int(n) for page in pages for n in re.findall(r'alt="Item (\d+)"', page)]
    assert numbers == [*range(NUM_ITEMS)]
    assert len(re.findall(r'alt="Item', pages[0])) == PER_PAGE
    assert 'rel="next"' in pages[0]
    assert 'rel="next"' not in pages[1]


def items_of(client: FlaskClient, *show: str, **fields: str) -> list[int]:
    page = client.get("/", query_string={"show": show, **fields}).text
    return [int(number) for number in re.findall(r'alt="Item (\d+)"', page)]


def test_the_first_page_shows_the_values_of_every_item(client: FlaskClient) -> None:
    """Every second item has a label of the coat's length too."""
    items = client.get("/").text.split("<li>")[1:]
    for number, text in enumerate(items):
        assert ("collar:</span> none" in text) == (number % 3 % 2 == 0)
        assert ("collar:</span> &lt;b&gt;rib&lt;/b&gt;" in text) == (number % 3 % 2 == 1)
        assert ("coat length:</span>" in text) == (number % 2 == 0)


def test_the_first_page_shows_what_the_filter_lets_through(client: FlaskClient) -> None:
    rib = [number for number in range(NUM_ITEMS) if number % 3 % 2 == 1]
    assert items_of(client, f"collar={COLLARS[1]}") == rib
    assert items_of(client, f"collar={COLLARS[1]}", "image>30") == [n for n in rib if n > 30]
    assert items_of(client, "", "image<3") == [0, 1, 2]
    assert items_of(client, "image>1000") == []
    page = client.get("/", query_string={"show": ["collar=none", "width>=40"]}).text
    assert 'value="collar=none" selected' in page
    assert 'value="width&gt;=40"' in page
    assert f"of {NUM_ITEMS - len(rib)} items, filtered" in page
    assert client.get("/?show=colour=red").status_code == 400


def test_the_filter_stays_from_page_to_page(client: FlaskClient) -> None:
    first = client.get("/?show=width>=40&attribute=collar").text
    link = re.findall(r'rel="next" href="([^"]+)"', first)[0].replace("&amp;", "&")
    assert "attribute=collar" in link
    second = client.get(link).text
    assert 'value="width&gt;=40"' in second
    assert len(re.findall(r'alt="Item', second)) == NUM_ITEMS - PER_PAGE
    # it is the filter of this page alone: what is found is not narrowed by it
    assert "show" not in re.findall(r'<a href="(/search[^"]+)"', second)[0]


def test_pages_that_do_not_exist_are_404(client: FlaskClient) -> None:
    for page in ("0", "3", "-1", "x", "1.0"):
        answer = client.get(f"/?page={page}")
        assert answer.status_code == 404
        assert "there are 2" in answer.text


def test_an_item_by_number_and_by_path(client: FlaskClient, champion: Shelf, shop: Shop) -> None:
    theirs = expected(champion, shop.pictures[5], {"collar": 1}, without=5)
    for name in ("5", shop.paths[5]):
        query = {"image": name, "attribute": "collar", "all_items": "1"}
        assert_same_ranking(shown(client.get("/search", query_string=query).text), theirs)


def test_several_attributes_with_weights(client: FlaskClient, champion: Shelf) -> None:
    weights = {"collar": 2.0, "coat_length": 0.5}
    fields = {f"weight.{name}": str(weight) for name, weight in weights.items()}
    page = upload(client, NEW, attribute=[*weights], all_items="1", top_k="20", **fields)
    assert len(shown(page)) == 20
    assert_same_ranking(shown(page), expected(champion, NEW, weights))


@pytest.mark.parametrize("data", [heic(noise(40, 40)), encoded(noise(40, 40), "AVIF")])
def test_pictures_of_telephones_and_shops(client: FlaskClient, data: bytes) -> None:
    assert len(shown(upload(client, data, attribute="collar", all_items="1"))) > 0
    assert {"image/avif", "image/heic"} <= {*re.findall(r"image/\w+", client.get("/").text)}


def test_items_without_a_label_take_part_only_if_asked(client: FlaskClient) -> None:
    page = upload(client, NEW, attribute="coat_length", top_k="100")
    assert sorted(image for image, _ in shown(page)) == [*range(0, NUM_ITEMS, 2)]
    page = upload(client, NEW, attribute="coat_length", top_k="100", all_items="1")
    assert sorted(image for image, _ in shown(page)) == [*range(NUM_ITEMS)]


def test_the_nearest_in_all_attributes_are_ranked_by_one(
    client: FlaskClient, champion: Shelf
) -> None:
    page = upload(client, NEW, attribute="collar", all_items="1", top_k="10", rerank="12")
    general = expected(champion, NEW, dict.fromkeys(SCHEMA.names, 1))[:12]
    among = {image for image, _ in general}
    ranked = [item for item in expected(champion, NEW, {"collar": 1}) if item[0] in among]
    assert_same_ranking(shown(page), ranked)
    assert shown(page) != shown(upload(client, NEW, attribute="collar", all_items="1"))
    assert 'value="12"' in page


def test_conditions_leave_out_items(client: FlaskClient) -> None:
    """Every item is 40 pixels wide; the collar changes with every item but each third."""
    conditions = {"where": ["width>=40", f"collar={COLLARS[1]}", " "], "top_k": "100"}
    page = upload(client, NEW, attribute="collar", **conditions)
    wanted = [image for image in range(NUM_ITEMS) if image % 3 % 2]
    assert sorted(image for image, _ in shown(page)) == wanted
    assert 'value="width&gt;=40"' in page
    assert shown(upload(client, NEW, attribute="collar", where="width>40")) == []
    page = upload(client, NEW, attribute="collar", where="colour=red")
    assert "colour" in page[page.index("<section") :]  # what is wrong
    assert '<img class="frame query"' in page


def test_an_uploaded_item_is_known_again(client: FlaskClient, shop: Shop) -> None:
    """It is left out of what is found, and its labels tell what agrees."""
    page = upload(client, shop.pictures[4], attribute="collar", top_k="100")
    assert 4 not in [image for image, _ in shown(page)]
    verdicts = re.findall(r'<span class="mark (\w+)">', page)
    wanted = {image: "agrees" if image % 3 % 2 == 4 % 3 % 2 else "differs" for image in range(70)}
    assert verdicts == [wanted[image] for image, _ in shown(page)]
    assert f"<b>{verdicts.count('agrees')}</b> of 69 with a label agree in collar" in page


def test_agreement_does_not_hang_on_colour(client: FlaskClient) -> None:
    page = client.get("/search?image=4&attribute=collar&top_k=20").text
    for verdict, sign, word in (("agrees", "✓", "agrees"), ("differs", "✗", "differs")):
        mark = page[page.index(f'<span class="mark {verdict}">') :].split("</p>")[0]
        assert sign in mark
        assert f"{word}: " in mark


def test_without_an_attribute_the_first_with_a_label_is_taken(client: FlaskClient) -> None:
    page = client.get("/search?image=2").text
    assert re.findall(r'value="(\w+)" checked', page) == ["collar"]
    assert shown(page) == shown(client.get("/search?image=2&attribute=collar").text)


def test_attention_is_brightest_where_the_model_looks(client: FlaskClient, champion: Shelf) -> None:
    """The overlay that the page holds is that of the model's map, position by position."""
    page = upload(client, NEW, attribute=["collar", "coat_length"])
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="Attention map for (\w+)', page)
    assert [name for _, name in found] == ["collar", "coat_length"]
    pixels = decode(NEW, image_size_px=SIDE_PX)
    maps = champion.attend(pixels, ["collar", "coat_length"])
    assert maps is not None
    for (data, _), map_HW in zip(found, maps, strict=True):
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)
        assert drawn.shape == (SIDE_PX, SIDE_PX, 3)
        # cividis goes from blue to yellow: a position's yellowness ranks as its weight
        yellow = (drawn[..., 0] - drawn[..., 2]).reshape(4, 8, 4, 8).mean(axis=(1, 3))
        assert yellow.argmax() == np.abs(map_HW).argmax()


def test_a_model_without_attention_shows_none(make_client) -> None:
    client = make_client(attend=lambda pixels, attributes: None)
    page = client.get("/search?image=1&attribute=collar").text
    assert "Attention map" not in page
    assert len(shown(page)) == 10


def test_two_models_side_by_side(
    comparing: FlaskClient, champion: Shelf, challenger: Shelf
) -> None:
    page = upload(comparing, NEW, attribute="collar", all_items="1")
    columns = page.split('<section class="column"')[1:]
    assert len(columns) == 2
    for column, shelf in zip(columns, (champion, challenger), strict=True):
        assert shelf.title in column
        assert_same_ranking(shown(column), expected(shelf, NEW, {"collar": 1}))
    ours, theirs = ([image for image, _ in shown(column)] for column in columns)
    notes = re.findall(r'<p class="other">(.+?)</p>', columns[0])
    wanted = [f"there: rank {theirs.index(i) + 1}" if i in theirs else "only here" for i in ours]
    assert notes == wanted
    assert len({*wanted}) > 1  # some are in both


def test_what_one_model_lacks_costs_its_column_only(make_client) -> None:
    def lacking(pixels: object, attributes: object) -> None:
        raise HemlineError("no attribute 'collar'; there are others")

    page = upload(make_client(beside={"embed": lacking}), NEW, attribute="collar")
    columns = page.split('<section class="column"')[1:]
    assert len(shown(columns[0])) == 10
    assert "there are others" in columns[1]


def test_names_from_data_are_escaped(client: FlaskClient) -> None:
    page = upload(client, NEW, name="<script>alert(1)</script>.png", attribute="collar")
    page += client.get("/").text
    assert COLLARS[1] not in page
    assert "&lt;b&gt;rib&lt;/b&gt;" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert " <i>.png" not in page


def test_what_is_asked_stays_asked(client: FlaskClient) -> None:
    """Links of a page, followed, ask the same of another picture."""
    fields = "attribute=collar&attribute=coat_length&weight.collar=2&top_k=20&all_items=1"
    page = client.get(f"/search?image=1&{fields}").text
    link = re.findall(r'<a href="(/search[^"]+)"', page)[0].replace("&amp;", "&")
    again = client.get(link).text
    chosen = re.findall(r'value="(\w+)" checked', again)
    assert chosen == [*SCHEMA.names, "1"]
    weights = re.findall(r'type="number" name="weight\.(\w+)".*?value="([^"]+)"', again, re.DOTALL)
    assert weights == [("collar", "2"), ("coat_length", "1")]
    assert len(shown(again)) == 20


def test_errors_are_pages_that_say_what_to_do(client: FlaskClient) -> None:
    for address, status, text in (
        ("/search", 400, "Pick an item"),
        ("/search?image=4&attribute=colour", 400, "there are collar, coat_length"),
        ("/search?image=4&attribute=collar&weight.collar=0", 400, "a number above 0"),
        ("/search?image=4&attribute=collar&weight.collar=nan", 400, "a number above 0"),
        ("/search?image=4&top_k=1000000", 400, "it can be 10, 20, 50, 100"),
        ("/search?image=4&where=width", 400, "is not a condition"),
        ("/search?image=4&rerank=9", 400, "a number from 10"),
        ("/search?image=70", 404, "no embedded image has the number"),
        ("/search?upload=guessed", 404, "choose it again"),
        ("/nowhere", 404, "Not Found"),
    ):
        answer = client.get(address)
        assert (answer.status_code, text in answer.text) == (status, True), address
        assert "<h1>" in answer.text


def test_a_value_is_asked_for_and_all_else_stays(client: FlaskClient, champion: Shelf) -> None:
    """Of item 1, whose collar has ribs and whose coat has no label: one without a collar."""
    page = client.get("/search", query_string={"image": 1, "change.collar": "none"}).text
    vectors = champion.finder.vectors_of(1, SCHEMA.names)
    vectors["collar"] = champion.prototypes().of("collar", "none")
    scores = {
        image: sum(
            float(vectors[name] @ stored)
            for name, stored in champion.finder.vectors_of(image, SCHEMA.names).items()
        )
        for image in range(NUM_ITEMS)
        if image != 1
    }
    ranking = sorted(scores.items(), key=lambda item: -item[1])
    assert_same_ranking(shown(page), ranking)
    assert re.findall(r"<option selected>([^<]+)</option>", page)[:1] == ["none"]
    # a found item is asked about as it is
    followed = re.findall(r'href="(/search\?image=items[^"]+)"', page)
    assert followed
    assert not [link for link in followed if "change" in link]


def test_a_value_that_cannot_be_asked_for_is_told_in_its_column(client: FlaskClient) -> None:
    asked = {"image": 0, "change.collar": "none"}
    assert "the query has collar=none already" in client.get("/search", query_string=asked).text
    asked = {"image": 0, "change.collar": "round"}
    page = client.get("/search", query_string=asked).text
    assert "no value &#39;round&#39; of collar" in page


def test_a_page_without_prototypes_offers_no_values(make_client) -> None:
    def prototypes() -> None:
        raise HemlineError("made by an older hemline")

    client = make_client(prototypes=prototypes)
    assert "as in the picture" not in client.get("/search?image=1").text
    page = client.get("/search", query_string={"image": 1, "change.collar": "none"}).text
    assert "made by an older hemline" in page
