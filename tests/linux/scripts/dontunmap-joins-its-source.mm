# Moved next to its own source the copy joins it first; then the whole loses its lock.
mmap A-1000 100000 0 private|fixed|anon rw 0
mlockall current|onfault
mremap A+bf000 7000 7000 maymove|fixed|dontunmap A+7f000
