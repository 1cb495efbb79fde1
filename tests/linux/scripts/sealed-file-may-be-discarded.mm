# Sealed memory that shows a file may be discarded, read-only or not.
mmap 0 8000 0 private|anon rw 0
mmap 0 2000 0 private rw 0
mseal T-a000 1000 0
madvise T-7f000 80000 dontneed_locked
