"""Uploads are kept under tokens, and only the last ones."""

from components.browse.pages import NUM_KEPT, Upload, Uploads


def named(name: str) -> Upload:
    return Upload(name=name, pixels={}, copies={})


def test_the_oldest_make_room() -> None:
    uploads = Uploads()
    tokens = [uploads.keep(named(str(number))) for number in range(NUM_KEPT + 3)]
    assert len(set(tokens)) == NUM_KEPT + 3
    kept = [uploads.get(token) for token in tokens]
    assert kept[:3] == [None] * 3
    assert [upload.name for upload in kept[3:] if upload] == [*map(str, range(3, NUM_KEPT + 3))]


def test_tokens_cannot_be_guessed() -> None:
    assert len(Uploads().keep(named("a"))) >= 22  # 128 bits
    assert Uploads().get("") is None
