#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Linux guest uses the disk of examples/vhost-user-blk.c, and both sides check it.

usage: vhost_user_blk.py BACK-END

The guest (Debian's cloud kernel under qemu's own emulation, an initramfs of busybox and its virtio
modules) reads the whole disk, mounts it, reads a file, writes one, mounts it again and reads that.
The hashes it prints are those that the host computes; the host finds the guest's file in a file
system without faults; the back-end's log of written pages is what it knows it wrote.

Skips (77) where qemu, busybox, e2fsprogs or the kernel are missing: scripts/deps.sh test.
"""
import glob
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
TIMEOUT = 120
MODULES = ['virtio/virtio_ring', 'virtio/virtio', 'virtio/virtio_pci_legacy_dev',
           'virtio/virtio_pci_modern_dev', 'virtio/virtio_pci', 'block/virtio_blk']
INIT = '''#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for m in %s; do insmod /mod/$m.ko; done
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
''' % ' '.join(os.path.basename(m) for m in MODULES)


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


def initrd(busybox, drivers):
    entries = [(d, 0o40755, b'') for d in ('bin', 'mod', 'dev', 'proc', 'mnt')]
    with open(busybox, 'rb') as f:
        entries.append(('bin/busybox', 0o100755, f.read()))
    for name in ('sh', 'mount', 'umount', 'insmod', 'sha256sum', 'cat', 'poweroff'):
        entries.append(('bin/' + name, 0o120777, b'busybox'))
    for m in MODULES:
        with open(drivers + m + '.ko', 'rb') as f:
            entries.append(('mod/' + os.path.basename(m) + '.ko', 0o100644, f.read()))
    entries.append(('init', 0o100755, INIT.encode()))
    return gzip.compress(cpio(entries), 1)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def make_disk(directory):
    """An ext4 file system that holds one file of random bytes."""
    source, disk = os.path.join(directory, 'source'), os.path.join(directory, 'disk')
    given = os.urandom(5 * MIB + 12345)
    os.mkdir(source)
    with open(os.path.join(source, 'given'), 'wb') as f:
        f.write(given)
    subprocess.run([program('mke2fs'), '-q', '-t', 'ext4', '-d', source, disk, '32M'], check=True)
    with open(disk, 'rb') as f:
        return disk, given, sha(f.read())


def qemu_command(emulator, image, initramfs, sock):
    return [emulator, '-accel', 'tcg', '-m', '256', '-smp', '1', '-nodefaults', '-no-reboot',
            '-display', 'none', '-serial', 'stdio',
            '-object', 'memory-backend-memfd,id=mem,size=256M,share=on',
            '-machine', 'q35,memory-backend=mem',
            '-kernel', image, '-initrd', initramfs,
            '-append', 'console=ttyS0 quiet panic=-1',
            '-chardev', 'socket,id=c0,path=' + sock,
            '-device', 'vhost-user-blk-pci,chardev=c0']


def wait_for(path, process):
    end = time.time() + 20
    while not os.path.exists(path):
        if process.poll() is not None or time.time() > end:
            sys.exit('the back-end does not listen')
        time.sleep(0.02)


def run_guest(backend, command, sock, disk):
    """What the guest and the back-end printed."""
    server = subprocess.Popen([backend, '-c', sock, disk], stdout=subprocess.PIPE)
    try:
        wait_for(sock, server)
        guest = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               timeout=TIMEOUT, check=True)
        said = server.communicate(timeout=20)[0].decode()
    finally:
        if server.poll() is None:
            server.kill()
    print(said, end='')
    if server.returncode:
        sys.exit('the back-end ended with %d' % server.returncode)
    return guest.stdout.decode(errors='replace'), said


def told(output):
    lines = [line.split() for line in output.splitlines() if line.startswith('GUEST ')]
    return {words[1]: words[2] for words in lines if len(words) >= 3}


def check_disk(directory, disk, made):
    subprocess.run([program('e2fsck'), '-fn', disk], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    out = os.path.join(directory, 'made')
    subprocess.run([program('debugfs'), '-R', 'dump made ' + out, disk], check=True,
                   stderr=subprocess.DEVNULL)
    with open(out, 'rb') as f:
        if f.read() != made:
            sys.exit('the file that the guest made is another one on the host')


def main():
    emulator, busybox = program('qemu-system-x86_64'), program('busybox')
    image, drivers = kernel()
    with tempfile.TemporaryDirectory() as directory:
        disk, given, digest = make_disk(directory)
        initramfs = os.path.join(directory, 'initrd')
        with open(initramfs, 'wb') as f:
            f.write(initrd(busybox, drivers))
        sock = os.path.join(directory, 'sock')
        output, said = run_guest(sys.argv[1], qemu_command(emulator, image, initramfs, sock), sock,
                                 disk)
        want = {'disk': digest, 'given': sha(given), 'made': sha(given + given)}
        if told(output) != want:
            sys.exit('the guest says %s, not %s:\n%s' % (told(output), want, output[-2000:]))
        check_disk(directory, disk, given + given)
        if 'missing: 0, too many: 0' not in said or 'pages written: 0,' in said:
            sys.exit('the log of written pages is wrong')


main()
