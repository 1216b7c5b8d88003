"""One stage, instruction by instruction: from FROM to the state that its last instruction leaves."""

from __future__ import annotations

import os

from pyctr.core.build import cache, config, expand, mounts, runstep
from pyctr.core.build.context import Context
from pyctr.core.build.copying import Copy, CopyJob
from pyctr.core.build.dockerfile import trigger
from pyctr.core.build.progress import BEGIN, CACHED, DONE, FAILED, NOTE, OUTPUT, Event
from pyctr.core.build.rootfs import Rootfs
from pyctr.core.build.source import at, failure, short
from pyctr.core.build.stages import PREDEFINED, SCRATCH, declare, replaced
from pyctr.core.build.state import State
from pyctr.core.errors import NetworkError, PyctrError, from_oserror
from pyctr.core.files import writing
from pyctr.core.images.model import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.build.build import Build
    from pyctr.core.build.dockerfile import Heredoc, Instruction
    from pyctr.core.build.source import Place
    from pyctr.core.build.stages import Stage
    from pyctr.core.build.state import Layer

_TAIL = 20
"""Lines of output that an error shows."""
_WORKING = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})
"""Instructions that may make a layer, and are worth a line of progress."""
_NETWORKS = {"": "", "default": "", "none": "none", "host": "host"}


class Executor:
    """The work on one stage, in a thread of its own."""

    def __init__(self, build: Build, stage: Stage) -> None:
        self.build = build
        self.stage = stage
        self.escape = build.file.escape
        self.scope: dict[str, str] = {}
        """ARGs of this stage."""
        self.own: set[str] = set()
        self.state = State.scratch(build.platform)
        self._time = build.now
        """When the last layer was made: what only changes the configuration is dated like it, so that a build that is
        cached all through makes the same image again."""
        self._step = 0
        self._number = 0
        self._count = 1 + sum(1 for one in stage.instructions if one.name in _WORKING)
        self._tail: list[str] = []

    def run(self) -> State:
        """Raises BuildFailure at the instruction that failed, Cancelled."""
        triggers = self._from()
        for one in [*triggers, *self.stage.instructions]:
            self.build.stop.check()
            try:
                self._do(one)
            except PyctrError as error:
                self._tell(FAILED)
                raise at(one.place, error) from error
            except OSError as error:
                self._tell(FAILED)
                raise at(one.place, from_oserror(error, "making the layer")) from error
        self.state.created = self._time
        return self.state

    # FROM

    def _from(self) -> list[Instruction]:
        stage, place = self.stage, self.stage.place
        self._begin(place.text)
        try:
            if stage.parent >= 0:
                self.state = self.build.result(stage.parent).copy()
            elif stage.base != SCRATCH:
                self.state = self.build.base(stage.base, stage.platform)
            elif stage.platform:
                self.state = State.scratch(self.build.parsed_platform(stage.platform))
        except PyctrError as error:
            self._tell(FAILED)
            raise at(place, error) from error
        self._tell(DONE)
        if self.state.created and self.build.epoch is None:
            self._time = self.state.created
        texts = self.state.config.pop("OnBuild", None) or []
        triggers = [trigger(text, place) for text in texts]
        self._count += sum(1 for one in triggers if one.name in _WORKING)
        return triggers

    # everything else

    @property
    def variables(self) -> dict[str, str]:
        return {**self.scope, **self.state.env}

    def _do(self, one: Instruction) -> None:
        if one.name in _WORKING:
            self._begin(one.place.text)
        if one.name == "ARG":
            self.build.used |= set(
                declare(
                    _Scope(self.scope, self.state.env), one, self.build.arguments, self.build.graph.globals, self.escape
                )
            )
            return
        if one.name == "RUN":
            self._run(one)
        elif one.name in ("COPY", "ADD"):
            self._copy(one)
        else:
            told = config.apply(self.state.config, one, self.variables, self.escape, self.own)
            if one.name == "MAINTAINER":
                self.state.author = one.text
            if one.name == "WORKDIR":
                self._workdir(told)
            else:
                self._history(told, empty=True)

    def _workdir(self, told: str) -> None:
        """The directory is made where it is not there."""
        path, build = self.state.config["WorkingDir"], self.build
        key = cache.key("workdir", self.state.files, path, build.epoch)
        if self._cached(key):
            self._history(told)
            return
        with Rootfs(build.engine, self.state, build.scratch()) as files:
            try:
                made = _make_directory(files.fd, path)
            except OSError as error:
                raise from_oserror(error, f"making '{path}'") from error
            layer = files.layer(build.engine.images.blobs, build.epoch) if made else None
        if layer is not None:
            self._keep(key, layer, told)
        self._tell(DONE)
        self._history(told, empty=layer is None)

    def _copy(self, one: Instruction) -> None:
        build = self.build
        words, documents = self._words(one)
        if len(words) + len(documents) < 2:
            raise failure(one.place, f"{one.name} needs a source and a destination")
        flags = {name: self._expanded(one, one.flag(name)) for name in ("chown", "chmod", "checksum")}
        link = one.switch("link")
        copy = Copy(
            words[:-1],
            words[-1],
            add=one.name == "ADD",
            workdir=self.state.config.get("WorkingDir") or "/",
            exclude=[self._expanded(one, value) for value in one.all("exclude")],
            parents=one.switch("parents"),
            link=link,
            unpack=one.switch("unpack") if dict(one.flags).get("unpack") is not None else None,
            heredocs=documents,
            **flags,
        )
        with (
            build.context_of(self._expanded(one, one.flag("from"))) as context,
            CopyJob(copy, context, build.scratch_directory() if one.name == "ADD" else "") as job,
        ):
            for word in job.unmatched:
                self._tell(NOTE, f"{one.place}: '{word}' matches nothing")
            facts = [one.name, job.digest(), copy.destination, copy.target, flags, one.flags, build.epoch]
            below = "" if link and not _names(flags["chown"]) else self.state.files
            key = cache.key("copy", *facts, below)
            if not self._cached(key):
                self._keep(key, self._copied(job, link), one.place.text)
                self._tell(DONE)
        self._history(one.place.text.split("\n")[0])

    def _copied(self, job: CopyJob, link: bool) -> Layer:
        build = self.build
        with Rootfs(build.engine, self.state, build.scratch()) as files:
            if not link:
                job.write(files.fd)
                return files.layer(build.engine.images.blobs, build.epoch)
            with Rootfs(build.engine, State(self.state.platform), build.scratch()) as alone:
                job.write(alone.fd, files.fd)
                return alone.layer(build.engine.images.blobs, build.epoch)

    def _words(self, one: Instruction) -> tuple[list[str], list[tuple[str, bytes]]]:
        """(words, heredocs) of COPY and ADD, expanded; a word that names a heredoc is that."""
        named = {document.name: document for document in one.heredocs}
        words, documents = [], []
        for word in one.words if one.words is not None else one.text.split():
            name = word.lstrip("0123456789").removeprefix("<<").removeprefix("-").strip("'\"")
            if "<<" in word[:3] and name in named:
                documents.append((name, self._document(one, named[name])))
            else:
                words.append(self._expanded(one, word))
        return words, documents

    def _document(self, one: Instruction, heredoc: Heredoc) -> bytes:
        text = heredoc.text
        if heredoc.expand:
            try:
                text = expand.raw(text, self.variables, self.escape)
            except expand.BadWord as error:
                raise failure(one.place, str(error)) from None
        return text.encode("utf-8", "surrogateescape")

    # RUN

    def _run(self, one: Instruction) -> None:
        build, state = self.build, self.state
        script, argv = _command(one, config.shell(state.config))
        wishes = [self._wish(one, text) for text in one.all("mount")]
        network = _NETWORKS.get(one.flag("network"))
        if network is None:
            raise failure(one.place, f"--network: no '{one.flag('network')}'", hint="default, none or host")
        if one.flag("security", "sandbox") != "sandbox" or one.flag("device"):
            raise failure(one.place, "RUN gets no more rights than a container", hint="drop --security and --device")
        given = {name: value for name, value in self.scope.items() if name not in state.env}
        proxies = {name: value for name, value in build.arguments.items() if name in PREDEFINED and name not in given}
        own = [f"{name}={value}" for name, value in sorted(given.items()) if name not in PREDEFINED]
        with mounts.Mounts(build.scratch(), build.caches, build.run_directory) as made:
            binds = self._sources(one, wishes)
            try:
                facts: list[Any] = [
                    argv,
                    script,
                    own,
                    [wish.fact for wish in wishes],
                    [job.digest() for _, job in binds],
                ]
                members = [state.config.get(name) for name in ("Env", "User", "WorkingDir")]
                key = cache.key("run", state.files, members, one.flag("network"), build.epoch, *facts)
                if not self._cached(key):
                    self._provide(one, made, wishes, binds, script)
                    env = [*own, *(f"{name}={value}" for name, value in proxies.items()), *made.env]
                    layer = self._executed(one, argv, env, network or build.network, made)
                    self._keep(key, layer, one.place.text)
                    self._tell(DONE)
            finally:
                for context, job in binds:
                    job.close()
                    context.__exit__(None, None, None)
        prefix = f"|{len(own)} {' '.join(own)} " if own else ""
        self._history(f"RUN {prefix}{' '.join(argv)}")

    def _executed(self, one: Instruction, argv: list[str], env: list[str], network: str, made: mounts.Mounts) -> Layer:
        build = self.build
        self._tail = [""]
        try:
            return runstep.run(
                build.engine,
                self.state,
                argv,
                env=env,
                network=network,
                mounts=made,
                output=self._output,
                stop=build.stop,
                latest=build.epoch,
                add_hosts=build.add_hosts,
            )
        except runstep.ExitedWith as end:
            lines = [line for line in self._tail if line][-_TAIL:]
            raise failure(one.place, str(end), tail=lines) from None
        except NetworkError as error:
            raise failure(one.place, error.message, hint=error.hint or "RUN --network=none needs none") from error

    def _wish(self, one: Instruction, text: str) -> mounts.Wish:
        workdir = self.state.config.get("WorkingDir") or "/"
        return mounts.parse(self._expanded(one, text), one.place, lambda target: mounts.absolute(workdir, target))

    def _sources(self, one: Instruction, wishes: list[mounts.Wish]) -> list[tuple[Any, CopyJob]]:
        """What bind mounts show, and what caches begin with: found now, copied only if RUN is executed."""
        found: list[tuple[Any, CopyJob]] = []
        for wish in wishes:
            if wish.kind == "bind" or (wish.kind == "cache" and wish.stage):
                holder = self.build.context_of(wish.stage)
                context: Context = holder.__enter__()
                try:
                    found.append((holder, CopyJob(Copy([wish.source or "/"], "/content"), context)))
                except BaseException:
                    holder.__exit__(None, None, None)
                    for other, job in found:
                        job.close()
                        other.__exit__(None, None, None)
                    raise
        return found

    def _provide(
        self,
        one: Instruction,
        made: mounts.Mounts,
        wishes: list[mounts.Wish],
        binds: list[tuple[Any, CopyJob]],
        script: tuple[str, str] | None,
    ) -> None:
        jobs = iter(binds)
        for wish in wishes:
            if wish.kind == "bind":
                directory = self.build.scratch_directory()
                _write(next(jobs)[1], directory)
                made.bind(wish, os.open(f"{directory}/content", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC))
            elif wish.kind == "cache":
                made.cache(wish, _filler(next(jobs)[1]) if wish.stage else None)
            elif wish.kind == "tmpfs":
                made.tmpfs(wish)
            elif wish.kind == "secret":
                self._secret(one.place, made, wish)
            else:
                self._ssh(one.place, made, wish)
        if script is not None:
            made.file(script[0], script[1].encode("utf-8", "surrogateescape"), 0o755)

    def _secret(self, place: Place, made: mounts.Mounts, wish: mounts.Wish) -> None:
        try:
            content = mounts.secret(wish.id, self.build.secrets)
        except (OSError, ValueError) as error:
            raise failure(place, f"--secret id={wish.id}: {error}") from error
        if content is not None:
            made.secret(wish, content)
        elif wish.required:
            raise failure(place, f"no secret '{wish.id}'", hint=f"--secret id={wish.id},src=FILE")

    def _ssh(self, place: Place, made: mounts.Mounts, wish: mounts.Wish) -> None:
        socket = self.build.agents.get(wish.id, "")
        if socket:
            try:
                made.ssh(wish, socket)
            except OSError as error:
                raise failure(
                    place, f"--ssh {wish.id}: '{socket}': {(error.strerror or str(error)).lower()}"
                ) from error
        elif wish.required:
            raise failure(place, f"no agent '{wish.id}'", hint=f"--ssh {wish.id}")

    # small things

    def _expanded(self, one: Instruction, text: str) -> str:
        return replaced(one, text, self.variables, self.escape)

    def _cached(self, key: str) -> bool:
        """Take the layer of this step from the cache, if it is there."""
        found = None if self.build.no_cache else self.build.cache.find(key)
        if found is None:
            return False
        layer, self._time = found
        self.state.layers.append(layer)
        self._tell(CACHED)
        return True

    def _keep(self, key: str, layer: Layer, text: str) -> None:
        """A new layer, for this stage and for the next build."""
        self._time = self.build.now
        self.state.layers.append(layer)
        self.build.cache.put(key, layer, self._time, short(text))

    def _history(self, by: str, *, empty: bool = False) -> None:
        step: dict[str, Any] = {"created": rfc3339(self._time), "created_by": by}
        self.state.history.append({**step, "empty_layer": True} if empty else step)

    def _begin(self, text: str) -> None:
        self._number += 1
        self._step = self.build.begin()
        self._tell(BEGIN, short(text, 100), stage=f"{self.stage.title} {self._number}/{self._count}")

    def _output(self, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        self._tail = ("\n".join(self._tail) + text).split("\n")[-_TAIL - 1 :]
        self._tell(OUTPUT, text)

    def _tell(self, what: str, text: str = "", *, stage: str = "") -> None:
        self.build.tell(Event(what, self._step, text, stage))


class _Scope(dict[str, str]):
    """A stage's ARGs to write to; defaults may use its ENVs as well."""

    def __init__(self, scope: dict[str, str], env: dict[str, str]) -> None:
        super().__init__({**scope, **env})
        self._scope = scope

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name, value)
        self._scope[name] = value


def _command(one: Instruction, shell: list[str]) -> tuple[tuple[str, str] | None, list[str]]:
    """(script to be there as (path, text), argument vector) of RUN."""
    if one.words is not None:
        if not one.words:
            raise failure(one.place, "RUN has nothing to run")
        return None, list(one.words)
    if not one.heredocs:
        return None, [*shell, one.text]
    first = one.heredocs[0]
    bare = one.text.removeprefix("<<").removeprefix("-").strip("'\"")
    if len(one.heredocs) == 1 and bare == first.name:
        if first.text.startswith("#!"):
            path = f"/dev/pipes/{os.path.basename(first.name)}"
            return (path, first.text), [path]
        return None, [*shell, first.text]
    # the shell itself reads them
    return None, [*shell, "\n".join([one.text, *(f"{document.content}{document.name}" for document in one.heredocs)])]


def _make_directory(root: int, path: str) -> bool:
    """Whether it was not there."""
    from pyctr.core.linux.inroot import open_in

    try:
        os.close(open_in(root, path, os.O_PATH | os.O_DIRECTORY))
        return False
    except FileNotFoundError:
        os.close(writing.directory_path(root, path, writing.Attributes(0, 0, 0o755, None)))
        return True


def _write(job: CopyJob, directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        job.write(fd)
    finally:
        os.close(fd)


def _filler(job: CopyJob) -> Callable[[str], None]:
    def fill(path: str) -> None:
        _write(job, path)
        # /content is where the job puts a directory
        for name in os.listdir(f"{path}/content"):
            os.rename(f"{path}/content/{name}", f"{path}/{name}")
        os.rmdir(f"{path}/content")

    return fill


def _names(chown: str) -> bool:
    """Does --chown take names, which only the files of the stage know?"""
    return any(part and not part.isdecimal() for part in chown.split(":"))
