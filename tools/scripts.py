"""The commands of a checkout in an interpreter that does not look for installed packages before it is asked to.

usage: VENV/bin/python tools/scripts.py

pip and uv write `#!.../python` and nothing behind it, so an installed command begins with `site`, 2 to 4 ms of the 20
that `pyctr ps` takes. In a checkout the scripts are ours; `pyctr.__main__.LateSite` finds packages when a verb wants
one. `pyctr-runtime` is the same shell script as everywhere, and leaves most of its work to `pyctr-runtime-python`.
"""

import sys
from pathlib import Path

COMMANDS = ("pyctr", "pyctr-runtime-python")
FRONT = Path(__file__).with_name("pyctr-runtime")
SCRIPT = """\
#!{python} -PS
import sys
sys.path.append({root!r})
from pyctr.__main__ import without_site
sys.exit(without_site({name!r}))
"""


def write(directory: Path, python: Path, root: Path) -> None:
    """The commands in `directory`, for the interpreter `python` and the package below `root`."""
    if len(str(python)) > 120 or any(letter.isspace() for letter in str(python)):
        return  # no such first line: execve(2), "Interpreter scripts"
    texts = {name: SCRIPT.format(python=python, root=str(root), name=name) for name in COMMANDS}
    texts[FRONT.name] = FRONT.read_text()
    for name, text in texts.items():
        made = directory / f".{name}.new"
        made.write_text(text)
        made.chmod(0o755)
        made.rename(directory / name)


if __name__ == "__main__":
    bin = Path(sys.prefix, "bin")
    write(bin, bin / "python", Path(__file__).resolve().parents[1])
