"""What visitors send: bounded, checked and turned into data."""
