# A part that moves has its place cut out of what stands there before the limit of regions is asked.
fill 9
mmap A+0 2000 w private|fixed|anon none 0
mmap A+3000 2000 x private|fixed|anon none 0
mmap A+40000 40000 r private|fixed|anon none 0
mremap A+1000 3000 3000 maymove|fixed A+50000
