# A shrinking move charges what it gives up, and may be refused for it.
mmap 0 370000 w private|anon none 0
mremap T-ff000 1000000000 1000 maymove|fixed A-1000
