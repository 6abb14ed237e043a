"""Runs as their visitors meet them: stopped, waited for, estimated."""

import threading

import pytest

from hf_unlearn.errors import InputError
from space.inputs.run_request import DRAWINGS, RunRequest
from space.inputs.task_images import TaskImages
from space.services.adapter_store import AdapterStore
from space.services.model_cache import ModelCache
from space.services.run_channel import RunChannel, StoppedEarly
from space.services.run_evaluation import RunEvaluation
from space.services.run_progress import RunProgress, RunResult
from space.services.runs import MAX_RUNS, Runs, _count_images
from space.services.time_estimate import Seconds, TimeEstimates, Timing, Work
from space.views.durations import format_range
from space.views.run_progress import render_line, render_progress
from tests.support.images import coloured

LONG = RunRequest.parse("embedded", "bomb", "guitar\nbanana", DRAWINGS, 3_000, method="context")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    return Runs(AdapterStore(tmp_path_factory.mktemp("root"), ModelCache()))


def last_of(runs: Runs, stops) -> tuple[RunResult, list[RunProgress]]:
    """The end of a long run, stopped at the news that `stops` says, and the news before."""
    news = []
    for item in runs.run(LONG, "one"):
        news.append(item)
        if isinstance(item, RunProgress) and stops(item):
            runs.stop("one")
    return news[-1], news[:-1]


def test_a_stopped_search_is_evaluated_with_what_was_computed_before_it_began(runs, monkeypatch):
    encoded, seen = [], threading.Event()
    original = RunEvaluation.judge

    def later(self, adapter):
        assert seen.wait(600)  # an evaluation may be faster than the news before it
        return original(self, adapter)

    monkeypatch.setattr(RunEvaluation, "judge", later)
    model = runs.store.models.get("embedded")
    model.model.vision_model.register_forward_pre_hook(lambda *_: encoded.append(threading.current_thread().name))

    def stops(item: RunProgress) -> bool:
        if item.made:
            seen.set()
        return bool(item.steps) and not encoded.clear() and not item.made

    end, news = last_of(runs, stops)
    assert end.reason == "stopped; the best so far is kept"
    assert end.steps[-1].queries < LONG.budget
    assert end.adapter.report["images"]["kind"] == "test"
    assert not encoded  # no image is encoded at the end
    made = next(item.made for item in news if item.made)
    assert (made.key, made.adapter.report) == (end.key, None)  # it could be used before it was evaluated
    assert runs.store.get(end.key) == end.adapter


def test_a_run_that_is_stopped_twice_is_not_evaluated(runs, monkeypatch):
    asked = threading.Event()
    original = RunEvaluation.judge

    def later(self, adapter):
        assert asked.wait(600)
        return original(self, adapter)

    monkeypatch.setattr(RunEvaluation, "judge", later)

    def stops(item: RunProgress) -> bool:
        if item.made:
            threading.Timer(0.5, asked.set).start()
        return bool(item.steps)

    end, _ = last_of(runs, stops)
    assert end.adapter.report is None
    assert end.unjudged == "You skipped the evaluation."
    assert runs.store.get(end.key).config.forget == ["bomb"]


def test_a_run_that_is_stopped_before_its_first_step_ends_without_waiting_for_it(runs, monkeypatch):
    never = threading.Event()

    def reads(_):
        never.wait(600)
        raise InputError("too late")

    monkeypatch.setattr("space.services.runs.collect_images", reads)
    with pytest.raises(InputError, match="Stopped before there was anything to keep"):
        last_of(runs, lambda _: True)
    never.set()


def test_a_forward_pass_ends_between_two_layers(runs):
    layers = runs.store.models.get("embedded").model.text_model.encoder.layers
    searching, computed = threading.Event(), []

    def first(*_) -> None:
        if searching.is_set() and not computed:
            computed.append("first layer")
            runs.stop("one")

    def last(*_) -> None:
        if (channel := runs._channels.get("one")) is not None and channel.stop.is_set():
            computed.append("last layer")

    hooks = [layers[0].layer_norm2.register_forward_hook(first), layers[-1].layer_norm1.register_forward_hook(last)]
    try:
        end, _ = last_of(runs, lambda item: searching.set() if item.steps else None)
    finally:
        [hook.remove() for hook in hooks]
    assert end.reason.startswith("stopped")
    assert computed == ["first layer"]


def test_encoding_counts_its_images_and_a_stop_before_anything_is_kept_is_no_fault(runs):
    model, channel = runs.store.models.get("embedded"), RunChannel()
    evaluation = RunEvaluation(model, TaskImages(("red", "blue"), judged=coloured(3).only(["red", "blue"])), ["red"])
    model.watch_images = _count_images(channel, RunProgress("Encoding"), evaluation)
    evaluation.prepare()
    news = channel.receive(lambda: True)
    assert (news.queries, news.budget, news.unit) == (0, 6, "images")
    assert "Encoding: 0 of 6 images" in render_progress(news)
    channel.stop.set()
    with pytest.raises(StoppedEarly, match="nothing was made"):
        channel.receive(lambda: True)


def test_a_run_without_a_place_says_that_it_waits(runs):
    for _ in range(MAX_RUNS):
        runs._places.acquire()
    try:
        visit = runs.run(LONG, "one")
        assert next(visit).doing == "Waiting for another run to end"
        visit.close()
    finally:
        runs._places.release(MAX_RUNS)


STEADY = Timing((0.01, 0.01, 0.01), (0.1, 0.1, 0.1))
WORK = Work("embedded", 10, 100, 0)


def test_an_estimate_is_narrow_where_the_machine_is_quiet_and_holds_where_it_is_not():
    times = TimeEstimates()
    assert STEADY.forecast(WORK) == Seconds(10.5, 12.0)
    busy = Timing((0.01, 0.03, 0.02), (0.1,)).forecast(WORK)
    assert busy.low < 15.0
    assert 25.0 < busy.high < 33.0
    first = times.estimate(STEADY, WORK)
    for seconds in (0.1, 12.0, 13.0):  # a run that short says nothing
        times.learn(STEADY, WORK, seconds)
    later = times.estimate(STEADY, WORK)
    assert first.low < later.low < 12.0
    assert 13.0 < later.high < first.high
    assert later.high < 1.8 * later.low


def test_a_visitor_in_the_queue_waits_for_the_first_that_ends(tmp_path):
    runs = Runs(AdapterStore(tmp_path, ModelCache()))
    assert runs.wait(0, 2) == Seconds(0.0, 0.0)
    for name, seconds in (("one", 10.0), ("two", 40.0)):
        runs._channels[name] = RunChannel()
        runs._channels[name].expect(Seconds(seconds, 2 * seconds))
    first, third = runs.wait(0, 2), runs.wait(2, 2)
    assert 9 < first.low <= 10 < first.high <= 20
    assert first.high < third.low
    runs._channels["one"].expected.clear()
    assert runs.wait(0, 2) is None  # nobody knows


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (18, 41, "18 to 40 s"), (50, 130, "50 s to 2 min"), (110, 320, "2 to 5 min"), (3.2, 3.4, "about 3 s"),
        (0, 0, "about 1 s"),
    ],
)  # fmt: skip
def test_ranges_are_written_as_people_do(low, high, words):
    assert format_range(Seconds(low, high)) == words


def test_the_place_in_the_queue_and_what_figures_are_computed_on_are_said_in_words():
    assert "2 visitors are before you, 10 to 20 s until your run begins." in render_line(2, Seconds(10, 20))
    assert "1 visitor is before you." in render_line(1, None)
    said = render_progress(RunProgress("Searching", 5, 10, 3.0, judged_on="Figures so far are of 3 images to forget."))
    assert "3 images to forget" in said
