# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What our programs say about a set, and whether a kernel says the same.
#
# A set is a folder with cache.img and backing0.img ...; what the kernel said about it last lies in
# files of another folder.

# Fixtures that a kernel accepts and reads rightly. What a damaged set holds for one is another
# question.
good_images() {
	tests/tools/fixture-rows | awk '$4 == 0 && $6 == "exact" { print $1 }' | uniq
}

# The folder of a case.
damage_recipe() { # name
	local dir
	for dir in fixtures/kernel-cases fixtures/cases; do
		if [ -e "$dir/$1/recipe" ]; then
			echo "$dir/$1"
			return
		fi
	done
}

# Fields of each JSON line of a kind; "-" where a line has none of the name.
json() { # file, kind, fields...
	local file=$1 kind=$2
	shift 2
	awk -v kind="$kind" -v names="$*" '
	function field(name) {
		if (!match($0, "\"" name "\":(\"[^\"]*\"|[-0-9a-z.]+)"))
			return "-"
		return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
	}
	BEGIN { n = split(names, name, " ") }
	index($0, "{\"kind\":\"" kind "\"") == 1 {
		for (i = 1; i <= n; i++)
			printf "%s%s", field(name[i]), i < n ? " " : "\n"
	}' "$file" | tr -d '"'
}

# How a kernel shows a number of bytes: three digits and one behind the point, always cut off.
human() { # bytes
	awk -v v="$1" 'BEGIN {
		u = 0
		do {
			u++
			t = v % 1024
			v = int(v / 1024)
		} while (v >= 1000)
		printf "%d.%d%s\n", v, int(t * 10 / 1024), substr("kMGTPEZY", u, 1)
	}'
}

# Beside the images of a set, what our programs say: check.json and check.err, the exit status, the
# keys, the depth of the tree, the sectors of a bucket.
foretell() { # folder
	local images=("$1/cache.img") backing
	for backing in "$1"/backing?.img; do
		[ -e "$backing" ] && images+=("$backing")
	done
	"$fsck" -n --json "${images[@]}" >"$1/check.json" 2>"$1/check.err" </dev/null
	echo $? >"$1/status"
	json "$1/check.json" header bucket_sectors >"$1/bucket"
	"$dump" keys "$1/cache.img" >"$1/keys" 2>/dev/null </dev/null
	"$dump" btree --json "$1/cache.img" 2>/dev/null </dev/null |
		sed -n 's/^{"kind":"btree","levels":\([0-9]*\),.*/\1/p' | awk '{ print $1 - 1 }' >"$1/depth"
}
inodes() { # folder
	json "$1/check.json" verdict_device inode | sort -n
}

check_clean() { # what, folder
	if [ "$(cat "$2/status")" = 0 ]; then
		ok
	else
		not_ok "$1: bcache-fsck exits $(cat "$2/status"): $(
			cat "$2/check.err"
			json "$2/check.json" finding code slug message | head -n 3)"
	fi
}
export_volume() { # folder, inode, file
	local images=("$1/cache.img") backing
	for backing in "$1"/backing?.img; do
		[ -e "$backing" ] && images+=("$backing")
	done
	rm -f "$3"
	"$dump" export --device "$2" -o "$3" "${images[@]}" >"$1/export.out" 2>&1 </dev/null
}
check_export() { # what, folder, inode, file that it has to equal
	local status
	export_volume "$2" "$3" "$2/export"
	status=$?
	if [ $status != 0 ]; then
		not_ok "$1: export of inode $3: exit $status: $(tail -n 1 "$2/export.out")"
	elif cmp "$2/export" "$4" >"$2/export.out" 2>&1; then
		ok
	else
		not_ok "$1: export of inode $3: $(cat "$2/export.out")"
	fi
	rm -f "$2/export"
}

# The job that registers a set which foretell has seen, and brings out its keys and volumes.
job_to_ask() { # folder, where to, kind of disks [logical block size]
	local dir=$1 to=$2 backing inode
	mkdir -p "$to"
	add_disk "$3" "$dir/cache.img" "${4-}"
	echo "cache $lun"
	add_disk out "$to/keys" 64M
	echo "keys $lun"
	for backing in "$dir"/backing?.img; do
		[ -e "$backing" ] || continue
		add_disk "$3" "$backing" "${4-}"
		echo "backing $lun"
	done
	echo facts
	for inode in $(inodes "$dir"); do
		add_disk out "$to/volume$inode" 256M
		echo "copy $inode $lun"
	done
}
# A replay can split the root, and the tree is deeper by one then.
check_depth() { # part, folder
	local want got replayed
	want=$(cat "$2/depth")
	got=$(said "$1" depth)
	replayed=$(json "$2/check.json" verdict replay_keys)
	[ "${replayed:-0}" = 0 ] || [ "$got" != $((want + 1)) ] || want=$got
	same "$1: depth of the tree" "$want" "$got"
}
# What came of it: as foretold, except for the contents of the volumes, which are given their right
# lengths.
check_answer() { # part, folder, where to
	local part=$1 dir=$2 to=$3 inode dirty again sectors foretold sound='\["registers"\]'
	foretold=$(grep -F "{\"kind\":\"prediction\",\"kernel\":\"$kernel\"," "$dir/check.json")
	# A replay can fail although nothing is wrong (FORMAT 6.6), or hang where the journal has little
	# room. Where that is foretold it may happen, and then there is nothing to compare; it need not.
	if grep -qF '"first_lines":["bcache: replay journal failed"]' <<<"$foretold"; then
		sound='\[.*"registers"'
		if grep -qF 'bcache: replay journal failed, disabling caching' "$logs/$part.log"; then
			ok
			return 1
		fi
	fi
	if grep -qF '"slug":"journal-little-room"' "$dir/check.json"; then
		sound='\[.*"registers"'
		if grep -q "^@ $part hang register " "$logs/$part.log"; then
			ok
			return 1
		fi
	fi
	check_part "$part" || return
	same "$part: foretold" '' "$(grep -v "\"outcomes\":$sound" <<<"$foretold")"
	check_depth "$part" "$dir"
	tr -d '\0' <"$to/keys" >"$to/keys.txt"
	if awk -v bucket="$(cat "$dir/bucket")" -f "$here/diff-keys.awk" "$dir/keys" "$to/keys.txt" \
		>"$logs/$part.keys"; then
		ok
	else
		not_ok "$part: other keys, see $logs/$part.keys"
	fi
	while read -r inode dirty again; do
		check_dirty "$part" "$inode" $((dirty + again)) "$to/keys.txt"
		sectors=$(said "$part" "copied $inode")
		truncate -s $((sectors * 512)) "$to/volume$inode"
	done < <(json "$dir/check.json" verdict_device inode dirty_bytes redirtied_bytes)
}
# The kernel's keys give the sum to the sector, its sysfs rounded and less what it has already
# written back; a volume without a backing device has no such file.
check_dirty() { # part, inode, bytes foretold, file with the kernel's keys
	local shown written least
	same "$1: dirty sectors of inode $2" $(($3 / 512)) "$(awk -F'[: ]' -v inode="$2" '
		$1 == inode && / dirty/ { sum += $4 } END { print sum + 0 }' "$4")"
	read -r shown written _ < <(said "$1" "bdev $2")
	[ -n "$shown" ] || return
	least=$(($3 - written * 512))
	[ $least -ge 0 ] || least=0
	if awk -v shown="$shown" -v low="$(human $least)" -v high="$(human "$3")" '
		function bytes(text) {
			return text * 1024 ^ index("kMGTPEZY", substr(text, length(text)))
		}
		BEGIN { exit !(bytes(low) <= bytes(shown) && bytes(shown) <= bytes(high)) }'; then
		ok
	else
		not_ok "$1: dirty_data of inode $2 is $shown, foretold $(human "$3"), $written sectors written"
	fi
}
