# SPDX-License-Identifier: GPL-2.0-or-later
# Compares the keys of a set sector by sector: the kernel may have merged keys that we list apart.
#
# awk -v bucket=SECTORS -f diff-keys.awk OURS KERNEL
#
# A kernel short of free buckets makes room at once: clean data may be missing there, but then all
# of its bucket. Lists what differs, at most 20 lines, and exits with 1 when something does.
function differs(what) {
	if (n++ < 20)
		print what
}
# 0:24 len 8 -> [0:2136 gen 2] dirty
match($0, /^[0-9]+:[0-9]+ len [0-9]+ -> \[[0-9]+:[0-9]+ gen [0-9]+\]( dirty)?$/) {
	split($0, word, /[]: []+/)
	start = word[2]
	ptr = word[7]
	for (i = 0; i < word[4]; i++) {
		place = word[1] ":" (start + i)
		value = word[6] ":" (ptr + i) " gen " word[9] ($0 ~ /dirty$/ ? " dirty" : "")
		if (FILENAME == ARGV[1]) {
			ours[place] = value
			continue
		}
		present[int(ptr / bucket)] = 1
		if (ours[place] != value)
			differs(place " is " value " to the kernel, not " ours[place])
		delete ours[place]
	}
	next
}
{ differs(FILENAME " has an unknown line: " $0) }
END {
	for (place in ours) {
		split(ours[place], word, /[: ]/)
		if (ours[place] ~ /dirty$/ || int(word[2] / bucket) in present)
			differs(place " is " ours[place] ", unknown to the kernel")
	}
	if (n > 20)
		print n " differences"
	exit n > 0
}
