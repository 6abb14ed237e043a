"""Edits of a box that gives scores only: its scores on reference images take the place of text features."""

SCORE_EDIT = "score-edit"  # the method of such an edit
