# bash completion of bcache-dump(8); _bcfmt_complete is in libformat/cli/complete.bash.
complete -F _bcfmt_complete bcache-dump
