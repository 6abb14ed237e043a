"""Whatever is sent to whichever event: an answer or one sentence, and no word of the visitor's in the log."""

import json
import re

import pytest

from tests.support.gradio_http import Refusal, Stranger

SECRET = "zebra hf_abcdefghij"
ODD = [
    None, 7, True, 1e308, "", [[SECRET]], {SECRET: [1]}, f"../../{SECRET}", SECRET * 20_000, f"\x00{SECRET}",
    f"<b>{SECRET}</b>", [None, {"path": SECRET}], {"path": f"/etc/{SECRET}", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip
RAW = re.compile(
    r"Traceback|\w+Error\b(?!\))|validation error|pydantic|site-packages|object at 0x|list of choices|/tmp/"
)
GOOD = ["embedded", "beer mug", "guitar", "names", 300, "normal", None, "", "edit"]


@pytest.fixture(scope="module")
def stranger(address):
    return Stranger(address)


AT_ONCE = 32  # calls; a queue of the app holds twice as many


def said(stranger, calls) -> list[str]:
    """For every call, an event with its data, the words of its refusal."""
    answers = []
    for first in range(0, len(calls), AT_ONCE):
        answers += stranger.call_all(calls[first : first + AT_ONCE])
    return [str(answer) if isinstance(answer, Refusal) else "an answer" for answer in answers]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_odd_values_are_answered_in_one_sentence(stranger, odd, capfd, caplog):
    calls, names = [], []
    for event in stranger.events["dependencies"]:
        if not event["backend_fn"] or (event["types"]["generator"] and odd in (7, True)):
            continue  # of no inputs on the server, or a run like any other
        count = len(event["inputs"])
        for spoilt in {0, min(1, count - 1), -1} if count else ():
            data = [*GOOD, *[None] * count][:count]
            data[spoilt] = odd
            calls.append((event["id"], data))
            names.append((event["api_name"], spoilt))
    for name, words in zip(names, said(stranger, calls), strict=True):
        assert words not in ("None", ""), name
        assert not RAW.search(words), (name, words[:300])
        assert len(words.splitlines()) == 1
        assert len(words) <= 1_000
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "zebra" not in logged
    assert "hf_abc" not in logged
    assert "Traceback" not in logged


@pytest.mark.parametrize("count", [0, 1, 50])
def test_too_few_and_too_many_values(stranger, count, capfd):
    names = ("classify", "forget", "describe", "images", "score")
    for words in said(stranger, [(stranger.named(name), [SECRET] * count) for name in names]):
        assert words != "None"
        assert not RAW.search(words)
    assert "zebra" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", '{"data": null}', '{"data": ["\\ud800"], "fn_index": 19, "session_hash": "a"}',
     '{"data": [], "fn_index": 10000, "session_hash": "a"}', '{"data": [], "fn_index": "x", "session_hash": [1]}',
     json.dumps({"data": [[[[[]]]]], "fn_index": 19}), "[" * 100_000],
    ids=lambda body: body[:30],
)  # fmt: skip
def test_what_is_no_request(stranger, body, capfd):
    answer = stranger.http.post("/queue/join", content=body, headers={"content-type": "application/json"})
    assert "Internal Server Error" not in answer.text
    assert not re.search(r"Traceback|site-packages", answer.text + "".join(capfd.readouterr()))


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, OSError])
def test_an_error_of_ours_is_a_sentence_on_the_page_and_a_traceback_in_the_log(
    stranger, monkeypatch, caplog, capfd, kind
):
    def breaks(*_):
        raise kind(f"while at {SECRET}")

    monkeypatch.setattr("space.inputs.run_request.parse_labels", breaks)
    order = [SECRET, "", "embedded", "names", 300, "normal", "", ""]
    (words,) = said(stranger, [(stranger.named("forget"), order)])
    assert words.startswith(f"Something went wrong here ({kind.__name__}), which is not your fault")
    (entry,) = [record for record in caplog.records if record.name == "space"]
    first, *frames = entry.getMessage().splitlines()
    assert first.startswith(f"{kind.__name__} at ")
    assert [line for line in frames if "run_request.py" in line and "in parse: " in line]
    logged = caplog.text + "".join(capfd.readouterr())
    assert "zebra" not in logged
    assert "hf_abc" not in logged
