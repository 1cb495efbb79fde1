# A populating write that ends at a guard marker has given the region its identity on the way.
mmap A-1000 80000 w private|fixed rw 0
madvise A+53000 1000 guard_install
madvise A+4f000 8000 populate_write
mlock A-1000 1000
mlock A+1f000 1000
munlockall
