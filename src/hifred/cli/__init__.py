"""The command line: the same verbs as the library, one module each."""

from hifred.cli.app import app, main
from hifred.cli.demo import demo
from hifred.cli.fuse import fuse
from hifred.cli.info import info

# In the order of the table of contents that `hifred --help` shows.
for verb in (demo, fuse, info):
    app.command()(verb)

__all__ = ["app", "main"]
