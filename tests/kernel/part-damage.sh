# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Damaged caches: what bcache-fsck -n foretells for a kernel has to come true.

prepare_damage() { # names
	local name dir base
	damage=()
	if [ $# = 0 ]; then
		shopt -s nullglob
		set -- fixtures/kernel-cases/*/
		shopt -u nullglob
	fi
	for name; do
		name=${name%/}
		damage+=("${name##*/}")
	done
	for name in "${damage[@]}"; do
		dir=$(damage_recipe "$name")
		if [ -z "$dir" ]; then
			echo "check-kernel: no case is called '$name'" >&2
			return 1
		fi
		mkdir "$shared/$name"
		base=$("$mkimage" --print-base "$dir/recipe")
		if [ -n "$base" ] && [ ! -d "$tmp/base-$base" ]; then
			mkdir "$tmp/base-$base" && tar -xJSf "fixtures/$base.tar.xz" -C "$tmp/base-$base" || return
		fi
		"$mkimage" ${base:+--base "$tmp/base-$base"} "$dir/recipe" "$shared/$name" || return
		"$fsck" -n --json "$shared/$name"/*.img >"$shared/$name/check.json" 2>/dev/null </dev/null
	done
	return 0
}
damage_recipe() { # name
	local dir
	for dir in fixtures/kernel-cases fixtures/cases; do
		if [ -e "$dir/$1/recipe" ]; then
			echo "$dir/$1"
			return
		fi
	done
}

run_damage() {
	local name disk first=0 chunk=100 label
	: >"$work/table"
	while [ $first -lt ${#damage[@]} ]; do
		new_disks
		for name in "${damage[@]:first:chunk}"; do
			{
				for disk in "$shared/$name"/{cache,backing?}.img; do
					[ -e "$disk" ] || continue
					add_disk shared "$disk"
					disk=${disk##*/}
					disk=${disk%.img}
					echo "${disk%%[0-9]*} $lun"
					echo "$lun $disk" >>"$work/$name.disks"
				done
				echo stop
			} >"$work/$name.job"
		done
		label=damage$((first / chunk + 1))
		run_parts $label "${damage[@]:first:chunk}"
		for name in "${damage[@]:first:chunk}"; do
			check_damage "$name"
		done
		first=$((first + chunk))
	done
	mv "$work/table" "$logs/../damage-$kernel.txt"
}

# What became of a disk: registered; attached, waiting, running; failed, oopses, hangs; untried.
outcome() { # part, role and LUN
	local word
	word=$(said "$1" "$2" | sed -n '2{s/ .*//;p;}')
	if [ -n "$word" ]; then
		echo "$word"
	elif said "$1" "$2" | grep -q .; then
		ending "$1"
	else
		echo untried
	fi
}
# A line of the kernel that a foretold pattern, a format of printk, fits.
fits() { # line, pattern
	local regex
	regex=$(sed 's/[][\.*^$+?(){}|]/\\&/g; s/%[-0-9]*l*[a-zA-Z]*/.*/g' <<<"$2")
	grep -Eq -- "$regex" <<<"$1"
}
check_damage() { # name
	local name=$1 lun disk role got first foretold pattern
	while read -r lun disk; do
		role="${disk%%[0-9]*} $lun"
		got=$(outcome "$name" "$role")
		first=$(lines "$name" "$role" | grep -E '^bcache: |BUG' | grep -Ev "$harmless" | head -n 1)
		foretold=-
		if [ "$disk" = cache ]; then
			foretold=$(json "$shared/$name/check.json" verdict registers)
			if [ "$foretold" = true ] && [ "$got" = registered ]; then
				ok
			elif [ "$foretold" = false ] && [ "$got" != registered ]; then
				if sed -n 's/.*"first_messages":\[\([^]]*\).*/\1/p' "$shared/$name/check.json" |
					sed 's/^"//; s/"$//; s/","/\n/g' | while read -r pattern; do
					fits "$first" "$pattern" && echo "$pattern"
				done | grep -q .; then
					ok
				else
					not_ok "$name: first line not foretold: $first"
				fi
			else
				not_ok "$name: foretold $foretold, but $got: $first"
			fi
		fi
		{
			echo "$name $disk foretold=$foretold got=$got first=$first"
			lines "$name" "$role" | grep -E '^bcache: |BUG|RIP: 0010|WARNING|^Oops|^Kernel panic' |
				sed 's/^/    /'
		} >>"$work/table"
	done <"$work/$name.disks"
	if [ "$(ending "$name")" != ends ]; then
		not_ok "$name: $(ending "$name"), see $logs/$name.log"
		echo "$name $(ending "$name") after $(grep "^@ $name" "$logs/$name.log" | tail -n 1)" \
			>>"$work/table"
	fi
}
# What a kernel says when all is well; and the end of the set before comes late.
harmless='cache_set_free\(\) Cache set|bcache_device_free\(\)|register_cache\(\) registered cache|journal replay done|registered backing device|Caching .* as|invalidating existing data'
