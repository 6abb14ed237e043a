"""Adapters: what they hold, how they are stored, described, applied and exported."""
