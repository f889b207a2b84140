"""The command line: the same verbs as the library, one module each."""

from hifred.cli.app import app, main
from hifred.cli.compare import compare
from hifred.cli.demo import demo
from hifred.cli.fuse import fuse
from hifred.cli.info import info
from hifred.cli.init import init
from hifred.cli.reduce import reduce
from hifred.cli.report import report
from hifred.cli.simulate import simulate

# In the order of the table of contents that `hifred --help` shows.
for verb in (demo, simulate, init, reduce, fuse, report, compare, info):
    app.command()(verb)

__all__ = ["app", "main"]
