"""Names of containers: what they may look like, who has one, and made-up ones for who gives none.

A name is taken by one symlink(2), `<root>/names/<name>` -> id, which the kernel lets only one process make.
"""

from __future__ import annotations

import os

from pyctr.core import errors, fsutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.paths import Paths

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_ALLOWED = _LETTERS | frozenset("_.-")

_FIRST = (
    "amber brisk calm clever cosy crisp daring deft eager early fair fleet fond gentle glad golden hardy honest "
    "humble jolly keen kind lively loyal lucid mellow merry mild neat nimble noble patient placid plucky polite proud "
    "quick quiet rapid ready robust rosy serene sharp shy silent sleek smart snug sober solid spry stable steady sunny "
    "swift tidy tranquil upbeat vivid warm wise witty zesty"
)
_SECOND = (
    "alder anchor aspen badger barge beacon beaver birch bison brook canyon cedar comet condor coral crane delta dingo "
    "dolphin dune egret falcon fern finch fjord gannet glacier grove harbor heron ibis island jackal juniper kestrel "
    "lagoon lantern larch lemur linden lynx magpie maple marlin marten meadow mesa moose narwhal nebula oak orca "
    "osprey otter owl panda pebble pelican pine plover puffin quail quartz raven reef river robin rowan salmon "
    "sparrow spruce summit tapir thistle tundra walrus willow wombat wren yak"
)


def check(name: str) -> None:
    """Raise UsageError for what cannot be a name."""
    if len(name) < 2 or len(name) > 200 or name[0] not in _LETTERS or not _ALLOWED.issuperset(name):
        raise errors.UsageError(
            f"bad container name '{name}'", hint="two or more of a-z A-Z 0-9 _ . - and a letter or digit first"
        )


def random(attempt: int = 0) -> str:
    """Two words, about five thousand pairs, so that a clash is rare; from the third attempt on a number, too."""
    first, second = _FIRST.split(), _SECOND.split()
    number = int.from_bytes(os.urandom(6), "big")
    name = f"{first[number % len(first)]}_{second[number // len(first) % len(second)]}"
    return f"{name}_{number >> 32}" if attempt > 2 else name


def claim(paths: Paths, name: str, id: str) -> None:
    """Make `name` belong to `id`. Raises Conflict naming who has it, UsageError."""
    check(name)
    path = f"{paths.names}/{name}"
    while True:
        try:
            os.symlink(id, path)
            return
        except FileNotFoundError:
            fsutil.make_private_directory(paths.names)
        except FileExistsError:
            try:
                owner = os.readlink(path)
            except FileNotFoundError:
                continue  # freed just now
            if owner == id:
                return
            if os.path.isdir(paths.container(owner)):
                raise errors.Conflict(
                    f"the name '{name}' belongs to container '{owner[:12]}'",
                    hint=f"choose another, or 'pyctr rm {name}' first",
                ) from None
            release(paths, name, owner)  # its container was removed by a pyctr that died before this last step


def release(paths: Paths, name: str, id: str) -> None:
    """Free the name if it still belongs to `id`."""
    path = f"{paths.names}/{name}"
    try:
        if os.readlink(path) == id:
            os.unlink(path)
    except FileNotFoundError:
        pass  # freed before
