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

run_damage() {
	local name disk first=0 chunk=100 label
	: >"$work/table"
	while [ $first -lt ${#damage[@]} ]; do
		new_disks
		for name in "${damage[@]:first:chunk}"; do
			{
				echo 'patience=30'
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

# What became of a disk, in the words of a prediction.
outcome() { # part, role and LUN
	local word
	word=$(said "$1" "$2" | sed -n '2{s/ .*//;p;}')
	case $word in
	registered | attached) echo registers ;;
	running) echo uncached ;;
	waiting) echo waits ;;
	failed)
		if lines "$1" "$2" | grep -Eq 'bch_cache_set_error|failed to run cache set'; then
			echo stops-set
		else
			echo refuses-device
		fi
		;;
	*)
		if said "$1" "$2" | grep -q .; then
			ending "$1"
		else
			echo untried
		fi
		;;
	esac
}
# The prediction for a device, and an array in it, one value a line.
prediction() { # name, disk
	grep -F "{\"kind\":\"prediction\",\"kernel\":\"$kernel\"," "$shared/$1/check.json" |
		grep -F "/$2.img\",\"role\""
}
values() { # prediction, key
	sed -n 's/.*"'"$2"'":\[\("\([^"\\]\|\\.\|","\)*"\)\].*/\1/p' <<<"$1" |
		sed 's/^"//; s/"$//; s/","/\n/g' | sed 's/\\\(.\)/\1/g'
}
# Whether a line of the kernel is one of the patterns, which are formats of printk.
fits() { # line; patterns
	sed 's/[][\.*^$+?(){}|]/\\&/g; s/%[-0-9]*l*[a-zA-Z]*/.*/g; s/.*/(^|[^0-9A-Za-z])(&)([^0-9A-Za-z]|$)/' |
		grep . | grep -Eqf - <(echo "$1")
}
# What a kernel says when all is well; and the end of the set before comes late.
harmless='cache_set_free\(\) Cache set|bcache_device_free\(\)|register_cache\(\) registered cache|journal replay done|registered backing device|Caching .* as|invalidating existing data'

first_line() { # lines
	grep '^bcache: ' | grep -Ev "$harmless" | head -n 1
}
# A set that runs can still fail when its backing devices come; with them there before, the same
# would have happened to the cache. Sets got and first to what is foretold, if that is so.
failed_later() { # name, foretold outcomes
	local later
	later=$(ending "$1")
	if [ "$later" = ends ]; then
		sed -n '/^@ .* backing [0-9]* registering/,$p' "$logs/$1.log" |
			grep -q 'bch_cache_set_error' || return
		later=stops-set
	fi
	[[ " $2 " == *" $later "* ]] || return
	got=$later
	first=$(first_line <"$logs/$1.log")
}

check_damage() { # name
	local name=$1 lun disk role got first foretold outcomes patterns
	while read -r lun disk; do
		role="${disk%%[0-9]*} $lun"
		got=$(outcome "$name" "$role")
		first=$(lines "$name" "$role" | first_line)
		foretold=$(prediction "$name" "$disk")
		outcomes=$(values "$foretold" outcomes | tr '\n' ' ')
		outcomes=${outcomes% }
		patterns=$(values "$foretold" first_lines)
		{
			echo "$name $disk foretold=$outcomes got=$got first=$first"
			lines "$name" "$role" | grep -E '^bcache: |BUG|RIP: 0010|WARNING|^Oops|^Kernel panic' |
				sed 's/^/    /'
		} >>"$work/table"
		[ "$got" != untried ] || continue
		[ "$disk $got" != 'cache registers' ] || [[ " $outcomes " == *' registers '* ]] ||
			failed_later "$name" "$outcomes"
		# Unknown stands for any: the first line has to fit all the same.
		if [[ " $outcomes " != *" $got "* && " $outcomes " != *' unknown '* ]]; then
			not_ok "$name: $disk: foretold '$outcomes', but '$got': $first"
			continue
		fi
		ok
		case $got in
		registers | uncached | waits) continue ;;
		esac
		if [ -z "$first" ] || fits "$first" <<<"$patterns"; then
			ok
		else
			not_ok "$name: $disk: foretold '$(head -n 3 <<<"$patterns" | tr '\n' ';')', but '$first'"
		fi
	done <"$work/$name.disks"
	if [ "$(ending "$name")" != ends ]; then
		echo "$name $(ending "$name") after $(grep "^@ $name" "$logs/$name.log" | tail -n 1)" \
			>>"$work/table"
	fi
}
