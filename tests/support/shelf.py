"""A few images with layers that have something to show, for the images screen: the same bytes in every run."""

from __future__ import annotations

from pyctr.core.engine import Engine
from pyctr.core.images.model import Image
from tests.support.images import Member, image, member, symlink

STEPS = (
    "/bin/sh -c #(nop) ADD file:2f21 in / ",
    "RUN /bin/sh -c apt-get install -y python3 && rm -rf /var/lib/apt/lists/* # buildkit",
    "RUN /bin/sh -c pip install -r requirements.txt # buildkit",
    "COPY . /app # buildkit",
)
SITE = "usr/lib/python3/site-packages"


def directories(path: str) -> list[Member]:
    """A directory and all above it."""
    words = path.split("/")
    return [member("/".join(words[: number + 1]) + "/") for number in range(len(words))]


def stocked(engine: Engine) -> list[Image]:
    """debian, python on it, and two versions of a program on that, all unpacked."""
    base = [
        *directories("etc"),
        member("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        member("etc/motd", "welcome to \x1b[1mdebian\x1b[0m\n"),
        *directories("bin"),
        *(member(f"bin/tool-{number:02}", "#" * 3000) for number in range(40)),
        *directories("usr/share/doc"),
        member("usr/share/doc/copyright", "c" * 90_000),
    ]
    python = [
        *directories("usr/lib/python3"),
        *(member(f"usr/lib/python3/module{number}.py", "p" * 5000) for number in range(12)),
        *directories("usr/share"),
        member("usr/share/.wh.doc"),
    ]
    pip = [
        *directories(f"{SITE}/numpy"),
        member(f"{SITE}/numpy/core.so", "\x7fELF\x00" + "n" * 300_000),
        *directories(f"{SITE}/pandas"),
        *(member(f"{SITE}/pandas/part{number}.py", "q" * 2000) for number in range(6)),
        *directories("etc"),
        member("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/app:/bin/false\n"),
    ]
    old = [
        *directories("app"),
        member("app/main.py", "import this\nprint('hello')\n"),
        symlink("app/run", "main.py"),
        *directories(f"{SITE}/pandas"),
        member(f"{SITE}/pandas/.wh.part0.py"),
        *directories("etc"),
        member("etc/.wh.motd"),
    ]
    new = [
        *directories("app"),
        member("app/main.py", "import that\nprint('hello, world')\n"),
        member("app/VERSION", "2.5\n"),
    ]
    made = []
    for name, layers, settings in (
        ("acme/api:2.4", [base, python, pip, old], {"Env": ["PATH=/bin", "DEBUG=1"], "Cmd": ["/app/run"]}),
        ("acme/api:2.5", [base, python, pip, new], {"Env": ["PATH=/app:/bin"], "Cmd": ["/app/main.py"]}),
        ("python:3.12-slim", [base, python], {}),
        ("debian:12", [base], {}),
    ):
        history: list[dict[str, object]] = [{"created_by": text} for text in STEPS[: len(layers)]]
        found = image(engine.images, name, layers, config=dict(settings), history=history)
        engine.layers.ensure(found)
        made.append(found)
    return made
