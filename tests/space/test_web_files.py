"""Files at strangers' addresses: private ones are never asked, and whatever goes wrong is one clear sentence."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hf_unlearn.errors import InputError
from space.inputs import web_files
from tests.support.gradio_http import Refusal, Stranger
from tests.support.images import coloured

LABELS = "red\ngreen"


class Site(BaseHTTPRequestHandler):
    """Answers by the path, and notes what was asked."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        status, headers, content = {
            "/image.png": (200, {}, Path(self.server.image).read_bytes()),
            "/text.png": (200, {}, b"no image"),
            "/announced.png": (200, {"Content-Length": str(10**9)}, b""),
            "/endless.png": (200, {}, bytes(2_000)),
            "/elsewhere": (302, {"Location": "/image.png"}, b""),
            "/inside": (302, {"Location": "http://127.0.0.2:1/secret"}, b""),
            "/file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/round": (302, {"Location": "/round"}, b""),
        }.get(self.path, (404, {}, b"nothing"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[str]:
    image = tmp_path_factory.mktemp("site") / "image.png"
    coloured(1)[0].save(image)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.image = image
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def public(monkeypatch):
    """Takes this machine's first address for a public one."""
    real = web_files.is_public
    monkeypatch.setattr(web_files, "is_public", lambda address: address == "127.0.0.1" or real(address))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "ff02::1", "no address"],
)  # fmt: skip
def test_addresses_of_machines_inside_are_not_public(address):
    assert not web_files.is_public(address)
    assert web_files.is_public("8.8.8.8")


@pytest.mark.parametrize("path", ["/image.png", "/elsewhere"])
def test_a_file_is_fetched_also_where_it_has_moved(site, public, tmp_path, path):
    found = asyncio.run(web_files.fetch(site + path, str(tmp_path)))
    assert Path(found).read_bytes()[1:4] == b"PNG"
    assert Path(found).suffix == ".png"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "status 404; check it"), ("/announced.png", "larger than 50 MB"), ("/endless.png", "larger than"),
        ("/inside", "no machine on the public internet"), ("/file", "no machine on the public internet"),
        ("/round", "Nothing answers"),
    ],
)  # fmt: skip
def test_what_can_not_be_fetched_is_one_sentence_and_leaves_no_file(site, public, monkeypatch, tmp_path, path, words):
    if path == "/endless.png":
        monkeypatch.setattr(web_files, "MOST", 1_000)
    with pytest.raises(InputError, match=words):
        asyncio.run(web_files.fetch(site + path, str(tmp_path)))
    assert not [left for left in tmp_path.rglob("*") if left.is_file()]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://localhost/",
        "http://",
        "http://%00/",
        "http://a..b/x",
        "ftp://x/",
    ],
)
def test_odd_addresses_are_refused(url, tmp_path):
    with pytest.raises(InputError, match=r"This address leads to no|Nothing answers"):
        asyncio.run(web_files.fetch(url, str(tmp_path)))


def test_the_page_never_asks_a_private_address_and_says_why(address, site):
    stranger, before = Stranger(address), list(Site.asked)
    for given, words in [
        ({"path": f"{site}/image.png"}, "no machine on the public internet"),
        ({"path": "file:///etc/passwd"}, "can't be read here; upload it"),
        ({"path": "/etc/passwd"}, "can't be read here; upload it"),
    ]:
        image = {**given, "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(Refusal, match=words):
            stranger.call(stranger.named("classify"), image, LABELS, "", "embedded", True)
    assert Site.asked == before


def test_the_page_scores_an_image_by_its_address_and_says_what_is_none(address, site, public):
    stranger = Stranger(address)

    def classify(image):
        return stranger.call(stranger.named("classify"), image, LABELS, "", "embedded", True)[0]

    def forms(path):
        return site + path, {"url": site + path}, {"path": site + path, "meta": {"_type": "gradio.FileData"}}

    for form in forms("/image.png"):
        assert list(classify(form)["before"]) == ["red", "green"]
    for path, words in (("/text.png", "not an image we can read"), ("/missing", "status 404")):
        for form in forms(path):
            with pytest.raises(Refusal, match=words):
                classify(form)
