"""The past on the screen: a snapshot of another moment, made of the journal and of the containers' own records.

It has the shape of any snapshot, so every screen shows it; it is read-only, so nothing can be done to it by mistake.
What was not recorded is said to be unknown, never shown as it is now.
"""

from __future__ import annotations

from pyctr.core import errors, heaviest, history, hostrecord, pastevents, ring
from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.tui import format as f
from pyctr.tui.containerlist import measured
from pyctr.tui.pasthost import Then
from pyctr.tui.pastward import ward
from pyctr.tui.snapshot import ContainerRow, Detail, HostRow, Snapshot, figures
from pyctr.tui.sources import Scene
from pyctr.tui.widgets.sparkline import buckets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyctr.core.cgroupstats import Rates
    from pyctr.core.engine import Engine
    from pyctr.core.events import Event
    from pyctr.core.history import Moment
    from pyctr.tui.containerlist import Known
    from pyctr.tui.others import Stranger
    from pyctr.tui.snapshot import Focus

REFUSAL = "this is the past: T goes back to now"
UNRECORDED = "what it was then is not recorded: T goes back to now"
TABS = ("overview", "logs", "processes", "events")
"""Of which the past is known."""
_OTHERS = ("overview", "processes")
"""Likewise of other engines' containers."""
LOG_LINES = 500
_BACK = 1300.0
"""Seconds before a moment in which a container's last record is looked for: two of the coarsest tier."""
_METRICS = ("cpu", "memory", "net_rx", "net_tx", "io_read", "io_write")


class Past:
    """Made when somebody leaves the present, thrown away when he is back: it reads the journal once."""

    def __init__(self, engine: Engine, bounds: Thresholds = USUAL) -> None:
        self._engine = engine
        self._bounds = bounds
        self._rates: dict[str, Rates] = {}
        """Of those that lived at the moment of `_rows`."""
        self._then: dict[str, pastevents.Then] = {}
        self._events: list[Event] = []
        try:
            self._events = list(engine.events.read())
        except OSError:
            pass  # not ours to read: then what the records say is all there is
        self._places: dict[str, str] = {}
        """Rings of those that are not ours."""
        self._rows: tuple[float, tuple[ContainerRow, ...]] = (0.0, ())
        self._host: Then | None = None

    def look(
        self, at: float, focus: Focus, known: Mapping[str, Known], strangers: Mapping[str, Stranger], host: HostRow
    ) -> Snapshot:
        """Everything at a moment, seconds since the epoch. Other engines' containers are there as far as `pyctr record`
        has written of those that are there now."""
        if self._rows[0] != at:
            self._places = {
                key: hostrecord.place(self._engine.paths, one.container.group)
                for key, one in strangers.items()
                if one.container.group
            }
            self._rates = {}
            self._rows = (at, (*self._all(at, known), *self._others(at, strangers)))
        rows = self._rows[1]
        if self._host is None or self._host.at != at:
            self._host = Then(self._engine.paths, host.name, at)
        then = self._host
        return Snapshot(
            time=at,
            # charts compare their points with this clock alone
            monotonic=at,
            containers=rows,
            host=then.row,
            detail=self._detail(at, focus, known),
            read_only=REFUSAL,
            good_at=at,
            scenes={name: self._scene(name, then) for name in focus.sources},
            past=at,
        )

    def _scene(self, name: str, then: Then) -> Scene:
        document: object = None
        if name == "machine":
            document = then.machine()
        elif name == "triage":
            document = ward(then.at, self._rows[1], self._rates, self._then, self._events, then.row, self._bounds)
        return Scene(document, taken_at=then.at) if document is not None else Scene(error=UNRECORDED)

    def _all(self, at: float, known: Mapping[str, Known]) -> list[ContainerRow]:
        there, absent = pastevents.at(self._events, at)
        self._then = there
        rows = []
        for id in there.keys() | known.keys():
            one = known.get(id)
            if one is not None and id not in there and (id in absent or one.container.state.created_at > at):
                continue  # made later
            moments = self._moments(id, at - 75.0, at) or self._moments(id, at - _BACK, at)
            rows.append(self._remembered(at, _row(at, id, there.get(id), one, moments), moments))
        return rows

    def _remembered(self, at: float, row: ContainerRow, moments: list[Moment]) -> ContainerRow:
        if row.live and _recent(moments, at):
            self._rates[row.id] = moments[-1].rates
        return row

    def _others(self, at: float, strangers: Mapping[str, Stranger]) -> list[ContainerRow]:
        rows = []
        for key in self._places:
            moments = self._moments(key, at - _BACK, at)
            row = self._remembered(at, _row(at, key, None, None, moments), moments)
            if row.live:
                one = strangers[key].container
                rows.append(row._replace(name=one.name, image=one.image, engine=one.engine, pod=one.pod))
        return rows

    def _moments(self, id: str, since: float, until: float) -> list[Moment]:
        try:
            return history.read(self._place(id), since, until)
        except OSError:
            return []

    def _place(self, id: str) -> str:
        """Of its ring."""
        return self._places.get(id) or self._engine.paths.container(id, ring.FILE)

    def _detail(self, at: float, focus: Focus, known: Mapping[str, Known]) -> Detail | None:
        id, tab = focus.selected, focus.tab
        if not tab or not id:
            return None
        if tab not in (_OTHERS if id in self._places else TABS):
            return Detail(id, tab, None, {}, UNRECORDED)
        document: object = None
        series: dict[str, tuple[tuple[float, float], ...]] = {}
        problem = ""
        try:
            if tab == "overview":
                document = {}
                series = self._series(id, at, focus.span)
            elif tab == "logs":
                document = self._log(id, at)
            elif tab == "processes":
                document = heaviest.at(f"{self._place(id).removesuffix(ring.FILE)}{heaviest.FILE}", at)
                problem = "" if document is not None else UNRECORDED
            elif (one := known.get(id)) is not None:
                from pyctr.tui.details import events

                found = events.collect(self._engine, one.container, None)
                assert isinstance(found, events.Happened)
                begun = float(found.birth.get("started_at") or 0.0) <= at
                document = events.Happened(
                    found.birth if begun else {}, tuple(event for event in found.events if event[0] <= at)
                )
        except (OSError, errors.PyctrError) as error:
            problem = f.reason(error)
        return Detail(id, tab, document, series, problem, at, focus.span)

    def _series(self, id: str, at: float, span: float) -> dict[str, tuple[tuple[float, float], ...]]:
        series: dict[str, list[tuple[float, float]]] = {metric: [] for metric in _METRICS}
        for moment in self._moments(id, at - span, at):
            values = measured(moment.rates)
            for metric in _METRICS:
                value = values[metric]
                if value is not None:
                    series[metric].append((moment.time, value))
        return {metric: tuple(points) for metric, points in series.items()}

    def _log(self, id: str, at: float) -> list[tuple[str, str]]:
        """(stream, line) of what it had written by then."""
        from pyctr.core import logreading
        from pyctr.tui.logfollow import readable

        path = self._engine.paths.container(id, "log", "ctr.log")
        return [
            (stream, readable(raw)) for _, stream, raw in logreading.read(path, tail=LOG_LINES, until=int(at * 1e9))
        ]


def _recent(moments: list[Moment], at: float) -> bool:
    """Whether what was recorded last is of that moment."""
    if not moments:
        return False
    step = moments[-1].rates.interval or float(ring.TIERS[0][0])
    return at - moments[-1].time <= history.PATIENCE * step


def _row(at: float, id: str, then: pastevents.Then | None, known: Known | None, moments: list[Moment]) -> ContainerRow:
    state = known.container.state if known is not None else None
    last = moments[-1] if moments else None
    recent = _recent(moments, at)
    status = then.status if then is not None else "running" if recent else "stopped"
    live = status in ("running", "paused")
    got = last.rates if last is not None and recent and live else None
    memory = measured(got)["memory"] if got is not None else None
    limit = got.memory_limit if got is not None else None
    points = [(moment.time, moment.rates.cpu_percent) for moment in moments if moment.rates.cpu_percent is not None]
    return ContainerRow(
        id=id,
        name=(then.name if then is not None else "") or (state.name if state is not None else id[:12]),
        image=(then.image if then is not None else "") or (known.image if known is not None else ""),
        status=status,
        command=" ".join(" ".join(state.command).split()) if state is not None else "",
        created_at=state.created_at if state is not None else 0.0,
        started_at=then.started if then is not None else 0.0,
        finished_at=then.finished if then is not None and not live else 0.0,
        ran=then.finished - then.started if then is not None and not live and then.finished > then.started else None,
        exit_code=then.code if then is not None and not live else None,
        oom_killed=then is not None and not live and then.oom_killed,
        wanted=then.wanted if then is not None else "",
        restarts=then.restarts if then is not None else 0,
        restart_policy=known.container.spec.restart if known is not None else "no",
        cpu_limit=got.cpu_percent / got.cpu_percent_of_limit
        if got and got.cpu_percent and got.cpu_percent_of_limit
        else None,
        **figures(got, memory, limit),
        spark=buckets(points, at, 8) if live else (),
    )


def log_lines(document: object, width: int) -> list[f.Line]:
    """The log as it was, the newest line last."""
    if not isinstance(document, list) or not document:
        return [(("it had written nothing by then", "faint"),)]
    return [((f.cut(text, width), "stream.err" if stream == "stderr" else "text"),) for stream, text in document]
