"""`pyctr completion`: scripts for bash, zsh and fish. Each asks `pyctr __complete`, so that all three know the same."""

from __future__ import annotations

from pyctr.cli import main, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

# bash cuts a word at '=' and ':' and replaces only what is behind the last of them; readline's idea of the word is in
# COMP_WORDS, ours is between blanks. Older bashes (macOS has 3.2) know neither mapfile nor compopt.
BASH = r"""# bash completion of pyctr: source <(pyctr completion bash)
_pyctr() {
    local line="${COMP_LINE:0:COMP_POINT}" words=() word cut answer candidate
    COMPREPLY=()
    read -r -a words <<<"$line"
    case "$line" in *[[:blank:]]) words+=("") ;; esac
    word="${words[${#words[@]} - 1]}"
    cut="$word"
    case "$COMP_WORDBREAKS" in *:*) cut="${cut##*:}" ;; esac
    case "$COMP_WORDBREAKS" in *=*) cut="${cut##*=}" ;; esac
    cut="${word%"$cut"}"
    answer="$("${words[0]/#\~/$HOME}" __complete -- "${words[@]:1}" 2>/dev/null)" || return
    while IFS= read -r candidate; do
        case "$candidate" in
            "") ;;
            :files)
                while IFS= read -r candidate; do COMPREPLY+=("$candidate"); done < <(compgen -f -- "${word#"$cut"}")
                compopt -o filenames 2>/dev/null
                ;;
            *)
                candidate="${candidate%%$'\t'*}"
                COMPREPLY+=("${candidate#"$cut"}")
                case "$candidate" in *=) compopt -o nospace 2>/dev/null ;; esac
                ;;
        esac
    done <<<"$answer"
}
complete -F _pyctr pyctr"""

ZSH = r"""#compdef pyctr
# zsh completion of pyctr: source <(pyctr completion zsh), or a file _pyctr in a directory of $fpath
_pyctr() {
    local line files=0
    local -a words_ names shown
    words_=("${(@Q)words[2,CURRENT-1]}")
    for line in "${(@f)$("${(Q)words[1]/#\~/$HOME}" __complete -- "${words_[@]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        case "$line" in
            ('') ;;
            (:files) files=1 ;;
            (*)
                names+=("${line%%$'\t'*}")
                if [[ "$line" == *$'\t'* ]]; then
                    shown+=("${line%%$'\t'*}  -- ${line#*$'\t'}")
                else
                    shown+=("$line")
                fi
                ;;
        esac
    done
    (( ${#names} )) && compadd -l -d shown -a names
    (( files )) && _files
    (( ${#names} || files ))
}
if [[ "${funcstack[1]:-}" = _pyctr ]]; then
    _pyctr "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _pyctr pyctr
fi"""

FISH = r"""# fish completion of pyctr: pyctr completion fish | source
function __pyctr_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    for line in (command $words[1] __complete -- $words[2..-1] $word 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path $word
        else
            echo $line
        end
    end
end
complete -c pyctr -f -a '(__pyctr_complete)'"""


def configure(parser: Declares) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL")


def run(call: Call, args: Arguments) -> int:
    output.write({"bash": BASH, "zsh": ZSH, "fish": FISH}[args.shell])
    return 0


def verbs() -> list[str]:
    """All commands, members of groups included, as they are typed."""
    found = [verb for verb in main.VERBS if verb not in main.GROUPS]
    for group, members in main.GROUPS.items():
        found += [f"{group} {word}" for word in members]
    return found
