# The same with MAP_SHARED_VALIDATE, on a file system that has the flag.
mmap 0 14000 0 shared rw 0
mmap T-15000 2000 0 validate|fixed|sync rw 0
