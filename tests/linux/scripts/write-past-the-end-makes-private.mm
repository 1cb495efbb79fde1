# A refused write past the end of a private file gives the region its identity all the same.
mmap 0 600000 w private sealed 10000
limit data 1000
touch T-600000 w 0
mmap T-3f000 1000 w private|fixed|anon|stack rw 0
fork child
mprotect T-ff000 320000 0
