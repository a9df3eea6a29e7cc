"""The subcommands of `nightshift`: one module a family, each with `register(subparsers)`.

They import nothing heavy before they run, so that `nightshift --help` answers at once.
"""
