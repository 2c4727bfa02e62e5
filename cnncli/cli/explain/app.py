"""`cnncli explain ...`: the commands of the group."""

from cnncli.cli.explain.cam import cam
from cnncli.cli.pages import PageCommand, new_app

app = new_app(
    help="Look inside a network: what its layers look for, and why it answers as it does.", no_args_is_help=True
)
for name, command in {
    "cam": cam,
}.items():
    app.command(name, cls=PageCommand)(command)
