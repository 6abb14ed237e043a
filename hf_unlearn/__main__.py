"""`python -m hf_unlearn` is the command line."""

from hf_unlearn.cli import main

main()
