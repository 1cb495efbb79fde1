# Shared memory too big for its file system: refused, and what stood there is gone.
mmap A-1000 80000 0 private|noreplace|anon rw 0
mmap A+3f000 1000000000 0 shared|fixed|anon rw 0
