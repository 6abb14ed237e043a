"""What the scoring service keeps of its visitors: encoded images, and the queries that are left."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import TTLCache

if TYPE_CHECKING:
    from hf_unlearn.models.black_box import ImageSet

MAX_VISITORS, IDLE_SECONDS = 32, 3_600
FEATURE_BYTES = 512 * 2**20  # of all visitors' images


@dataclass
class ScoringSession:
    """One visitor.

    Attributes:
        left: queries that the visitor may still ask.
        sets: the visitor's images: a random handle -> base model and features.
        lock: held while one of these changes.
    """

    left: int
    sets: dict[str, tuple[str, ImageSet]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def count_images(self) -> int:
        """Images in all sets."""
        return sum(len(images) for _, images in self.sets.values())

    def count_bytes(self) -> int:
        """Bytes of all features."""
        return sum(images.features.nbytes for _, images in list(self.sets.values()))


class ScoringSessions:
    """All visitors. One that is idle for an hour is forgotten, and so is the least recent one when room is short.

    Args:
        queries: how many candidates a visitor may have scored.
    """

    def __init__(self, queries: int) -> None:
        self.queries = queries
        self._sessions: TTLCache[str, ScoringSession] = TTLCache(MAX_VISITORS, IDLE_SECONDS)
        self._lock = Lock()

    def get(self, session: str) -> ScoringSession:
        """The visitor with this session, or a new one."""
        with self._lock:
            visitor = self._sessions.pop(session, None) or ScoringSession(self.queries)
            self._sessions[session] = visitor  # the most recent one, its hour begins again
            while len(self._sessions) > 1 and self._count_bytes() > FEATURE_BYTES:
                self._sessions.popitem()
            return visitor

    def _count_bytes(self) -> int:
        return sum(visitor.count_bytes() for visitor in self._sessions.values())
