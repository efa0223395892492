"""`python -m pancar_cli`: the `pancar` command where its script is not on the path."""

from pancar_cli.main import app

app(prog_name="pancar")
