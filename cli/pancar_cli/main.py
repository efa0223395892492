"""The `pancar` command: wiring of its subcommands, nothing else."""

import typer

from pancar_cli import plan, token, up, why
from pancar_cli.bench import command as bench
from pancar_cli.demo import command as demo

app = typer.Typer(
    name="pancar",
    help="Camera manifests in, live pictures out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command("up")(up.command)
app.command("plan")(plan.command)
app.command("why")(why.command)
app.command("token")(token.command)
app.command("demo")(demo.command)
app.command("bench")(bench.command)
