# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Caches of fixtures/ that kernels accept and read rightly: they have to find in them what we find.

prepare_images() { # names
	local image
	images=("$@")
	[ $# != 0 ] || mapfile -t images < <(good_images)
	for image in "${images[@]}"; do
		mkdir "$shared/$image" && tar -xJSf "fixtures/$image.tar.xz" -C "$shared/$image" || return
		foretell "$shared/$image"
	done
}

run_images() {
	local image
	new_disks
	for image in "${images[@]}"; do
		{
			job_to_ask "$shared/$image" "$work/image-$image" shared
			echo stop
		} >"$work/image-$image.job"
	done
	run_parts images "${images[@]/#/image-}"
	for image in "${images[@]}"; do
		check_image "$image"
		rm -r "$work/image-$image"
	done
}
check_image() { # image
	local dir=$shared/$1 part=image-$1 inode device sum name
	check_clean "$1" "$dir"
	check_answer "$part" "$dir" "$work/$part" || return
	while read -r name device _ _ _ _ sum; do
		[ "$name" = "$1" ] || continue
		inode=$(json "$dir/check.json" verdict_device inode label |
			awk -v name="$device" '$2 == name || $2 == name "\\n" || $1 == name { print $1 }')
		same "$1: volume $device" "$sum" "$(sha256sum <"$work/$part/volume$inode" | cut -d' ' -f1)"
	done < <(tests/tools/fixture-rows)
}
