# At the very end of offsets the large-page rule wraps, and applies.
mmap 0 1000 0 private|200000 rw 7ffffffffffe0000
