"""`intsim demo`: the main job on the network and the images that ship."""

from pathlib import Path

import click
import msgspec

from intsim.cli import options
from intsim.cli.console import Out, compiling, finish, line, notice, progress
from intsim.cli.outcome import show


@click.command(epilog="Example: intsim demo --quick --out demo")
@click.option("--out", "folder", default="demo", metavar="DIR", help="For results.json, report.html, examples.npz.")
@click.option("--quick", is_flag=True, help="Fewer images, bit widths and machines.")
@click.option("--seed", type=int, default=0, metavar="S", help="Of random starts and noise (default: 0).")
@options.spoken
def demo(folder: str, quick: bool, seed: int, out: Out) -> None:
    """Attack the embedded network in floats, and see what its integer versions make of it.

    Bit widths, machines, accumulators; tables here, results.json and report.html in DIR.
    """
    from intsim.demo import run

    notice(out, f"about {'half a minute' if quick else '3 minutes'} on 2 cores")
    with compiling(out), progress(out, "demo") as advance:
        found = run(folder, quick=quick, seed=seed, progress=lambda what, done, of: advance(done, what, of))
    show(out, found)
    line(out, f"results: {Path(folder) / 'results.json'}")
    line(out, f"report:  {Path(folder) / 'report.html'}")
    finish(out, "demo", msgspec.structs.asdict(found))
