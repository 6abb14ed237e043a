"""The Hugging Face Hub: fetching, pushing and finding adapters, and its errors in plain sentences."""
