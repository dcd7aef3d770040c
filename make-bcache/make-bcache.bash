# bash completion of make-bcache(8); _bcfmt_complete is in libformat/cli/complete.bash.
complete -F _bcfmt_complete make-bcache
