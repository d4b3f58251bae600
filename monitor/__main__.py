"""`python -m monitor`: the command line, without its entry point."""

from monitor.cli.main import main

main(prog_name="driftd")
