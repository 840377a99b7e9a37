"""`intsim attacks`: the attacks of the catalogue, what each does and what it costs."""

import click
import msgspec

from intsim.cli import options
from intsim.cli.console import Out, finish, line, table


@click.command(epilog="Example: intsim attacks pgd apgd_ce")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@options.spoken
def attacks(names: tuple[str, ...], out: Out) -> None:
    """The attacks, what each does, and how many gradients and questions an image costs at most.

    Beside those of the catalogue, `intsim attack --attack` takes MODULE:NAME (a function of your own), FILE.npz (images
    "x" that were made elsewhere) and art:NAME,KEY=VALUE... (an attack of the Adversarial Robustness Toolbox).
    """
    from intsim.attack.catalogue import ATTACKS, find

    chosen = [find(name) for name in names] or list(ATTACKS.values())
    rows = [(attack.name, attack.described, attack.gradients, attack.queries, attack.chip_queries) for attack in chosen]
    columns = ("name", "what it does", "gradients", "queries", "of the chip")
    table(out, columns, rows, right=columns[2:])
    line(out, 'Others: MODULE:NAME, a function of your own; FILE.npz, images "x"; art:NAME,KEY=VALUE..., of ART')
    costs = ("gradients", "queries", "chip_queries")
    listed = [{**msgspec.structs.asdict(one), **{cost: getattr(one, cost) for cost in costs}} for one in chosen]
    finish(out, "attacks", {"attacks": listed})
