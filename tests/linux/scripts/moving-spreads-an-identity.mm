# What moves joins its new neighbours before its source goes: an identity spreads to the source's rest.
mmap 0 8000 0 private|anon none 0
mremap T-5000 8000 1000 maymove|fixed A-1000
mmap 0 11000 0 private|anon|noreserve none 0
mmap 0 3000 r|w private|anon|200000 none 0
mmap 0 1500 r|w private|anon none 0
mmap 0 7000 0 private|anon none 0
mmap T-19000 e000 r|w private|fixed|anon none 0
mprotect T-7000 2000 r|w
mmap T-7000 1000 0 private|fixed sealed 0
madvise T-19000 1000 populate_write
mmap T-b000 4000 r|w private|fixed|anon none 0
mremap T-3000 1000 1000 maymove|fixed T-7000
mremap T-20000 1000 1000 maymove|dontunmap 0
mprotect T-3000 2000 0
