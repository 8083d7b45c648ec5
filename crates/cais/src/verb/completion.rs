//! `completion`: a script that teaches a shell to complete our command lines. The scripts know nothing themselves: at
//! each key they ask `cais __complete`.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
struct CompletionArgs {
    /// bash, zsh or fish.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CompletionArgs = parse(door.spec, argv)?;
    print_stdout(match args.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    })?;
    Ok(0)
}

// bash breaks words at '=' and ':', too: the line is read again by blanks, and what stands before the last such
// character is taken off the answers.
const BASH: &str = r##"# bash completion for cais: source <(cais completion bash)
_cais() {
    local line="${COMP_LINE:0:COMP_POINT}" current out candidate head
    local -a words
    read -ra words <<<"$line"
    [[ -z $line || $line == *[[:space:]] ]] && words+=("")
    current="${words[${#words[@]}-1]}"
    out="$("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)" || return
    head=""
    if [[ $current == *[=:]* && $COMP_WORDBREAKS == *:* ]]; then head="${current%"${current##*[=:]}"}"; fi
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        [[ $candidate == :[0-9] ]] && continue
        COMPREPLY+=("${candidate#"$head"}")
    done <<<"$out"
    if [[ ${out##*$'\n'} == :0 ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r candidate; do COMPREPLY+=("$candidate"); done < <(compgen -f -- "${current#"$head"}")
    fi
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=,] ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -F _cais cais
"##;

const ZSH: &str = r##"#compdef cais
# zsh completion for cais: source <(cais completion zsh), or put it into a file _cais of your $fpath
_cais() {
    local line directive
    local -a lines candidates
    lines=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    directive="${lines[-1]}"
    lines[-1]=()
    for line in "${lines[@]}"; do
        candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    (( ${#candidates} )) && _describe -V cais candidates
    [[ $directive == :0 ]] && _files
}
if [[ $funcstack[1] == _cais ]]; then _cais "$@"; else compdef _cais cais; fi
"##;

const FISH: &str = r##"# fish completion for cais: cais completion fish | source
function __cais_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] __complete $words[2..-1] "$current" 2>/dev/null
end
function __cais_candidates
    __cais_complete | string match --invert --regex '^:\d$'
end
function __cais_files
    test (__cais_complete)[-1] = :0
end
complete -c cais -f
complete -c cais -a '(__cais_candidates)'
complete -c cais -n __cais_files -F
"##;
