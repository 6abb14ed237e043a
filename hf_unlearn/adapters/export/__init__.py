"""Plain transformers checkpoints with an adapter in effect."""
