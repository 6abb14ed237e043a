"""The command line `hf-unlearn`; one module a command."""
