"""Text edits: a low-rank linear map of the text features, in closed form, from names alone."""
