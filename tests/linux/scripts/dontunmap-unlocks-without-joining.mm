# DONTUNMAP unlocks the whole source region, and joins it with nobody.
mmap A-1000 280000 0 shared|fixed|32bit rw 0
mlock A+6f000 1000
mremap A+6f000 2000 2000 maymove|fixed|dontunmap A-1000
