# Placement passes over room between regions inside the gap of a growing one.
mmap T-f000 20000 0 private|fixed|anon|locked rw 0
mremap T-f000 1000 1000 maymove|fixed T-13000
mmap T-7f000 1000 0 private|fixed|anon rw 0
mmap T-1c000 4000 0 private|fixed|anon|growsdown rw 0
mmap 0 6000 0 private|anon rw 0
