# bash completion of bcache-fsck(8); _bcfmt_complete is in libformat/cli/complete.bash.
complete -F _bcfmt_complete bcache-fsck fsck.bcache
