#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Linux guest uses the disk of examples/vhost-user-blk.c, and both sides check it.

usage: vhost_user_blk.py BACK-END [migrate]

The guest (Debian's cloud kernel under qemu's own emulation, an initramfs of busybox and its virtio
modules) reads the whole disk, mounts it, reads a file, writes one, mounts it again and reads that.
The hashes it prints are those that the host computes; the host finds the guest's file in a file
system without faults; the back-end's log of written pages is what it knows it wrote.

migrate: the guest reads the disk again and again, from the disk and from its page cache, while it
moves to another qemu with another back-end. Of the pages that the device writes meanwhile qemu knows
by the back-end's log alone: one that is missing there is an old page in the new guest's cache.

Skips (77) where qemu, busybox, e2fsprogs or the kernel are missing: scripts/deps.sh test.
"""
import glob
import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
TIMEOUT = 300
MEMORY = 128  # MiB
STARTS = (7, 3, 10, 5)  # MiB
MODULES = ['virtio/virtio_ring', 'virtio/virtio', 'virtio/virtio_pci_legacy_dev',
           'virtio/virtio_pci_modern_dev', 'virtio/virtio_pci', 'block/virtio_blk']
BEGIN = '''#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for m in %s; do insmod /mod/$m.ko; done
''' % ' '.join(os.path.basename(m) for m in MODULES)
USE = BEGIN + '''
echo "GUEST disk $(sha256sum < /dev/vda)"
mount -t ext4 /dev/vda /mnt
echo "GUEST given $(sha256sum < /mnt/given)"
cat /mnt/given /mnt/given > /mnt/made
umount /mnt
echo 3 > /proc/sys/vm/drop_caches
mount -t ext4 /dev/vda /mnt
echo "GUEST made $(sha256sum < /mnt/made)"
umount /mnt
poweroff -f
'''
# Each time from another place on, so that a page of memory that was used before holds other bytes.
READ = BEGIN + '''
hash() { (dd if=/dev/vda bs=1M skip=$1; dd if=/dev/vda bs=1M count=$1) 2> /dev/null | sha256sum; }
while true; do
	for n in %s; do
		echo 3 > /proc/sys/vm/drop_caches
		echo "GUEST $n $(hash $n)"
		echo "GUEST $n $(hash $n)"
	done
done
''' % ' '.join(map(str, STARTS))


def skip(why):
    print('skipped: ' + why)
    sys.exit(77)


def program(name):
    path = shutil.which(name, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')
    return path or skip(name + ' is missing (scripts/deps.sh test)')


def kernel():
    """Where the kernel and its modules are: what deps.sh keeps, or an installed one."""
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    for root in (os.path.join(cache, 'vmspace', 'linux'), ''):
        for image in sorted(glob.glob(root + '/boot/vmlinuz-*-cloud-amd64'), reverse=True):
            version = os.path.basename(image)[len('vmlinuz-'):]
            drivers = '%s/lib/modules/%s/kernel/drivers/' % (root, version)
            if all(os.path.exists(drivers + m + '.ko') for m in MODULES):
                return image, drivers
    return skip('no cloud kernel (scripts/deps.sh test)')


def cpio(entries):
    """An archive in the kernel's own format: (name, mode, bytes) each."""
    out = b''
    for i, (name, mode, data) in enumerate(entries + [('TRAILER!!!', 0, b'')]):
        head = b'070701' + b''.join(b'%08x' % v for v in (
            i + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0))
        out += head + name.encode() + b'\0'
        out += b'\0' * (-len(out) % 4) + data
        out += b'\0' * (-len(out) % 4)
    return out


def initrd(busybox, drivers, init):
    entries = [(d, 0o40755, b'') for d in ('bin', 'mod', 'dev', 'proc', 'mnt')]
    with open(busybox, 'rb') as f:
        entries.append(('bin/busybox', 0o100755, f.read()))
    for name in ('sh', 'mount', 'umount', 'insmod', 'sha256sum', 'cat', 'dd',
                 'poweroff'):
        entries.append(('bin/' + name, 0o120777, b'busybox'))
    for m in MODULES:
        with open(drivers + m + '.ko', 'rb') as f:
            entries.append(('mod/' + os.path.basename(m) + '.ko', 0o100644, f.read()))
    entries.append(('init', 0o100755, init.encode()))
    return gzip.compress(cpio(entries), 1)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def make_disk(directory):
    """An ext4 file system that holds one file of random bytes."""
    source, disk = os.path.join(directory, 'source'), os.path.join(directory, 'disk')
    given = os.urandom(3 * MIB + 12345)
    os.mkdir(source)
    with open(os.path.join(source, 'given'), 'wb') as f:
        f.write(given)
    subprocess.run([program('mke2fs'), '-q', '-t', 'ext4', '-d', source, disk, '12M'],
                   check=True, stdout=subprocess.DEVNULL)
    with open(disk, 'rb') as f:
        return disk, given, sha(f.read())


def qemu_command(emulator, image, initramfs, sock):
    return [emulator, '-accel', 'tcg', '-m', str(MEMORY), '-smp', '1', '-nodefaults', '-no-reboot',
            '-display', 'none', '-serial', 'stdio',
            '-object', 'memory-backend-memfd,id=mem,size=%dM,share=on' % MEMORY,
            '-machine', 'q35,memory-backend=mem',
            '-kernel', image, '-initrd', initramfs,
            # The kernel does not write to pages before the device does: qemu would see that.
            '-append', 'console=ttyS0 quiet panic=-1 init_on_alloc=0',
            '-chardev', 'socket,id=c0,path=' + sock,
            '-device', 'vhost-user-blk-pci,chardev=c0']


class Machine:
    """A back-end and the guest that it serves; what the guest says, by lines."""

    def __init__(self, backend, command, sock, disk):
        self.server = subprocess.Popen([backend, '-c', sock, disk], stdout=subprocess.PIPE)
        self.guest = None
        self.lines = []
        end = time.time() + 20
        while not os.path.exists(sock):
            if self.server.poll() is not None or time.time() > end:
                sys.exit('the back-end does not listen')
            time.sleep(0.02)
        self.guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.guest.stdout:
            self.lines.append(line.decode(errors='replace').strip())

    def told(self):
        """What the guest said: (name, hash) each."""
        words = [line.split() for line in list(self.lines)]
        return [(w[1], w[2]) for w in words if len(w) >= 3 and w[0] == 'GUEST']

    def wait(self, done, what):
        end = time.time() + TIMEOUT
        while not done():
            ended = self.guest.poll()
            if time.time() > end or ended is not None:
                sys.exit('%s: qemu %s. The guest: %s' % (
                    what, 'takes too long' if ended is None else 'ended with %d' % ended,
                    self.lines[-20:]))
            time.sleep(0.05)

    def end(self):
        """After qemu has ended: what the back-end found."""
        self.reader.join(20)
        said = self.server.communicate(timeout=20)[0].decode()
        print(said, end='')
        if self.server.returncode:
            sys.exit('the back-end ended with %d' % self.server.returncode)
        if 'missing: 0, too many: 0' not in said or 'pages written: 0,' in said:
            sys.exit('the log of written pages is wrong')

    def kill(self):
        for process in (self.guest, self.server):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def check_disk(directory, disk, made):
    subprocess.run([program('e2fsck'), '-fn', disk], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    out = os.path.join(directory, 'made')
    subprocess.run([program('debugfs'), '-R', 'dump made ' + out, disk], check=True,
                   stderr=subprocess.DEVNULL)
    with open(out, 'rb') as f:
        if f.read() != made:
            sys.exit('the file that the guest made is another one on the host')


def use(directory, machine, disk, given, digest):
    want = [('disk', digest), ('given', sha(given)), ('made', sha(given + given))]
    vm = machine('first')
    try:
        vm.guest.wait(TIMEOUT)
        vm.end()
    finally:
        vm.kill()
    if vm.told() != want:
        sys.exit('the guest says %s, not %s: %s' % (vm.told(), want, vm.lines[-20:]))
    check_disk(directory, disk, given + given)


def monitor(path, command):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.settimeout(10)
        said = b''
        for text in (None, command):
            if text:
                s.sendall(text.encode() + b'\n')
                said = b''
            while not said.rstrip().endswith(b'(qemu)'):
                got = s.recv(65536)
                if not got:
                    break
                said += got
        return said.decode(errors='replace')


def memory_of(hmp, path):
    """All of the guest's memory. The guest stands still."""
    monitor(hmp, 'pmemsave 0 %d "%s"' % (MEMORY * MIB, path))
    with open(path, 'rb') as f:
        return f.read()


def left(hmp):
    """The part of the memory that is still to be sent."""
    info = monitor(hmp, 'info migrate')
    ram = {line.split(' ram:')[0]: int(line.split()[-2]) for line in info.splitlines()
           if ' ram:' in line and line.endswith('kbytes')}
    if 'completed' in info:
        return 0
    return ram['remaining'] / ram['total'] if ram.get('total') else 1


def migrate(directory, machine, disk):
    with open(disk, 'rb') as f:
        data = f.read()
    want = {str(n): sha(data[n * MIB:] + data[:n * MIB]) for n in STARTS}
    hmp, state = os.path.join(directory, 'hmp'), os.path.join(directory, 'state')
    first = machine('first', '-monitor', 'unix:%s,server=on,wait=off' % hmp)
    second = None
    try:
        first.wait(lambda: len(first.told()) >= 1, 'the guest')
        # Most of the memory is sent; then it waits until the device has written all over it.
        monitor(hmp, 'migrate_set_parameter downtime-limit 0')
        monitor(hmp, 'migrate_set_parameter max-bandwidth 16M')
        monitor(hmp, 'migrate -d "exec:cat > %s"' % state)
        first.wait(lambda: left(hmp) < 0.08, 'most of it')
        monitor(hmp, 'migrate_set_parameter max-bandwidth 1k')
        n = len(first.told())
        first.wait(lambda: len(first.told()) >= n + 4 or left(hmp) == 0, 'the guest that moves')
        print('hashes while it moves: %d' % (len(first.told()) - n))
        monitor(hmp, 'migrate_set_parameter max-bandwidth 1G')
        monitor(hmp, 'migrate_set_parameter downtime-limit 20000')
        first.wait(lambda: 'Migration status: completed' in monitor(hmp, 'info migrate'),
                   'the migration')
        before = memory_of(hmp, os.path.join(directory, 'before'))
        monitor(hmp, 'quit')
        first.guest.wait(20)
        first.end()
        second = machine('second', '-incoming', 'exec:cat ' + state, '-S', '-monitor',
                         'unix:%s,server=on,wait=off' % hmp)
        second.wait(lambda: os.path.exists(hmp), 'the monitor')
        second.wait(lambda: 'inmigrate' not in monitor(hmp, 'info status'), 'the arrival')
        after = memory_of(hmp, os.path.join(directory, 'after'))
        lost = [at for at in range(0, len(before), 4096)
                if before[at:at + 4096] != after[at:at + 4096]]
        if lost or len(before) != MEMORY * MIB:
            sys.exit('%d of %d pages are others after the move' % (
                len(lost), len(before) // 4096))
        monitor(hmp, 'cont')
        second.wait(lambda: len(second.told()) >= 3, 'the guest that moved')
        second.guest.kill()
        second.guest.wait()
        second.end()
    finally:
        first.kill()
        if second:
            second.kill()
    told = first.told() + second.told()
    print('hashes before: %d, after: %d' % (len(first.told()), len(second.told())))
    wrong = [t for t in told if t[1] != want.get(t[0])]
    if wrong:
        sys.exit('of %d hashes these are wrong: %s' % (len(told), wrong))


def main():
    moves = sys.argv[2:] == ['migrate']
    emulator, busybox = program('qemu-system-x86_64'), program('busybox')
    image, drivers = kernel()
    with tempfile.TemporaryDirectory() as directory:
        disk, given, digest = make_disk(directory)
        initramfs = os.path.join(directory, 'initrd')
        with open(initramfs, 'wb') as f:
            f.write(initrd(busybox, drivers, READ if moves else USE))

        def machine(name, *more):
            sock = os.path.join(directory, name)
            command = qemu_command(emulator, image, initramfs, sock) + list(more)
            return Machine(sys.argv[1], command, sock, disk)

        if moves:
            migrate(directory, machine, disk)
        else:
            use(directory, machine, disk, given, digest)


main()
