# At the limit of regions the cut at the start stays when there is none left for the cut at the end.
fill 2
mmap A-1000 100000 0 private|fixed|anon none 0
mprotect A+7f000 1000 r
mprotect A+7f000 81000 r
munmap A+8f000 1000
munmap A+7f000 81000
madvise A+3f000 1000 nohugepage
munmap A+3f000 40000
mlock A+1f000 1000
