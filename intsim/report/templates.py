"""The pages' templates: each extends base.html, which holds what all pages look like."""

from typing import Any

from intsim.errors import IntsimError


def template(name: str, **how: Any) -> Any:
    """The jinja2 template of that file beside this one; `how`: options of its environment.

    Raises IntsimError where jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise IntsimError("jinja2 is not installed", mend="pip install intsim[report]") from None
    loader = jinja2.PackageLoader("intsim.report", "")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, **how).get_template(
        name
    )
