"""One module per attack; each plans its steps for an adapter and tries to bring forgotten classes back."""
