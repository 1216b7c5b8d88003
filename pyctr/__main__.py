"""Where the commands begin: bytecode first, then the rest. `python -m pyctr` is the `pyctr` command."""

import gc
import sys

# no verb makes much garbage, and what is imported would be looked through again and again
gc.set_threshold(100_000)

from pyctr.core import bytecode  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec


def command() -> int:
    bytecode.guess("pyctr")
    from pyctr.cli.main import main

    return main()


def runtime() -> int:
    bytecode.guess("runtime")
    bytecode.at_once(0)
    from pyctr.cli.runtime import main

    return main()


class LateSite:
    """For an interpreter started with -S: `site` when something is imported that is neither ours nor Python's own.

    It takes 2 to 4 ms to find out which packages are installed; no verb that starts a container needs any.
    """

    def find_spec(self, name: str, path: "Sequence[str] | None" = None, target: object = None) -> "ModuleSpec | None":
        if path is not None:
            return None  # part of a package that was found already
        sys.meta_path.remove(self)
        import site
        from importlib.machinery import PathFinder

        site.main()
        return PathFinder.find_spec(name)


def without_site(name: str) -> int:
    """The command `name` in an interpreter started with -S (tools/scripts.py)."""
    sys.meta_path.append(LateSite())
    return runtime() if name.startswith("pyctr-runtime") else command()


if __name__ == "__main__":
    sys.exit(command())
