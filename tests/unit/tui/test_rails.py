"""The picture of the network as data: what hangs where, and that it stays there."""

from __future__ import annotations

import pytest

from pyctr.core.netgraph import Counters, Edge, Flow, Graph, Nic, Node, Published, Rail
from pyctr.tui import format as f
from pyctr.tui import rails
from pyctr.tui.format import Glyphs
from pyctr.tui.rails import Picture, layout
from pyctr.tui.sources.networks import Rails
from pyctr.tui.table import Look

LOOK = Look(Glyphs())
COUNTED = Counters(1000, 2000, 10, 20, 0, 0)
UPLINK = Nic("eth0", ("192.0.2.10/24",), "192.0.2.1", True, COUNTED)


def rail(name: str = "bridge", *, internal: bool = False, there: bool = True, net: int = 88) -> Rail:
    return Rail(name, f"br-{name}", f"10.{net}.0.0/24", f"10.{net}.0.1", internal, there, COUNTED)


def node(name: str, status: str = "running", mode: str = "bridge", shares: str = "") -> Node:
    return Node(f"id-{name}", name, status, mode, shares)


def edge(name: str, network: str = "bridge", number: int = 2, counters: Counters | None = COUNTED) -> Edge:
    return Edge(f"id-{name}", network, f"veth{number}", f"10.88.0.{number}/24", "", counters)


def graph(
    nodes: list[Node],
    edges: list[Edge],
    networks: tuple[Rail, ...] = (rail(),),
    ports: tuple[Published, ...] = (),
    nics: tuple[Nic, ...] = (UPLINK,),
) -> Graph:
    return Graph(100.0, networks, tuple(nodes), tuple(edges), ports, nics)


def crowd(number: int) -> Graph:
    names = [f"web-{place:03d}" for place in range(number)]
    return graph([node(name) for name in names], [edge(name, number=place) for place, name in enumerate(names, 2)])


def text(picture: Picture) -> list[str]:
    return [f.plain(line) for line in picture.lines]


def at(picture: Picture, name: str) -> tuple[int, int]:
    """(x, y) of the only place of a name."""
    (spot,) = [spot for spot in picture.spots if spot.id == f"id-{name}"]
    return spot.x, spot.y


def column(lines: list[str], x: int, y: int) -> str:
    return lines[y][x] if x < len(lines[y]) else " "


def test_a_container_hangs_below_its_rail_with_its_link_its_name_and_its_address() -> None:
    picture = layout(Rails(graph([node("api")], [edge("api", number=7)])), 100, LOOK)
    lines = text(picture)
    x, y = at(picture, "api")
    assert lines[y][x:] == "● api"
    assert lines[y + 1][x:].strip().startswith("10.88.0.7")
    assert column(lines, x, y - 1) == "│" and column(lines, x, y - 2) == "╤"
    assert " bridge " in lines[y - 2]


def test_changed_numbers_move_nothing() -> None:
    shape = crowd(23)
    shape = shape._replace(ports=(Published("id-web-001", "web-001", "bridge", "", 8080, "tcp", "10.88.0.3", 80),))

    def drawn(rate: float) -> tuple[list[str], tuple[rails.Spot, ...]]:
        flows = {("edge", one.id): Flow(rate, rate / 3, 0, 0) for one in shape.edges}
        flows |= {("network", "bridge"): Flow(rate * 9, rate, 0, 0), ("nic", "eth0"): Flow(rate, rate, 0, 0)}
        picture = layout(Rails(shape, flows), 120, LOOK)
        return [
            "".join("#" if char in "0123456789.kMGTPE-↓↑" else char for char in line) for line in text(picture)
        ], picture.spots

    quiet, busy = drawn(0), drawn(987654321)
    assert quiet[1] == busy[1]
    for before, after in zip(quiet[0], busy[0], strict=True):
        kept = [place for place, char in enumerate(before) if char in "│║═╤╬╩●"]
        assert all(after[place] == before[place] for place in kept), (before, after)


@pytest.mark.parametrize("width", [60, 80, 99, 120, 200, 400])
def test_sixty_containers_fold_into_rails_as_wide_as_the_screen(width: int) -> None:
    picture = layout(Rails(crowd(60)), width, LOOK)
    assert all(f.line_width(line) <= width for line in picture.lines)
    assert len(picture.spots) == len({spot.id for spot in picture.spots}) == 60
    assert [spot.id for spot in picture.spots] == sorted(spot.id for spot in picture.spots), "read like a text"
    lines = text(picture)
    assert len({(spot.x, spot.y) for spot in picture.spots}) == 60
    for spot in picture.spots:
        assert column(lines, spot.x, spot.y - 2) == "╤", "every one hangs on a rail"
    if width < 400:
        assert sum("╚" in line for line in lines) == 1, "and the last rail ends the branches of the first"


def test_a_container_on_two_neighbouring_rails_hangs_between_them() -> None:
    networks = (rail("front"), rail("back", internal=True, net=89))
    nodes = [node("api"), node("db"), node("web")]
    edges = [edge("api", "front", 7), edge("api", "back", 4), edge("db", "back", 2), edge("web", "front", 3)]
    picture = layout(Rails(graph(nodes, edges, networks)), 120, LOOK)
    lines = text(picture)
    x, y = at(picture, "api")
    front = next(number for number, line in enumerate(lines) if " front " in line)
    back = next(number for number, line in enumerate(lines) if " back " in line)
    assert front < y < back
    assert column(lines, x, front) == "╤" and column(lines, x, back) == "╧"
    assert all(column(lines, x, line) == "│" for line in range(y + 2, back))
    assert at(picture, "db")[1] > back and front < at(picture, "web")[1] < back
    assert "internal, no way out" in lines[back]


def test_a_container_on_rails_that_are_no_neighbours_hangs_from_each_and_says_so() -> None:
    networks = (rail("a"), rail("b", net=89), rail("c", net=90))
    picture = layout(
        Rails(graph([node("x"), node("y")], [edge("x", "a"), edge("x", "c", 3), edge("y", "b", 4)], networks)),
        120,
        LOOK,
    )
    assert [spot.id for spot in picture.spots] == ["id-x", "id-y", "id-x"]
    assert sum("also on" in line for line in text(picture)) == 2


def test_one_that_shares_a_network_stands_below_its_owner() -> None:
    nodes = [node("pod"), node("side", mode="container", shares="id-pod")]
    picture = layout(Rails(graph(nodes, [edge("pod")])), 100, LOOK)
    x, y = at(picture, "side")
    assert (x - 2, y - 2) == at(picture, "pod")
    assert "╰" in text(picture)[y]


def test_host_network_none_and_those_at_rest_have_their_own_lines() -> None:
    nodes = [
        node("raw", mode="host"),
        node("lonely", mode="none"),
        node("orphan", mode="container", shares=""),
        node("old", "stopped"),
    ]
    picture = layout(Rails(graph(nodes, [edge("old", counters=None)])), 100, LOOK)
    lines = text(picture)
    for name, title in (
        ("raw", "the host's network"),
        ("lonely", "no network"),
        ("orphan", "shares a network"),
        ("old", "at rest"),
    ):
        assert title in lines[at(picture, name)[1]]
    nat = next(number for number, line in enumerate(lines) if " NAT " in line)
    assert at(picture, "raw")[1] < nat, "what uses the host's network is outside of the NAT"


@pytest.mark.parametrize("width", [80, 100, 150])
def test_a_rail_says_what_leads_out_where_that_is_not_nat(width: int) -> None:
    def way(name: str, driver: str, bridge: str, words: str, net: int) -> Rail:
        return rail(name, net=net)._replace(driver=driver, bridge=bridge, way=words)

    networks = (
        way("lan", "macvlan", "eth1", "macvlan on eth1", 90),
        way("wide", "overlay", "pyctr0-1", "vxlan 42 to 192.0.2.11", 91),
        rail("shut", internal=True, net=92),
        rail("front", net=93),
    )
    names = [f"{one.name}-{number}" for one in networks for number in range(6)]
    shape = graph([node(name) for name in names], [edge(name, name.partition("-")[0], 9) for name in names], networks)
    lines = text(layout(Rails(shape), width, LOOK))
    rows = {one.name: next(line for line in lines if f" {one.name} " in line and "\u2550" in line) for one in networks}
    for name, words in (("lan", "macvlan on eth1"), ("wide", "vxlan 42 to"), ("shut", "internal, no way")):
        assert words in rows[name] and rows[name].count("\u2564") >= (width - 27) // 30, "nothing is drawn over it"
    assert [name for name, line in rows.items() if line[5] in "\u256c\u2569"] == ["wide", "front"], "what has NAT"
    order = [lines.index(rows[name]) for name in ("wide", "front", "lan", "shut")]
    assert order == sorted(order), "no line crosses a rail that has no part in it"


def test_long_and_hostile_names_stay_in_their_slot() -> None:
    names = ["a" * 200, "\x1b[31mred\x1b[0m" * 9, "漢字" * 40, "b"]
    edges = [edge(name, number=place) for place, name in enumerate(names, 2)]
    picture = layout(Rails(graph([node(name) for name in names], edges, (rail("n" * 90),))), 120, LOOK)
    assert all(f.line_width(line) <= 120 for line in picture.lines)
    assert not any("\x1b" in line for line in text(picture))
    for one, other in zip(picture.spots, picture.spots[1:], strict=False):
        assert one.y != other.y or one.x + one.width < other.x


def test_no_network_no_uplink_and_nothing_at_all_are_drawn_without_complaint() -> None:
    assert layout(Rails(graph([], [], (), nics=())), 80, LOOK).spots == ()
    lines = text(layout(Rails(graph([node("api")], [edge("api")], nics=())), 80, LOOK))
    assert "no default route" in lines[0]
    lost = layout(Rails(graph([node("api")], [edge("api", "gone")], ())), 80, LOOK)
    assert at(lost, "api"), "a container whose network's record is lost is not lost with it"


def test_a_crowd_shows_who_talks_and_counts_the_quiet() -> None:
    shape = crowd(80)
    view = Rails(shape, {}, {"id-web-003": 95.0, "id-web-070": 41.0, "id-web-071": 39.0})
    hidden = rails.quiet(view)
    assert len(hidden) == 78
    picture = layout(view, 120, LOOK, hidden=hidden)
    assert {spot.id for spot in picture.spots} == {"id-web-003", "id-web-070"}
    assert any("+ 78 quiet" in line for line in text(picture))
    assert any("80 containers" in line for line in text(picture))
    assert rails.quiet(Rails(crowd(60))) == frozenset()


def test_drops_are_said_and_judged_when_they_happen_now() -> None:
    losing = Counters(1, 1, 1, 1, 2, 40)
    shape = graph([node("api")], [edge("api", counters=losing)])
    now = layout(Rails(shape, {("edge", "id-api"): Flow(0, 0, 3, 0)}), 100, LOOK)
    then = layout(Rails(shape, {("edge", "id-api"): Flow(0, 0, 0, 0)}), 100, LOOK)
    assert text(now) == text(then) and any("40 drops" in line for line in text(now))

    def style(picture: Picture) -> str:
        return next(style for line in picture.lines for words, style in line if "drops" in words)

    assert (style(now), style(then)) == ("bad", "faint")


def test_published_ports_fold_and_the_rest_is_counted() -> None:
    ports = tuple(Published("id-api", "api", "bridge", "", 8000 + place, "tcp", "10.88.0.2", 80) for place in range(60))
    lines = text(layout(Rails(graph([node("api")], [edge("api")], ports=ports)), 100, LOOK))
    shown = sum(line.count(":80→") + line.count("→api:80") for line in lines)
    counted = next(int(line.rsplit("and ", 1)[1].split()[0]) for line in lines if " more" in line)
    assert 0 < shown < 60 and shown + counted == 60
    assert all(len(line) <= 100 for line in lines)


def test_ascii_has_only_ascii() -> None:
    networks = (rail("front"), rail("back", internal=True, net=89))
    nodes = [node("api"), node("side", mode="container", shares="id-api")]
    shape = graph(nodes, [edge("api", "front"), edge("api", "back", 3)], networks)
    for line in text(layout(Rails(shape), 100, Look(Glyphs(ascii=True)))):
        assert line.isascii(), line
