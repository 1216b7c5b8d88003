"""What a profile says about one call, asked rule by rule without tables or trees: slow, plain, for comparison."""

import operator
from typing import Any

STRICT_ORDER = (
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
    "SCMP_ACT_ALLOW",
)
COMPARE = {"EQ": operator.eq, "NE": operator.ne, "LT": operator.lt, "LE": operator.le, "GT": operator.gt}
COMPARE["GE"] = operator.ge


def applies(rule: dict[str, Any], host: str, caps: set[str], kernel: tuple[int, int]) -> bool:
    def at_least(text: str) -> bool:
        return kernel >= tuple(map(int, text.split(".")[:2]))

    includes, excludes = rule.get("includes", {}), rule.get("excludes", {})
    if any(cap in caps for cap in excludes.get("caps", [])) or host in excludes.get("arches", []):
        return False
    if not all(cap in caps for cap in includes.get("caps", [])):
        return False
    if "arches" in includes and host not in includes["arches"]:
        return False
    return not ("minKernel" in includes and not at_least(includes["minKernel"]))


def holds(condition: dict[str, Any], arguments: tuple[int, ...], bits: int) -> bool:
    keep = (1 << bits) - 1
    have = arguments[condition["index"]] & keep
    value, second = condition["value"] & keep, condition.get("valueTwo", 0) & keep
    name = condition["op"].removeprefix("SCMP_CMP_")
    return have & value == second & value if name == "MASKED_EQ" else COMPARE[name](have, value)


def verdict(
    profile: dict[str, Any],
    rules: list[dict[str, Any]],
    name: str | None,
    arguments: tuple[int, ...],
    bits: int = 64,
) -> tuple[str, int]:
    """(action, errno) for a call of this name; None is a number without one. `rules` are those that apply."""
    default = (profile["defaultAction"], profile.get("defaultErrnoRet", 1))

    def said(rule: dict[str, Any]) -> tuple[str, int]:
        return rule["action"], rule.get("errnoRet", 1)

    mine = [rule for rule in rules if name in rule["names"]]
    flat = [said(rule) for rule in mine if not rule.get("args") and said(rule) != default]
    base = flat[0] if flat else default
    held = []
    for rule in mine:
        conditions = rule.get("args") or []
        repeated = len({condition["index"] for condition in conditions}) < len(conditions)
        check = any if repeated else all
        if conditions and check(holds(condition, arguments, bits) for condition in conditions):
            held.append(said(rule))
    held.sort(key=lambda action: STRICT_ORDER.index(action[0]))
    if flat:
        held = [action for action in held if STRICT_ORDER.index(action[0]) < STRICT_ORDER.index(base[0])]
    return held[0] if held else base
