"""The page of an empty Space, built once a module, and its address on loopback."""

import pytest

from tests.support.gradio_http import launched


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    from space.ui.app import build

    return build(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def address(demo):
    with launched(demo) as url:
        yield url
