"""The Space: `make space`, or `python app.py`, then open the address it prints."""

from pathlib import Path

from space.ui.app import build, launch

demo = build(Path(__file__).resolve().parent)

if __name__ == "__main__":
    launch(demo)
