"""Black-box optimizers of soft-prompt contexts, the objective they minimize, and the registry of methods."""
