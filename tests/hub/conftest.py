"""One Hub on loopback, and one process with the real client, for all tests of the Hub."""

from pathlib import Path

import pytest

from tests.support.hub_client import Client, environment
from tests.support.hub_server import Hub


@pytest.fixture(scope="package")
def hub():
    with Hub() as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(hub):
    hub.repos.clear()
    hub.lfs.clear()
    hub.requests.clear()
    hub.faults.clear()


@pytest.fixture(scope="package")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="package")
def client(hub, home):
    process = Client(environment(hub.endpoint, home))
    yield process
    process.pool.shutdown()
