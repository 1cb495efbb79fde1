# Growing in place joins the region below for certain; the one above only if no identity says no.
mmap A+0 2000 r|w private|fixed|anon|noreserve none 0
mremap A+1000 1000 3000 0 0
mprotect A+1000 1000 r
mprotect A+1000 1000 r|w
touch A+0 w 1
mmap A+6000 2000 r|w private|fixed|anon|noreserve none 0
touch A+6000 w 1
mremap A+0 4000 6000 0 0
mremap A+0 8000 9000 0 0
mmap A+10000 2000 r|w private|fixed|anon|noreserve none 0
mmap A+16000 2000 r|w private|fixed|anon|noreserve none 0
mremap A+10000 2000 6000 0 0
mremap A+10000 8000 9000 0 0
madvise A+11000 8000 dontdump
madvise A+11000 8000 dodump
mmap A+20000 2000 r|w private|fixed|anon|noreserve none 0
touch A+20000 w 1
mremap A+20000 2000 2000 maymove|fixed A+30000
mmap A+36000 2000 r|w private|fixed|anon|noreserve none 0
mremap A+30000 2000 6000 0 0
mremap A+30000 8000 9000 0 0
mremap A+30000 6000 9000 0 0
mprotect A+33000 3000 r
mprotect A+33000 3000 r|w
mmap A+40000 2000 r shared|fixed|anon none 0
mremap A+40000 2000 2000 0 0
mlock A+10000 2000
munlock A+10000 2000
mremap A+18000 1000 3000 0 0
mlock A+18000 2000
mremap A+1a000 1000 3000 0 0
munlockall
fork child
mmap A+50000 2000 r|w private|fixed|anon|noreserve none 0
touch A+50000 w 1
mremap A+50000 2000 4000 0 0
mremap A+0 2000 3000 0 0
mremap A+36000 2000 5000 0 0
mmap A+3b000 2000 r|w private|fixed|anon|noreserve none 0
mremap A+30000 2000 9000 0 0
