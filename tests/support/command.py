"""The command line within the process of the tests: what it says and how it ends, without a start of Python."""

from click.testing import CliRunner, Result

from monitor.cli.main import main


def here(*arguments: str) -> Result:
    """A command that ends by itself."""
    return CliRunner().invoke(main, arguments)
