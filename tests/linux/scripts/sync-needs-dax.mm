# MAP_SYNC on ordinary files: refused, and what stood there is gone.
mmap A+7f000 1000 0 private|fixed|anon rw 0
mmap A+7f000 1000 0 shared|fixed|sync rw 0
