# Each part of a move asks the limits for its whole length, after its destination went.
limit data 10000
mmap 0 6000 w private|anon rw 0
mremap T-5000 1000 2000 maymove 0
mmap 0 4000 0 private|anon|executable rw 0
mmap 0 3000 0 private|anon rw 0
mmap A-1000 1000 w private|fixed|anon rw 0
mmap T-fff000 3000 w private|fixed|anon rw 0
mremap T-7000 a000 a000 maymove|fixed|dontunmap T-15000
