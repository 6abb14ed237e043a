"""One module an attack: each tries to get forgotten classes back out of an adapted model."""
