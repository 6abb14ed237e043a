"""Hostile and broken input: only our own errors come out, quickly and in little memory. More: benchmarks/fuzz.py."""

import resource

import pytest
from hypothesis import HealthCheck, given, settings

from hf_unlearn.adapters.report_plot import draw_picture
from hf_unlearn.adapters.report_schema import read_report
from hf_unlearn.errors import AdapterError
from tests.support.fuzzing import Readers, quietly
from tests.support.hostile import REPORT_OF, json_files

EXAMPLES = {"image folders": 150, "API payloads": 400, "checkpoints": 25, "tables of a data set": 100, "cards": 100}
TARGETS = (
    "config.json", "config.json of an edit", "config.json of version 1", "forget_context.safetensors",
    "forget_edit.safetensors", "report.json", "names and groups", "attack words", "synonyms", "files of names",
    "exclusions", "a cached vocabulary", "answers of an endpoint", "image files", "image folders", "API payloads",
    "zips", "a run's state", "answers of a Space", "configs of a model", "checkpoints", "tables of a data set", "cards",
    "links", "arrays", "vectors",
)  # fmt: skip
QUIET = {"deadline": 5_000, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def readers(tmp_path_factory, clip_folder) -> Readers:
    return Readers(tmp_path_factory.mktemp("fuzz"), clip_folder)


def test_every_reader_is_fuzzed(readers):
    assert set(readers.targets) == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_only_documented_errors_come_out_in_bounded_time_and_memory(readers, target):
    inputs, read = readers.targets[target]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(max_examples=EXAMPLES.get(target, 500), **QUIET)
    @given(inputs)
    def feed(content):
        quietly(read, content)

    feed()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000, "it took more than 400 MB"


@settings(max_examples=15, **QUIET)
@given(json_files(REPORT_OF))
def test_a_report_that_is_read_can_be_drawn(readers, content):
    path = readers.folder / "drawn.json"
    path.write_bytes(content)
    try:
        report = read_report(path)
    except AdapterError:
        return
    draw_picture(report)
