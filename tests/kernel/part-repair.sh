# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Damaged caches that bcache-fsck repaired: a kernel registers them without a word, finds the keys,
# volumes and dirty bytes that our programs find, goes on writing, and is cut off; then our programs
# find nothing wrong, and the volumes as they were written.

# Images and cases, and what bcache-fsck is told beside -y.
sets_to_repair() {
	cat <<-'END'
		bug1
		bug2
		bug4
		bug5
		bug6
		bug7
		resurrect              --incarnation 14
		orphan                 --adopt auto
		root-csum
		prio-csum
		uuids-zeroed
		journal-first-missing
		journal-not-tiling
		leaf-csum
		leaf-header
		leaves-two
		interior-into-journal
		leaf-hole
		leaf-magic
		root-magic
		journal-window
		uuids-short
		root-too-long
		root-version
		prio-magic
		root-header
		root-dirty
		root-gen
		prio-beyond
		journal-inode
		interior-child
		interior-csum
		leaves-many
		root-overrun
		super-member
		super-csum
	END
}

# Builds the set and repairs it. 1 when nothing was repaired, or something is left.
repair_set() { # name, folder; options of bcache-fsck
	local name=$1 dir=$2 base=$1
	shift 2
	mkdir "$dir" || return
	if [ -e "fixtures/$name.tar.xz" ]; then
		tar -xJSf "fixtures/$name.tar.xz" -C "$dir" || return
	else
		base=$("$mkimage" --print-base "$(damage_recipe "$name")/recipe")
		if [ -n "$base" ] && [ ! -d "$tmp/base-$base" ]; then
			mkdir "$tmp/base-$base" && tar -xJSf "fixtures/$base.tar.xz" -C "$tmp/base-$base" || return
		fi
		"$mkimage" ${base:+--base "$tmp/base-$base"} "$(damage_recipe "$name")/recipe" "$dir" ||
			return
	fi
	"$fsck" -y --undo-file none "$@" "$dir"/*.img >"$dir/repair.out" 2>&1 </dev/null
	[ $? = 1 ]
}

prepare_repair() { # names
	local name args
	repaired=()
	unrepaired=()
	while read -r name args; do
		[ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
		read -ra args <<<"$args"
		if repair_set "$name" "$shared/$name" "${args[@]}"; then
			foretell "$shared/$name"
			repaired+=("$name")
		else
			unrepaired+=("$name: not repaired: $(tail -n 1 "$shared/$name/repair.out")")
		fi
	done < <(sets_to_repair)
	[ ${#repaired[@]} != 0 ]
}

# The uuid of the set: two of one uuid cannot run side by side, and the cut has to meet them running.
set_of() { # name
	json "$shared/$1/check.json" header set_uuid
}

run_repair() {
	local name rest=("${repaired[@]}") now later uuids round=0
	for name in "${unrepaired[@]}"; do
		not_ok "$name"
	done
	while [ ${#rest[@]} != 0 ]; do
		now=() later=() uuids=
		for name in "${rest[@]}"; do
			if [[ $uuids == *" $(set_of "$name") "* ]]; then
				later+=("$name")
			else
				now+=("$name")
				uuids+=" $(set_of "$name") "
			fi
		done
		round=$((round + 1))
		run_round $round "${now[@]}"
		rest=("${later[@]}")
	done
}
run_round() { # number, names
	local name dir inode label=repair$1
	shift
	new_disks
	for name; do
		dir=$work/repair-$name
		mkdir "$dir" && cp --sparse=always "$shared/$name"/* "$dir"
		{
			job_to_ask "$dir" "$dir/answer" kept
			for inode in $(inodes "$shared/$name"); do
				echo "work $inode write $((inode + 70)) 200 4096 8"
			done
		} >"$work/repair-$name.job"
	done
	run_parts "$label" "${@/#/repair-}"
	for name; do
		check_repaired "$name"
		rm -r "$work/repair-$name"
	done
}
check_repaired() { # name
	local dir=$work/repair-$1 part=repair-$1 inode want word
	check_clean "$1, repaired" "$shared/$1"
	check_answer "$part" "$shared/$1" "$dir/answer" || return
	word=$(grep -E 'bch_cache_set_error|error on|stale dirty|[Cc]orrupt' "$logs/$part.log" | head -n 1)
	same "$part: a word of the kernel" '' "$word"
	for inode in $(inodes "$shared/$1"); do
		want=$dir/answer/volume$inode
		check_export "$1, repaired" "$shared/$1" "$inode" "$want"
		"$guest_io" write $((inode + 70)) 200 4096 8 "$want"
		check_export "$1, written to" "$dir" "$inode" "$want"
	done
	foretell "$dir"
	check_clean "$1, written to and cut off" "$dir"
}
