"""How much memory this process takes, on any system."""

from __future__ import annotations


class PeakMemory:
    """The most memory seen; Windows keeps the peak itself, elsewhere it is the largest of what was noted.

    Attributes:
        mb: resident set, in MiB.
    """

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self.mb = 0.0
        self.note()

    def note(self) -> None:
        """Looks now."""
        now = self._process.memory_info()
        self.mb = max(self.mb, getattr(now, "peak_wset", now.rss) / 2**20)
