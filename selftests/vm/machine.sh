# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # used by the scripts that source this
# The QEMU command line of the test machine, for run and probe-kvm. Sourced
# after lib.sh.
#
#	machine_open KERNEL            find kernel and initramfs
#	machine_base ACCEL CPUS MEM    start QEMU_ARGS with the bare machine
#	machine_initrd FILE NONCE      FILE: initramfs with what stands in the
#	                               directory CONFIG_DIR as /vm
#	machine_append ARGS...         the kernel's command line

# A warning is a failure, and a panic ends the machine (with -no-reboot). The
# whole log goes to the console whatever a test does to the log level. What
# times out does so for an emulated machine on a busy host.
KERNEL_ARGS="console=ttyS0 ignore_loglevel printk.devkmsg=on panic=-1 \
panic_on_warn=1 oops=panic tsc=reliable random.trust_cpu=on mitigations=off \
rcupdate.rcu_cpu_stall_timeout=200 no_timer_check cryptomgr.notests"

machine_open()
{
	local prefix

	KERNEL_NAME=$1
	prefix=$("$VM_DIR/kdir" --prefix "$1")
	KERNEL_RELEASE=$("$VM_DIR/kdir" --release "$1")
	KERNEL_IMAGE=$prefix/bzImage
	[ -e "$KERNEL_IMAGE" ] || KERNEL_IMAGE=$prefix/boot/vmlinuz-$KERNEL_RELEASE
	KERNEL_IMAGE=$("$VM_DIR/uncompress-kernel" "$KERNEL_IMAGE")
	KERNEL_MODULES=
	[ ! -d "$prefix/lib/modules" ] || KERNEL_MODULES=$prefix/lib/modules
	INITRAMFS=$("$VM_DIR/initramfs" "$1")
}

machine_base()
{
	local cpu

	QEMU_ARGS=(qemu-system-x86_64 -nodefaults -no-user-config -display none
		-no-reboot -machine q35 -smp "$2" -m "$3" -kernel "$KERNEL_IMAGE")
	case $1 in
	kvm) QEMU_ARGS+=(-accel kvm -cpu host) ;;
	tcg) QEMU_ARGS+=(-accel tcg,thread=multi -cpu max) ;;
	# Guest time counts instructions: the same on every run.
	icount) QEMU_ARGS+=(-accel tcg,thread=single -cpu max
			-icount shift=0,sleep=off) ;;
	*) die "ACCEL is kvm or tcg, not $1" ;;
	esac
}

# The kernel unpacks archives that follow each other, when each starts at a
# multiple of four bytes.
machine_initrd()
{
	local odd

	cp "$INITRAMFS" "$1"
	odd=$(($(stat -c %s "$1") % 4))
	[ $odd -eq 0 ] || head -c $((4 - odd)) /dev/zero >>"$1"
	(cd "$CONFIG_DIR" && find . | cpio -o -H newc -R 0:0 --quiet) >>"$1"
	QEMU_ARGS+=(-initrd "$1")
}

machine_append()
{
	QEMU_ARGS+=(-append "$KERNEL_ARGS $*")
}

# quote WORD...: the words as a shell reads them back
quote()
{
	local word

	for word in "$@"; do
		printf "'%s' " "${word//\'/\'\\\'\'}"
	done
}
