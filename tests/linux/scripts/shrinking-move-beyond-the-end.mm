# A shrinking move whose source ends beyond the address space unmaps nothing of it.
mmap T-27000 200000 0 shared|fixed rw 0
mremap 7ffff81c0000 7fffffff8000 1000 maymove|fixed 0
