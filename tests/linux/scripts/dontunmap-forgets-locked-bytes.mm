# What DONTUNMAP unlocks in passing still counts against RLIMIT_MEMLOCK.
mlockall future|onfault
mmap 0 600000 0 shared|noreserve rw 0
mremap T-7ff000 6000 6000 maymove|dontunmap 0
mmap 0 200000 0 0 rw 0
