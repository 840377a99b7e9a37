"""The command line: the verbs, and how what goes wrong is said: one line, and an exit status."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from intsim import __version__
from intsim.cli import (
    attack,
    attacks,
    bench,
    certify,
    compare,
    demo,
    diff,
    inspect,
    quantize,
    report,
    run,
    sweep,
    targets,
    vectors,
)
from intsim.errors import IntsimError

DONE, EXCEEDED, BAD_INPUT, BUG, INTERRUPTED, CLOSED = 0, 1, 2, 3, 130, 141

EPILOG = """Every verb has --json FILE and --quiet, and --help with an example that works. MODEL is an .onnx, .tflite or
.intsim file, or one of the networks that ship: mlp, lenet5, cnn, resnet8, dscnn. Where images are wanted, "fashion"
means those that ship. Exit status: 0 done, 1 a threshold that you set was exceeded, 2 bad input, 3 a bug of ours."""


@click.group(epilog=EPILOG, context_settings={"max_content_width": 110})
@click.version_option(__version__, message="intsim %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback where intsim itself is at fault.")
@click.pass_obj
def group(settings: dict[str, Any], debug: bool) -> None:
    """Run a trained network exactly as an edge chip would, in integers, and see what an attacker gains by that."""
    settings["debug"] = debug


for _verb in (
    demo.demo,
    targets.targets,
    inspect.inspect,
    quantize.quantize,
    run.run,
    compare.compare,
    vectors.vectors,
    attack.attack,
    attacks.attacks,
    certify.certify,
    sweep.sweep,
    sweep.status,
    sweep.export,
    report.report,
    diff.diff,
    bench.bench,
    bench.warmup,
):
    group.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of `intsim ARGUMENTS`; what went wrong stands in one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        given = ["--help"]
    sys.path.append(os.getcwd())  # MODULE:NAME may stand in the folder where the command is given
    settings: dict[str, Any] = {"debug": False, "command": ["intsim", *given]}
    try:
        with group.make_context("intsim", given, obj=settings) as context:
            status = group.invoke(context)
            sys.stdout.flush()
            return int(status or DONE)
    except click.exceptions.Exit as end:
        return end.exit_code
    except IntsimError as error:
        return _said(str(error), BAD_INPUT)
    except click.ClickException as error:
        return _said(usage(error), BAD_INPUT)
    except MemoryError:
        return _said("not enough memory: give fewer images at a time", BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        return _said("interrupted: what was finished before is complete, nothing else was written", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except Exception as error:
        if settings["debug"]:
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = (str(error).splitlines() or [""])[0][:200]
        what = f"{type(error).__name__}: {said} ({os.path.basename(place.filename)}:{place.lineno})"
        return _said(f"this is a bug: {what}: see it with intsim --debug ..., and please report it", BUG)


def usage(error: click.ClickException) -> str:
    """What click has to say about the words on the command line, in our form."""
    context = getattr(error, "ctx", None)
    verb = context.info_name if context is not None and context.parent is not None else ""
    what = error.format_message().rstrip(".")
    mend = f"see {context.command_path} --help" if context is not None else ""
    return ": ".join(part for part in (verb, what[:1].lower() + what[1:], mend) if part)


def _said(text: str, status: int) -> int:
    click.echo(f"intsim: {' '.join(text.split())}", err=True)
    return status
