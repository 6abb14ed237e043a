"""Audits that several modules of tests look at."""

import pytest

from hf_unlearn.auditing.thresholds import Thresholds
from tests.support.audits import OWN, WORDS, audited, mask, thorough


@pytest.fixture(scope="session")
def of_thorough():
    limits = Thresholds(max_recoverability=1.0)  # pushed down so far, a class is easily read off its scores
    return audited(thorough, validation=OWN, thresholds=limits, **WORDS)


@pytest.fixture(scope="session")
def of_mask():
    return audited(mask, validation=OWN, **WORDS)
