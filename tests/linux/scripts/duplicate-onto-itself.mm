# A duplicate onto its own source: the source goes first, and then it is not there.
mmap A+e1000 1000 0 shared|fixed|anon|denywrite rw 0
mremap A+e1000 0 1000 maymove|fixed A+e1000
