"""How a command says by its exit code what became of it."""

EXIT_OK = 0
EXIT_SOME_FAILED = 1
"""Some items failed, or something did at the machine or the network: the report or the message says which."""
EXIT_USAGE = 2
"""The input is wrong, or the command."""
EXIT_INTERRUPTED = 130
"""By Ctrl-C or SIGTERM: the same command goes on (128 + SIGINT, as shells count)."""
