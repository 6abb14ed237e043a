"""The log of unexpected errors holds types and places, and no word of a visitor's."""

from space.error_log import log_error

SECRET = "zebra hf_abcdefghij"


def test_the_errors_that_led_to_one_are_logged_and_no_message_is(caplog):
    def look_up(name: str) -> None:
        raise KeyError(name)

    try:
        try:
            look_up(SECRET)
        except KeyError as error:
            raise RuntimeError(f"no label {error}") from error
    except RuntimeError as error:
        log_error(error, "a test")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("space", "ERROR")
    lines = record.getMessage().splitlines()
    assert lines[0] == "RuntimeError at a test"
    assert "KeyError, from" in lines
    assert "in look_up: raise KeyError(name)" in lines[-1]
    assert "zebra" not in caplog.text


def test_an_error_that_hides_its_cause_is_logged_alone(caplog):
    try:
        try:
            raise KeyError
        except KeyError:
            raise RuntimeError from None
    except RuntimeError as error:
        log_error(error, "a test")
    assert "KeyError" not in caplog.records[0].getMessage().replace("raise KeyError", "").replace("except KeyError", "")
