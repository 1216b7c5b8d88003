"""`pyctr completion`: scripts for bash, zsh and fish, made from the same declarations that parse the flags."""

from __future__ import annotations

from pyctr.cli import main, output
from pyctr.cli.flags import Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_NAMES = {
    "container": "pyctr ps -a --format '{{.Names}}'",
    "image": "pyctr images --format '{{.Repository}}:{{.Tag}}'",
    "volume": "pyctr volume ls -q",
    "network": "pyctr network ls --format '{{.Name}}'",
}


class Verb:
    """What a shell needs to know of one command."""

    def __init__(self, words: str, name: str) -> None:
        module, prefix = main.load(name)
        flags = Flags(words)
        getattr(module, f"{prefix}configure")(flags)
        self.words = words
        self.summary = main.summary(name)
        self.flags = sorted(flags.options)
        self.valued = sorted(flag for flag, argument in flags.options.items() if argument.action != "store_true")
        self.choices = {flag: list(a.choices) for flag, a in flags.options.items() if a.choices}
        self.kind = next(
            (kind for a in flags.positionals for kind in _NAMES if kind in (a.dest, a.metavar.lower())), ""
        )


def configure(parser: Declares) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL")


def run(call: Call, args: Arguments) -> int:
    output.write({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](verbs()))
    return 0


def verbs() -> list[Verb]:
    """All commands, members of groups included."""
    found = [Verb(verb, verb) for verb in main.VERBS if verb not in main.GROUPS]
    for group, members in main.GROUPS.items():
        found += [Verb(f"{group} {word}", name) for word, name in members.items()]
    return found


def bash(known: list[Verb]) -> str:
    """For `source <(pyctr completion bash)`."""
    lines = [
        "# bash completion of pyctr: source <(pyctr completion bash)",
        "_pyctr() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" verb="" flags="" valued=" "',
        '    local names="" index=1',
        "    COMPREPLY=()",
        "    while [ $index -lt $COMP_CWORD ]; do",
        '        case "${COMP_WORDS[index]}" in',
        f"            {'|'.join(main.GLOBAL_FLAGS)}) index=$((index + 1)) ;;",
        f'            {"|".join(main.GROUPS)}) verb="${{COMP_WORDS[index]}} ${{COMP_WORDS[index+1]}}"; break ;;',
        "            -*) ;;",
        '            *) verb="${COMP_WORDS[index]}"; break ;;',
        "        esac",
        "        index=$((index + 1))",
        "    done",
        '    case "$verb" in',
    ]
    for group, members in main.GROUPS.items():
        lines.append(f"        '{group} '|'{group} '\"$word\") [ $COMP_CWORD -eq $((index + 1)) ] && "
                     f"COMPREPLY=($(compgen -W '{' '.join(members)}' -- \"$word\")) && return ;;")  # fmt: skip
    lines.append("    esac")
    lines.append('    case "$verb" in')
    for verb in known:
        body = f"flags='{' '.join(verb.flags)}' valued=' {' '.join(verb.valued)} '"
        if verb.kind:
            body += f" names={verb.kind}"
        lines.append(f"        '{verb.words}') {body} ;;")
    words = " ".join(main.VERBS)
    lines += [
        f"        '') COMPREPLY=($(compgen -W '{words} {' '.join(main.GLOBAL_FLAGS)}' -- \"$word\")); return ;;",
        "    esac",
        '    if [ "${valued#* $before }" != "$valued" ]; then',
        '        case "$before" in',
    ]
    choices = {flag: values for verb in known for flag, values in verb.choices.items()}
    for flag, values in sorted(choices.items()):
        lines.append(f"            {flag}) COMPREPLY=($(compgen -W '{' '.join(values)}' -- \"$word\")) ;;")
    lines += [
        '            *) COMPREPLY=($(compgen -f -- "$word")) ;;',
        "        esac",
        "        return",
        "    fi",
        '    case "$word" in',
        '        -*) COMPREPLY=($(compgen -W "$flags --help" -- "$word")); return ;;',
        "    esac",
        '    case "$names" in',
    ]
    for kind, command in _NAMES.items():
        lines.append(f'        {kind}) COMPREPLY=($(compgen -W "$({command} 2>/dev/null)" -- "$word")) ;;')
    lines += [
        '        *) COMPREPLY=($(compgen -f -- "$word")) ;;',
        "    esac",
        "}",
        "complete -F _pyctr pyctr",
    ]
    return "\n".join(lines)


def zsh(known: list[Verb]) -> str:
    """zsh runs bash completions; names that hold a colon are given back whole."""
    return "\n".join(
        [
            "#compdef pyctr",
            "# zsh completion of pyctr: source <(pyctr completion zsh)",
            "autoload -U +X bashcompinit && bashcompinit",
            bash(known),
        ]
    )


def fish(known: list[Verb]) -> str:
    """For `pyctr completion fish | source`."""
    lines = ["# fish completion of pyctr: pyctr completion fish | source", "complete -c pyctr -f"]
    lines += [f"complete -c pyctr -n __fish_use_subcommand -l {flag[2:]} -r" for flag in main.GLOBAL_FLAGS]
    for word, line in main.VERBS.items():
        lines.append(f"complete -c pyctr -n __fish_use_subcommand -a {word} -d '{line}'")
    for group, members in main.GROUPS.items():
        lines.append(
            f"complete -c pyctr -n '__fish_seen_subcommand_from {group}; and not __fish_seen_subcommand_from "
            f"{' '.join(members)}' -a '{' '.join(members)}'"
        )
    for verb in known:
        first, _, second = verb.words.partition(" ")
        seen = f"__fish_seen_subcommand_from {first}"
        if second:
            seen += f"; and __fish_seen_subcommand_from {second}"
        for flag in verb.flags:
            name = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            value = ""
            if flag in verb.choices:
                value = f" -x -a '{' '.join(verb.choices[flag])}'"
            elif flag in verb.valued:
                value = " -r"
            lines.append(f"complete -c pyctr -n '{seen}' {name}{value}")
        if verb.kind:
            command = _NAMES[verb.kind].replace("'", '"')
            lines.append(f"complete -c pyctr -n '{seen}' -a '({command} 2>/dev/null)'")
    return "\n".join(lines)
