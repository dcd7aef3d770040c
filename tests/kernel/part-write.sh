# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Whole sets that no kernel ever saw, made by the writers of the library alone.
#
# A kernel has to find the keys in them that we find, and to read volumes with the sums that the
# generator computed from its seed. It goes on working with those that are not too large, is cut
# off, and then the programs have to find what it left.

# name, what gen-cache is told. A million extents are a million small reads of the guest.
sets_to_write() {
	cat <<-'END'
		million  --extents 1000000 --devices 3 --volumes 1 --bucket 16k --extent 512-1k --stride 1k
		deep     --extents 60000 --devices 2 --volumes 1 --bucket 4k --extent 512-2k --fill 20
		blocks   --extents 3000 --devices 5 --volumes 3 --bucket 1M --block 4k --extent 4k-64k
		large    --extents 2000 --devices 1 --volumes 1 --bucket 32M --extent 512-16k --dirty 100
		clean    --extents 20000 --devices 1 --bucket 64k --extent 512-4k --dirty 0
	END
}
is_worked_on() { # name
	[ "$1" != million ]
}

prepare_write() { # names
	local name args seed=0
	write_sets=()
	while read -r name args; do
		# Other uuids: the sets run side by side.
		seed=$((seed + 1))
		if [ $# = 0 ] || [[ " $* " == *" $name "* ]]; then
			write_sets+=("$name")
			mkdir "$shared/$name" || return
			read -ra args <<<"$args"
			"$gen_cache" "${args[@]}" --seed $seed --data "$shared/$name" >"$shared/$name/sums" || return
			foretell "$shared/$name"
		fi
	done < <(sets_to_write)
	[ ${#write_sets[@]} != 0 ]
}

run_write() {
	local name dir inode
	new_disks
	for name in "${write_sets[@]}"; do
		dir=$shared/$name
		{
			echo 'patience=300'
			if is_worked_on "$name"; then
				dir=$work/write-$name
				mkdir "$dir" && cp --sparse=always "$shared/$name"/* "$dir"
				job_to_ask "$dir" "$dir/answer" kept
				for inode in $(inodes "$dir"); do
					echo "work $inode write $((inode + 40)) 300 4096 8"
				done
			else
				job_to_ask "$dir" "$work/write-$name/answer" shared
			fi
		} >"$work/write-$name.job"
	done
	silence=400 run_parts write "${write_sets[@]/#/write-}"
	for name in "${write_sets[@]}"; do
		check_written "$name"
		! is_worked_on "$name" || check_worked_on "$name"
		rm -r "$work/write-$name"
	done
}
check_written() { # name
	local dir=$shared/$1 answer=$work/write-$1/answer inode
	check_clean "$1" "$dir"
	check_answer "write-$1" "$dir" "$answer" || return
	for inode in $(inodes "$dir"); do
		same "$1: volume of inode $inode" "$(sed -n "s/^sha256 inode=$inode \([0-9a-f]*\).*/\1/p" \
			"$dir/sums")" "$(sha256sum <"$answer/volume$inode" | cut -d' ' -f1)"
	done
}
# The volumes are right now; what was written afterwards is repeated on them.
check_worked_on() { # name
	local dir=$work/write-$1 inode want
	for inode in $(inodes "$dir"); do
		want=$dir/answer/volume$inode
		"$guest_io" write $((inode + 40)) 300 4096 8 "$want"
		check_export "$1" "$dir" "$inode" "$want"
	done
	foretell "$dir"
	check_clean "$1 after more work" "$dir"
}
