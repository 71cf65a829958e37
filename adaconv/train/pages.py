"""Pages and texts that are made from templates."""

from typing import Any

import jinja2


def rendered(package: str, template: str, **values: Any) -> str:
    """Fill in a template that lies beside the modules of a package.

    In a page of HTML a value becomes text, whatever it contains; a value that the template asks
    for and that is not given is an error. ``tojson`` keeps the order of keys.

    Args:
        package: name of the package.
        template: file name of the template.
        **values: what it asks for.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, ""),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.get_template(template).render(values)
