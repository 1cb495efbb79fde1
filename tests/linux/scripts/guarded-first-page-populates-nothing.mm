# A guard marker on the first page: locking makes no private page, so no identity.
mmap 0 400000 0 shared|anon none 0
mmap 0 14c0 0 private|denywrite again 0
mmap 0 6000 0 private|anon none 0
mmap 0 4000 0 private dup 0
madvise T-40f000 4000 guard_install
mlockall current|future
mprotect T-40c000 1000 r|w
fork child
mprotect T-40b000 1000 r|w
