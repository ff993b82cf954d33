#!/usr/bin/env bash
# The live tests on other kernels, in qemu: tools/kernels.sh [VERSION-PATTERN …]. Needs apt (Debian), qemu-system-x86_64 and busybox.
# KWITNESS_KERNEL_COMMAND runs something else there, as `make test-verifier` does.
#
# A kernel package is fetched and unpacked, never installed. The guest mounts this system's root read-only over 9p and runs the
# tests of this checkout in it, as root; what it writes goes to tmpfs. Emulated (TCG; a nested KVM is often there and broken), so one kernel and door takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/need.sh root qemu-system-x86_64 busybox cpio zstd
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kwitness/kernels
mkdir -p "$cache"
patterns=("$@")
[ ${#patterns[@]} -gt 0 ] || patterns=(6.1 6.12)
default=$(echo tests/live/test_{connections,crashes,exits,failed_calls,failed_connections,file_bytes,file_names,file_totals,hooks,identity,images,name_queries,neighbours,oom_kills,samples,signals,torn_files,waits}.py)
tests=${KWITNESS_KERNEL_TESTS:-$default}
doors=${KWITNESS_KERNEL_DOORS:-fexit sys_exit}
failed=0

# the newest image of a series that apt knows
image() { apt-cache pkgnames "linux-image-$1" | grep -E "^linux-image-${1//./\\.}\.[0-9]+(-[0-9]+)?(\+deb12)?-amd64$" | sort -V | tail -1; }

unpack() { # package directory
	[ -e "$2/done" ] && return
	rm -rf "$2" && mkdir -p "$2/deb"
	(cd "$2/deb" && apt-get download -qq "$1")
	dpkg-deb -x "$2"/deb/*.deb "$2/tree"
	rm -rf "$2/deb"
	touch "$2/done"
}

initramfs() { # directory
	local work="$1/initramfs" modules version
	version=$(ls "$1/tree/lib/modules" 2>/dev/null || ls "$1/tree/usr/lib/modules")
	rm -rf "$work" && mkdir -p "$work"/{bin,modules,proc,sys,dev,root}
	cp "$(command -v busybox)" "$work/bin/busybox"
	for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci netfs fscache 9pnet 9pnet_virtio 9p \
		veth loop crc16 crc32c_generic libcrc32c mbcache jbd2 ext4; do
		file=$(find "$1/tree" -name "$module.ko*" | head -1)
		[ -n "$file" ] || continue
		case $file in
		*.xz) xz -dc "$file" > "$work/modules/$module.ko" ;;
		*.zst) zstd -dcq "$file" > "$work/modules/$module.ko" ;;
		*) cp "$file" "$work/modules/$module.ko" ;;
		esac
	done
	cat > "$work/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin
/bin/busybox --install -s /bin
echo KWITNESS-INIT
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for pass in 1 2 3; do for m in /modules/*.ko; do insmod $m 2>/dev/null; done; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,ro,cache=loose host /root || { echo KWITNESS-STATUS 99; poweroff -f; }
for d in proc sys dev; do mount --bind /$d /root/$d; done
mkdir -p /root/dev/shm
for d in tmp run dev/shm; do mount -t tmpfs tmpfs /root/$d; done
mount -t tracefs tracefs /root/sys/kernel/tracing 2>/dev/null
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup; echo '+memory +cpu' > /root/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
mkdir -p /root/run/netns
chroot /root /bin/bash -c "$(sed -n 's/.*kwitness_run=\([^ ]*\).*/\1/p' /proc/cmdline | base64 -d)"
echo KWITNESS-STATUS $?
poweroff -f
INIT
	chmod +x "$work/init"
	(cd "$work" && find . | cpio -o -H newc 2>/dev/null | gzip -1) > "$1/initramfs.gz"
}

# Fails if the kernel did not come as far as its init, which an emulator on a busy machine may cause; a panic may also stop it for good.
boot() { # directory command log
	local kernel
	kernel=$(find "$1/tree/boot" -name 'vmlinuz-*' | head -1)
	timeout 1200 qemu-system-x86_64 -M q35 -cpu max -m 3G -smp 2 -net none -display none -serial stdio -no-reboot \
		-kernel "$kernel" -initrd "$1/initramfs.gz" \
		-fsdev local,id=host,path=/,security_model=none,multidevs=remap,readonly=on -device virtio-9p-pci,fsdev=host,mount_tag=host \
		-append "console=ttyS0 quiet panic=-1 no_timer_check kwitness_run=$(echo "$2" | base64 -w0)" > "$3" 2>&1 < /dev/null &
	while kill -0 $! 2> /dev/null; do
		if grep -aq 'Kernel panic' "$3"; then
			sleep 5 # its last words
			kill $! 2> /dev/null || true
		fi
		sleep 1
	done
	wait $! || true
	grep -aq KWITNESS-INIT "$3"
}

for pattern in "${patterns[@]}"; do
	package=$(image "$pattern")
	[ -n "$package" ] || { echo "kernels: apt knows no linux-image-$pattern"; failed=1; continue; }
	unpack "$package" "$cache/$package"
	initramfs "$cache/$package"
	for door in $doors; do
		echo "== $package, door $door"
		command="cd $PWD && HOME=/tmp HYPOTHESIS_STORAGE_DIRECTORY=/tmp/h PYTHONDONTWRITEBYTECODE=1 KWITNESS_DOOR=$door KWITNESS_SHARED_SOURCE=1 KWITNESS_TEST_REQUIRE=live \
timeout 900 .venv/bin/python -m pytest -q -p no:cacheprovider --basetemp=/tmp/pytest $tests"
		[ -z "${KWITNESS_KERNEL_COMMAND:-}" ] || command="cd $PWD && HOME=/tmp KWITNESS_DOOR=$door $KWITNESS_KERNEL_COMMAND"
		log="$cache/$package-$door.log"
		boot "$cache/$package" "$command" "$log" || boot "$cache/$package" "$command" "$log" || true
		tr -d '\r' < "$log" | grep -aE '^(FAILED|ERROR|[0-9]+ (passed|failed))|passed|REFUSED|TOO DEEP|KWITNESS-STATUS' || tail -20 "$log"
		grep -aq 'KWITNESS-STATUS 0' "$log" || { echo "kernels: $package with door $door FAILED; all of it: $log"; failed=1; }
	done
done
exit $failed
