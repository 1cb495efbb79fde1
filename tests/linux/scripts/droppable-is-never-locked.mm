# Droppable memory is never locked, mlockall(MCL_FUTURE) or not.
mlockall future|onfault
mmap A+f000 1000 0 droppable|noreplace|anon rw 0
madvise A+7000 10000 cold
