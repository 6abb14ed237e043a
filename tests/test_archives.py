"""Zips that the fuzz found a way through: each is refused in a sentence, and nothing of it is left behind."""

import bz2
import zipfile

import pytest
from hostile_space import FILE, Entry, zip_of

from space.archives import unpacked
from space.material import Order


def entry(name: bytes, content: bytes = b"x", flags: int = 0x800, method: int = 8) -> Entry:
    return Entry(name, content, flags, method, FILE, b"", {}, None)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (entry(b""), "can't be read"),
        (entry(b"a/" * 16 + b"1.png"), "17 deep; at most 16"),
        (entry(b"a/" * 1_500 + b"1.png"), "1501 deep; at most 16"),
        (entry(b"\xff\xfe.png"), "can't be read"),
        (entry(b"1.png", flags=1), "encrypted"),
        (entry(b"1.png", bz2.compress(bytes(2**20)), method=zipfile.ZIP_BZIP2), "packed in an unusual way"),
        (entry(b"1.png", method=zipfile.ZIP_LZMA), "packed in an unusual way"),
        (entry(b"1.png", method=93), "packed in an unusual way"),
        (entry(b"1.png", flags=0x20), "can't be read"),
    ],
)
def test_an_odd_entry_is_refused_and_nothing_before_it_stays(tmp_path, monkeypatch, sent, words):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "sent.zip").write_bytes(zip_of([entry(b"cat/1.png"), sent], b"", {}))
    with pytest.raises(ValueError, match=words) as refused, unpacked([tmp_path / "sent.zip"]):
        pass
    assert type(refused.value) is ValueError
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize("comment", [b"", b"said at the end"])
def test_a_list_of_entries_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch, comment):
    many = zip_of([entry(b"%02d" % number + 60_000 * b"a") for number in range(40)], comment, {})
    wide = b"PK\6\6" + bytes(52) + b"PK\6\7" + bytes(16)  # its size would stand in front, in 64 bits
    end = many.rindex(b"PK\5\6")
    hidden = many[: end + 16] + b"PK\5\6" + many[end + 20 :]  # where the list starts, written like another end
    for content in (many, many[:end] + wide + many[end:], hidden):
        (tmp_path / "sent.zip").write_bytes(content)
        monkeypatch.setattr(zipfile, "ZipFile", None)
        with pytest.raises(ValueError, match="list of entries is too long"), unpacked([tmp_path / "sent.zip"]):
            pass


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("value", [["cup"], {"cup": 1}, 3, float("nan")])
def test_an_order_of_anything_but_text_is_refused(place, value):
    good = ["embedded", "cup", "mug", "names", 100, "normal", ""]
    good[place] = value
    *most, dataset = good
    with pytest.raises(ValueError, match="budget is" if place == 4 else "An order is text"):
        Order.of(*most, dataset=dataset)
