"""The CLIP that comes with the package: its name and its folder. Loads nothing."""

from __future__ import annotations

from pathlib import Path

EMBEDDED = "embedded"
MODEL_FOLDER = Path(__file__).parents[1] / "demo" / "clip"
