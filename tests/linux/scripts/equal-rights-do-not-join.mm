# mprotect to the rights a region has leaves it alone, seams included.
mmap A-1000 280000 0 shared|fixed|32bit rw 0
mseal A+73000 1000 0
mprotect A+6f000 3000 r
munmap A+71000 4000
mprotect A+70000 1000 r
