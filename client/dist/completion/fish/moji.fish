# moji's completion for fish: moji completion fish | source
function __moji_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    moji __complete $words[2..-1] "$current" 2>/dev/null
end
complete -c moji -f -a '(__moji_complete)'
complete -c moji -n '__fish_seen_subcommand_from submit' -F
