"""The Hugging Face Hub: adapters fetched, pushed and found; what its client raises, in plain sentences."""
