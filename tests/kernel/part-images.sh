# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Caches of fixtures/ that kernels accept and read rightly: they have to find in them what we find.

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

prepare_images() {
	local image
	if [ $# = 0 ]; then
		# What a damaged set holds for a kernel is another question.
		mapfile -t images < <(tests/tools/fixture-rows |
			awk '$4 == 0 && $6 == "exact" { print $1 }' | uniq)
	else
		images=("$@")
	fi
	for image in "${images[@]}"; do
		mkdir "$shared/$image" && tar -xJSf "fixtures/$image.tar.xz" -C "$shared/$image" || return
		foretell "$shared/$image"
	done
}
# What our programs say about a set, beside its images: check.json, status, keys, depth, bucket.
foretell() { # folder
	"$fsck" -n --json "$1"/cache.img "$1"/backing*.img >"$1/check.json" 2>"$1/check.err" </dev/null
	echo $? >"$1/status"
	json "$1/check.json" header bucket_sectors >"$1/bucket"
	"$dump" keys "$1/cache.img" >"$1/keys" 2>/dev/null </dev/null
	"$dump" btree --json "$1/cache.img" 2>/dev/null </dev/null |
		sed -n 's/^{"kind":"btree","levels":\([0-9]*\),.*/\1/p' | awk '{ print $1 - 1 }' >"$1/depth"
}

run_images() {
	local image dir backing inode
	new_disks
	for image in "${images[@]}"; do
		dir=$shared/$image
		add_disk shared "$dir/cache.img"
		{
			echo "cache $lun"
			add_disk out "$work/$image.keys" 16M
			echo "keys $lun"
			for backing in "$dir"/backing?.img; do
				add_disk shared "$backing"
				echo "backing $lun"
			done
			echo facts
			while read -r inode _; do
				add_disk out "$work/$image.$inode" 256M
				echo "copy $inode $lun"
			done < <(json "$dir/check.json" verdict_device inode uuid)
			echo stop
		} >"$work/img-$image.job"
	done
	run_parts images "${images[@]/#/img-}"
	for image in "${images[@]}"; do
		check_image "$image"
	done
}
check_image() { # image
	local image=$1 dir=$shared/$1 part=img-$1 inode dirty device sum bytes name
	check_part "$part" || return
	same "$image: fsck" 0 "$(cat "$dir/status")"
	same "$image: depth of the tree" "$(cat "$dir/depth")" "$(said "$part" depth)"
	tr -d '\0' <"$work/$image.keys" >"$work/keys"
	if awk -v bucket="$(cat "$dir/bucket")" -f "$here/diff-keys.awk" "$dir/keys" "$work/keys" \
		>"$logs/$part.keys"; then
		ok
	else
		not_ok "$image: other keys, see $logs/$part.keys"
	fi
	while read -r inode dirty again; do
		check_dirty "$part" "$inode" $((dirty + again)) "$work/keys"
	done < <(json "$dir/check.json" verdict_device inode dirty_bytes redirtied_bytes)
	while read -r name device _ _ _ _ sum; do
		[ "$name" = "$image" ] || continue
		inode=$(json "$dir/check.json" verdict_device inode label |
			awk -v name="$device" '$2 == name || $2 == name "\\n" || $1 == name { print $1 }')
		bytes=$(($(said "$part" "copied $inode") * 512))
		same "$image: volume $device" "$sum" \
			"$(head -c $bytes "$work/$image.$inode" | sha256sum | cut -d' ' -f1)"
	done < <(tests/tools/fixture-rows)
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
