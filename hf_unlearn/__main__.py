"""`python -m hf_unlearn` is the command line."""

from hf_unlearn.cli.main import main

main()
