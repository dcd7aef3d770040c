# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The same caches as metadata images, restored: a kernel has to find the tree, the keys and the
# dirty bytes of the original. There is no data in them, so volumes are not compared.

prepare_restored() { # names
	local image dir
	restored=("$@")
	[ $# != 0 ] || mapfile -t restored < <(good_images)
	for image in "${restored[@]}"; do
		dir=$shared/$image.original
		mkdir "$dir" && tar -xJSf "fixtures/$image.tar.xz" -C "$dir" || return
		foretell "$dir"
		"$dump" image -q -o "$shared/$image.image" "$dir"/*.img || return
		"$dump" restore -q -o "$shared/$image" "$shared/$image.image" || return
		foretell "$shared/$image"
		rm -r "$dir"/*.img "$shared/$image.image"
	done
}

run_restored() {
	local image
	new_disks
	for image in "${restored[@]}"; do
		{
			job_to_ask "$shared/$image" "$work/restored-$image" shared
			echo stop
		} >"$work/restored-$image.job"
	done
	run_parts restored "${restored[@]/#/restored-}"
	for image in "${restored[@]}"; do
		check_restored "$image"
		rm -r "$work/restored-$image"
	done
}
check_restored() { # image
	local dir=$shared/$1
	check_clean "$1, restored" "$dir"
	same "$1, restored: keys" '' "$(cmp "$dir.original/keys" "$dir/keys" 2>&1)"
	check_answer "restored-$1" "$dir" "$work/restored-$1"
}
