"""Images with labels, and the names of their classes: read from folders, files and arrays, and checked."""
