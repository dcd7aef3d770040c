# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Sets that make-bcache made, in many geometries: a kernel registers them, writes, and is cut off.
#
# Three boots. The first one registers what was made, writes and is reset with all sets running.
# Then bcache-fsck finds nothing, and bcache-dump exports volumes that equal what was written. The
# second boot has to find in the sets what our programs found; it writes more, stops some sets in
# order and is reset, and the programs look again. So it goes for the third.
#
# The expected contents come from guest_io, which repeats on a file what it wrote in the guest.

# name, cache, backing devices, block, what else make-bcache is told
sets_to_make() {
	cat <<-'END'
		bucket-4k    24M     16M      512   -b 4k --writeback
		bucket-8k    24M     16M      4096  -b 8k --writeback
		bucket-64k   64M     16M      512   -b 64k --writeback
		bucket-256k  256M    16M      4096  -b 256k --writeback
		bucket-1M    1G      16M      512   -b 1M
		bucket-4M    3G      16M      4096  -b 4M --writeback
		bucket-16M   9G      16M      512   -b 16M --writeback
		bucket-32M   20G     16M      4096  -b 32M --writeback
		two          64M     16M,12M  512   -b 64k --writeback
		offset       64M     16M      4096  -b 64k --writeback -o 2048
		label        80M     16M      512   -b 128k --writeback --label volume
		discard      32M     16M      512   -b 32k --writeback --discard
		fifo         40M     16M      4096  -b 64k --writeback --cache_replacement_policy=fifo
		random       40M     16M      512   -b 64k --cache_replacement_policy=random
		overfull     32M     64M      4096  -b 16k
		odd          40001K  15003K   512   -b 16k --writeback
		sectors-4k   64M     16M      4096  -b 64k --writeback
		flash        64M     16M      512   -b 32k --writeback
		busy         64M     16M      512   -b 32k --writeback
		again        64M     16M      512   -b 64k --writeback
		again-other  64M     16M      512   -b 32k --writeback
	END
}

# What is different about some of them.
disk_kind() { # name
	[ "$1" = discard ] && echo discards || echo kept
}
sector_size() { # name
	[ "$1" = sectors-4k ] && echo 4096
}
# Used, stopped, and formatted once more with the same set uuid, the other in another geometry: the
# old journal must not come back.
is_again() { # name
	[[ $1 == again* ]]
}
set_uuid() { # name
	[ "$1" = again ] && echo 6f2d7a10-9b1c-4f63-8f0e-3b5a4c1d2e7f ||
		echo 0b3c9d52-7e41-4a6f-9a15-c2d84e6f7b90
}
writes() { # name
	case $1 in
	bucket-4k) echo 3000 ;;
	overfull) echo 1500 ;;
	*) echo 500 ;;
	esac
}

prepare_make() { # names
	local name
	make_sets=()
	while read -r name _; do
		if [ $# = 0 ] || [[ " $* " == *" $name "* ]]; then
			make_sets+=("$name")
		fi
	done < <(sets_to_make)
	[ ${#make_sets[@]} != 0 ]
}


# Formats a set and lays down what its volumes hold: want0 ...
make_set() { # name
	local dir=$work/$1 name cache backings block rest n=0 size offset=16 args
	read -r name cache backings block rest < <(sets_to_make | awk -v name="$1" '$1 == name')
	read -ra args <<<"$rest"
	[[ $rest != *'-o '* ]] || offset=2048
	if is_again "$name"; then
		args+=(--cset-uuid "$(set_uuid "$name")")
		if [ -e "$dir/cache.img" ]; then
			args+=(--wipe-bcache)
			[ "$name" != again-other ] || args[1]=64k
		fi
	fi
	truncate -s "$cache" "$dir/cache.img" || return
	args+=(-w "$block" -C "$dir/cache.img")
	for size in ${backings//,/ }; do
		# What lies there from the first time is overwritten, so that it is no excuse.
		rm -f "$dir/backing$n.img"
		truncate -s "$size" "$dir/backing$n.img" &&
			"$guest_io" fill $((seed + n)) "$dir/backing$n.img" || return
		tail -c +$((offset * 512 + 1)) "$dir/backing$n.img" >"$dir/want$n"
		args+=(-B "$dir/backing$n.img")
		n=$((n + 1))
	done
	if "$make_bcache" "${args[@]}" >"$dir/make.out" 2>&1 </dev/null; then
		ok
	else
		not_ok "$name: make-bcache ${args[*]} fails: $(head -n 3 "$dir/make.out")"
		return 1
	fi
}

# A line of the job, and the same for the file that tells what has to come out.
both() { # folder, inode, what guest_io does
	local want=$1/want$2
	echo "work $2 ${*:3}"
	[ "$3" = read ] || "$guest_io" "${@:3}" "$want"
}
# Writes and reads on all volumes of a set.
work_job() { # name
	local dir=$work/$1 block want n
	block=$(sets_to_make | awk -v name="$1" '$1 == name { print $4 }')
	for want in "$dir"/want?; do
		n=${want##*want}
		seed=$((seed + 10))
		both "$dir" "$n" write $seed $(($(writes "$1") / 2)) "$block" 16
		both "$dir" "$n" read $((seed + 1)) 100 "$block" 16
		both "$dir" "$n" write $((seed + 2)) $(($(writes "$1") / 2)) "$block" 8
	done
	[ "$1" != busy ] || echo "busy 0 $((seed + 3)) 1000000 $block 16"
}
first_job() { # name
	local dir=$work/$1 image
	add_disk "$(disk_kind "$1")" "$dir/cache.img" "$(sector_size "$1")"
	echo "cache $lun"
	for image in "$dir"/backing?.img; do
		add_disk "$(disk_kind "$1")" "$image" "$(sector_size "$1")"
		echo "backing $lun"
	done
	if [ "$1" = flash ]; then
		echo "volume 8M"
		truncate -s 8M "$dir/want1"
	fi
	work_job "$1"
}

# What our programs say about a set after a boot.
look() { # name, boot
	local dir=$work/$1 want
	foretell "$dir"
	check_clean "$1 after $2" "$dir"
	if [ "$1" = busy ]; then
		# What the kernel was cut off from, only the next kernel can tell.
		export_volume "$dir" 0 "$dir/want0" || not_ok "busy: no export after $2"
	fi
	for want in "$dir"/want?; do
		check_export "$1 after $2" "$dir" "${want##*want}" "$want"
	done
}
# The same as what the kernel says then.
compare() { # name, boot
	local dir=$work/$1 inode
	check_answer "$2-$1" "$dir" "$dir/answer" || return
	for inode in $(inodes "$dir"); do
		if cmp "$dir/answer/volume$inode" "$dir/saw$inode" >"$dir/answer/cmp" 2>&1; then
			ok
		else
			not_ok "$1: inode $inode reads differently in $2: $(head -n 1 "$dir/answer/cmp")"
		fi
	done
	rm -f "$dir/answer"/volume*
}

run_make() {
	local name boot n made=()
	seed=100
	new_disks
	for name in "${make_sets[@]}"; do
		mkdir "$work/$name"
		make_set "$name" || continue
		made+=("$name")
		first_job "$name" >"$work/make1-$name.job"
		! is_again "$name" || echo 'stop set' >>"$work/make1-$name.job"
	done
	run_parts make1 "${made[@]/#/make1-}"
	for name in "${made[@]}"; do
		check_part "make1-$name"
	done

	for boot in make2 make3; do
		new_disks
		for name in "${made[@]}"; do
			if [ $boot = make2 ] && is_again "$name"; then
				# A failure shows in what the kernel says next.
				make_set "$name"
				first_job "$name" >"$work/$boot-$name.job"
				continue
			fi
			look "$name" "the boot before $boot"
			job_to_ask "$work/$name" "$work/$name/answer" "$(disk_kind "$name")" \
				"$(sector_size "$name")" >"$work/$boot-$name.job"
			for n in "$work/$name"/want?; do
				cp --sparse=always "$n" "${n/want/saw}"
			done
			if [ $boot = make2 ]; then
				work_job "$name"
				[[ $name != bucket-* ]] || echo 'stop set'
			fi >>"$work/$boot-$name.job"
		done
		run_parts $boot "${made[@]/#/$boot-}"
		for name in "${made[@]}"; do
			if [ $boot = make2 ] && is_again "$name"; then
				check_part "$boot-$name"
			else
				compare "$name" $boot
			fi
		done
	done
}
