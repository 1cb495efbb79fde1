// SPDX-License-Identifier: MIT
/*
 * support.c: what the host can do, found out by asking it. Nothing stays open, nothing is kept.
 */
#include "vmspace/support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fail.h"
#include "vms_config.h"

/* Not in every <linux/...>. */
#define POPULATE_WRITE	    23
#define GUARD_INSTALL	    102
#define CAP_MANUAL_LOG	    168
#define CAP_RING	    192
#define CAP_RING_ACQ_REL    223
#define CAP_GUEST_MEMFD	    234
#define BARRIER_QUERY	    0
#define BARRIER_EXPEDITED   (1 << 3)
#define KVM_STABLE_VERSION  12

/* The file as a string; empty: not there. */
static void slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

static uint64_t number_in(const char *path)
{
	unsigned long long n = 0;
	char buf[64];

	slurp(path, buf, sizeof(buf));
	return sscanf(buf, "%llu", &n) == 1 ? n : 0;
}

static void ask_huge_pages(struct vms_support *s)
{
	unsigned long long kib = 0;
	char buf[8192], path[96];
	const char *line;

	slurp("/proc/meminfo", buf, sizeof(buf));
	line = strstr(buf, "Hugepagesize:");
	if (line && sscanf(line, "Hugepagesize: %llu", &kib) == 1 && kib) {
		s->huge_page = kib << 10;
		snprintf(path, sizeof(path),
			 "/sys/kernel/mm/hugepages/hugepages-%llukB/free_hugepages", kib);
		s->huge_free = number_in(path);
	}
	slurp("/sys/kernel/mm/transparent_hugepage/enabled", buf, sizeof(buf));
	s->thp = strstr(buf, "[always]") ? 2 : strstr(buf, "[madvise]") ? 1 : 0;
}

static uint32_t count_nodes(void)
{
	DIR *dir = opendir("/sys/devices/system/node");
	struct dirent *e;
	unsigned n = 0, id;

	while (dir && (e = readdir(dir)))
		n += sscanf(e->d_name, "node%u", &id) == 1;
	if (dir)
		closedir(dir);
	return n;
}

static uint32_t ask_memory(uint64_t page)
{
	int fd = memfd_create("vmspace-support", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	long barriers = syscall(SYS_membarrier, BARRIER_QUERY, 0, 0);
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t can = 0;

	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0)
		can |= VMS_HOST_MEMFD;
	if (barriers > 0 && barriers & BARRIER_EXPEDITED)
		can |= VMS_HOST_MEMBARRIER;
	if (uffd >= 0)
		can |= VMS_HOST_USERFAULTFD;
	if (p != MAP_FAILED) {
		if (madvise(p, page, POPULATE_WRITE) == 0)
			can |= VMS_HOST_POPULATE;
		if (madvise(p, page, GUARD_INSTALL) == 0)
			can |= VMS_HOST_GUARDS;
		munmap(p, page);
	}
	if (uffd >= 0)
		close(uffd);
	if (fd >= 0)
		close(fd);
	return can;
}

static bool kvm_has(int kvm, int cap)
{
	return ioctl(kvm, KVM_CHECK_EXTENSION, cap) > 0;
}

static void ask_kvm(struct vms_support *s)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), slots;

	if (kvm < 0)
		return;
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_STABLE_VERSION) {
		slots = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
		s->kvm_slots = slots > 0 ? (uint32_t)slots : 0;
		s->host |= VMS_HOST_KVM;
		s->host |= kvm_has(kvm, KVM_CAP_READONLY_MEM) ? VMS_HOST_KVM_ROM : 0;
		s->host |= kvm_has(kvm, CAP_MANUAL_LOG) ? VMS_HOST_KVM_LOG : 0;
		s->host |= kvm_has(kvm, CAP_RING) || kvm_has(kvm, CAP_RING_ACQ_REL)
				   ? VMS_HOST_KVM_RING
				   : 0;
		s->host |= kvm_has(kvm, CAP_GUEST_MEMFD) ? VMS_HOST_KVM_GMEM : 0;
	}
	close(kvm);
}

int vms_support(struct vms_support *support)
{
	struct rlimit lock;
	struct vms_support s = { 0 };

	if (!support || support->size < sizeof(*support))
		return fail(-EINVAL, "support: size %zu, expected %zu",
			    support ? support->size : 0, sizeof(*support));
	s.size = support->size;
	s.build = VMS_TRACE_USDT ? VMS_BUILD_PROBES : 0;
#if defined(__x86_64__) || defined(__aarch64__)
	s.build |= VMS_BUILD_RECOVER;
#endif
	s.page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	s.host = ask_memory(s.page_size);
	ask_huge_pages(&s);
	s.nodes = count_nodes();
	s.max_maps = number_in("/proc/sys/vm/max_map_count");
	if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0)
		s.lock_limit = lock.rlim_cur == RLIM_INFINITY ? UINT64_MAX : lock.rlim_cur;
	ask_kvm(&s);
	*support = s;
	return 0;
}
