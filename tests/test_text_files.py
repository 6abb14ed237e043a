"""Text and JSON as people and their editors save them."""

import json

import pytest

from hf_unlearn.files import decode, parse_json

TEXT = 'cup, café, 犬\r\n"x"'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_with_any_mark(encoding):
    assert decode(TEXT.encode(encoding)) == TEXT
    assert parse_json(json.dumps({"é": "犬"}, ensure_ascii=False).encode(encoding)) == {"é": "犬"}


@pytest.mark.parametrize("order", ["le", "be"])
def test_windows_text_is_read_in_either_byte_order(order):
    assert decode("\ufeffcup".encode(f"utf-16-{order}")) == "cup"
    with pytest.raises(ValueError, match=r"a zero byte in line 1, as in UTF-16 or no text at all\); save it as UTF-8"):
        decode("cup".encode(f"utf-16-{order}"))


@pytest.mark.parametrize(
    ("content", "line"),
    [("a\nb\ncafé".encode("cp1252"), "0xe9 in line 3"), ("中文\n".encode("gbk"), "0xd6 in line 1"),
     (b"\xff\xfea", "in line 1"), (b"\x89PNG\r\n", "0x89 in line 1")],
)  # fmt: skip
def test_text_of_another_encoding_is_told_where_and_what_to_do(content, line):
    with pytest.raises(ValueError, match=rf"not text in UTF-8 \(byte .*{line}\); save it as UTF-8"):
        decode(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' is there twice"),
        (b"[" * 100_000, "nested too deep"),
        (b"1" * 10_000, "a number of 10,000 digits"),
        (b'"\\ud800"', "half a character"),
        (b"[NaN]", "not JSON compliant"),
        (b"[1e999]", "not JSON compliant"),
        (b"", "Expecting value"),
        (b"[1,]", "line 1 column 4"),
    ],
)
def test_json_that_is_none_or_could_not_be_written_again_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        parse_json(content)
    assert len(parse_json(b"[NaN]", nan=True)) == 1
