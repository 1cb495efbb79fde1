# A guard marker gives anonymous memory its identity, private file memory none.
mmap T-26000 2000 0 private|fixed rw 0
mmap T-29000 3000 0 private|anon none 0
mprotect T-25000 1000 w
madvise T-28000 4000 guard_install
mprotect T-29000 4000 w
