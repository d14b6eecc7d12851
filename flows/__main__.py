"""`python -m flows` is the `singalong` command."""

from flows.cli import main

main()
