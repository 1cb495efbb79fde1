# mprotect populates the locked parts that become writable, and no others.
mmap T-27000 8000 0 private|fixed|anon rw 0
mmap 0 10000 0 private|anon rw 0
mmap T-1f000 10000 0 shared|fixed|anon|32bit rw 0
mlock2 T-27000 40000 onfault
mmap T-f000 1000 0 private|fixed|anon rw 0
mprotect T-f000 10000 w
mremap T-7000 2000 2000 maymove|dontunmap 0
mprotect T-f000 2000 0
