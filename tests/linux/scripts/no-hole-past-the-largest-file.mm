# Punching where the file system can have no file is EFBIG, before a hole in the range is ENOMEM.
mmap 0 1000 0 shared big 7ffffffffffe0000
madvise T-21f000 400000 remove
