"""Jinja environment of the app's templates, and their compilation to Python modules for the wheel.

``python -m marquee.app.template_environment`` writes the modules next to the templates. Compiling the templates of the
first page would take more processor time in a new process than answering its first request.
"""

from __future__ import annotations

from pathlib import Path

import jinja2

from marquee.app.texts import TEXTS

_HERE = Path(__file__).parent
_SOURCES, _MODULES = _HERE / "templates", _HERE / "compiled_templates"


def create_environment() -> jinja2.Environment:
    """Return the environment: compiled templates where the wheel has them, otherwise their sources."""
    loaders = [jinja2.ModuleLoader(_MODULES)] if _MODULES.is_dir() else []
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*loaders, jinja2.FileSystemLoader(_SOURCES)]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["t"] = TEXTS
    return environment


def compile_templates(target: Path = _MODULES) -> None:
    """Write each template as a Python module to ``target``. Raises ``jinja2.TemplateSyntaxError``."""
    environment = create_environment()
    environment.loader = jinja2.FileSystemLoader(_SOURCES)
    environment.compile_templates(target, zip=None, ignore_errors=False)


if __name__ == "__main__":
    compile_templates()
