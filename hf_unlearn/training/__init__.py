"""From a request to forget to an adapter: the training loop, its data, its workers and its checkpoints."""
