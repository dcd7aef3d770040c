# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What the parts of check-kernel share: booting a kernel with jobs and disks, and reading its log.
#
# Set by check-kernel: B, here, kernel (its series), kernel_dir, work (a folder that goes), logs (one
# that stays). Every kernel has a process of its own with its own work and logs.

# ---- results ----------------------------------------------------------------------------
ok() { echo ok >>"$work/results"; }
not_ok() { # what, why
	echo "not ok" >>"$work/results"
	printf 'kernel %s: %s\n' "$kernel" "$*"
}
same() { # what, wanted, got
	if [ "$2" = "$3" ]; then
		ok
	else
		not_ok "$1: '$3', wanted '$2'"
	fi
}

# ---- disks ------------------------------------------------------------------------------
new_disks() {
	disk_args=()
	n_disks=0
}
# Sets lun. Kinds: "shared" is not changed, what the guest writes is dropped; "kept" is changed;
# "discards" too, and can discard (bcache treats a set differently then, so others cannot); "out" is
# made here, with holes where the guest writes zeroes.
add_disk() { # kind file [bytes for out, or logical block size]
	local drive="if=none,id=disk$n_disks,format=raw,file=${2//,/,,}" device=,discard_granularity=0
	case $1 in
	shared) drive+=,cache=unsafe,snapshot=on,file.locking=off ;;
	kept) drive+=,cache=unsafe ;;
	discards)
		drive+=,cache=unsafe,discard=unmap
		device=
		;;
	out)
		rm -f "$2" && truncate -s "$3" "$2" || return
		drive+=,cache=unsafe,discard=unmap,detect-zeroes=unmap
		;;
	esac
	[ "$1" = out ] || [ -z "${3-}" ] || device+=,logical_block_size=$3,physical_block_size=$3
	lun=$n_disks
	n_disks=$((n_disks + 1))
	disk_args+=(-drive "$drive" -device
		"scsi-hd,drive=disk$lun,bus=scsi.0,channel=0,scsi-id=0,lun=$lun$device")
}

# ---- boots ------------------------------------------------------------------------------
# The initramfs without a job. The guest's programs may need libraries.
make_initramfs() { # file
	local root=$work/root program library
	mkdir -p "$root"/{bin,dev,proc,sys,modules} || return
	cp "$kernel_dir"/modules/* "$root/modules/" || return
	cp "$here/guest-init" "$root/init" && chmod 755 "$root/init" || return
	for program in "$(command -v busybox)" "$B/tests/kernel/guest_io"; do
		cp "$program" "$root/bin/" || return
		for library in $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*'); do
			mkdir -p "$root/${library%/*}" && cp -L "$library" "$root/$library" || return
		done
	done
	ln -s busybox "$root/bin/sh"
	(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$1"
}

# Starts the kernel with the job and the disks and waits for its end, which is a reset. A guest that
# says nothing for too long is stopped.
boot() { # log, job
	local log=$1 size last=0 quiet=0 is_silent= qemu
	mkdir -p "$work/job" && cp "$2" "$work/job/job" || return
	{
		cat "$work/initramfs"
		(cd "$work/job" && echo job | cpio -o -H newc -R 0:0 --quiet)
	} >"$work/initramfs.job"
	qemu-system-x86_64 -accel tcg -nodefaults -no-user-config -display none -no-reboot -m 1024 \
		-kernel "$kernel_dir/vmlinuz" -initrd "$work/initramfs.job" \
		-append "console=ttyS0 no_timer_check panic=-1 oops=panic softlockup_panic=1 printk.devkmsg=on \
log_buf_len=4M loglevel=7" \
		-device virtio-scsi-pci,id=scsi "${disk_args[@]}" -serial "file:$log.raw" \
		>"$log.qemu" 2>&1 </dev/null &
	qemu=$!
	while kill -0 $qemu 2>/dev/null; do
		sleep 0.2
		size=$(stat -c %s "$log.raw" 2>/dev/null)
		quiet=$((quiet + 1))
		[ "$size" = "$last" ] || quiet=0
		last=$size
		if [ $quiet -ge $((silence * 5)) ]; then
			is_silent=1
			kill $qemu 2>/dev/null
			quiet=0
		fi
	done
	wait $qemu 2>/dev/null
	tr -d '\r' <"$log.raw" | sed 's/^\[ *[0-9.]*\] //' >"$log"
	[ -n "$is_silent" ] || cat "$log.qemu"
	rm -f "$log.qemu"
}
silence=180

# Boots until each part has had its turn. What one part does to the kernel cannot hurt the others:
# when a boot ends in a part, the next boot goes on behind it. The job of a part is the file
# $work/NAME.job; what the kernel said in it goes to $logs/NAME.log.
run_parts() { # label, names...
	local label=$1 todo name left n=0 idle=0 log
	shift
	todo=("$@")
	while [ ${#todo[@]} != 0 ]; do
		n=$((n + 1))
		log=$logs/boot-$label-$n.log
		{
			echo "disks $n_disks"
			for name in "${todo[@]}"; do
				echo "begin $name"
				cat "$work/$name.job"
				echo end
			done
		} >"$work/$label.job"
		boot "$log" "$work/$label.job"
		left=()
		for name in "${todo[@]}"; do
			sed -n "/^@ $name begin\$/,/^@ $name end\$/p" "$log" >"$logs/$name.log"
			[ -s "$logs/$name.log" ] || left+=("$name")
		done
		# A busy machine can make a kernel fail before it comes to anything.
		[ "${#left[@]}" = "${#todo[@]}" ] && idle=$((idle + 1))
		if [ $idle = 3 ]; then
			not_ok "boot $label did not come to $name, see $log"
			return 1
		fi
		todo=("${left[@]}")
	done
}

# ---- the log of a part ------------------------------------------------------------------
said() { # name, pattern: what stands behind it
	sed -n "s/^@ $1 $2 \{0,1\}//p" "$logs/$1.log"
}
# How it ended: "ends", "hangs" or "oops".
ending() { # name
	if grep -q "^@ $1 end\$" "$logs/$1.log"; then
		echo ends
	elif grep -Eq '^(BUG|kernel BUG|Oops|general protection|Kernel panic|stack segment)|: 0000 \[' \
		"$logs/$1.log" && ! grep -q 'soft lockup' "$logs/$1.log"; then
		echo oops
	else
		echo hangs
	fi
}
# The lines of the kernel while a disk was being registered.
lines() { # name, role and LUN
	sed -n "/^@ $1 $2 registering\$/,/^@ $1 /{/^@ /!p;}" "$logs/$1.log"
}
# Who waits for what when the guest gave up waiting: tasks, and what they were called from.
blocked() { # name
	sed -n "/^@ $1 hang /,\$p" "$logs/$1.log" | sed -nE 's/^task:([^ ]+).*/\1:/p
		s/^ ([a-z_][^ ]*)\+0x.*/  \1/p' | head -n 60
}
# Nothing went wrong in the guest.
check_part() { # name
	local wrong
	wrong=$(grep -E "^@ ($1|boot) (missing|error|hang)" "$logs/$1.log")
	if [ "$(ending "$1")" = ends ] && [ -z "$wrong" ]; then
		ok
	else
		not_ok "$1: $(ending "$1") $wrong, see $logs/$1.log"
		blocked "$1"
		return 1
	fi
}
