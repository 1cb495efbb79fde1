# Parts of a growing region each may grow, and the lowest one does.
mmap T-f000 1000 0 shared|fixed|executable big 0
mmap 0 4000 0 shared memfd 0
mmap 0 6000 0 shared|anon none 0
mmap 0 6000 w private|anon|growsdown none 0
mprotect T-13000 1000 0
touch T-2ff000 w 0
