# Which offset is too large is asked of the kind of file, not of its file system.
mmap 0 1000 0 0 rw 7ffffffffffe0000
