# Growing in place up to a region without identity joins it, inherited or not.
mmap 0 4000 0 private|anon none 0
mmap A+d3000 2000 0 private|fixed|anon|noreserve none 0
mlockall future
mremap A+d3000 1000 8000 maymove 0
mmap 0 1f8000 0 private|anon none 0
mmap 0 6000 0 private|anon none 0
mmap 0 4000 0 private|anon|executable none 0
mmap 0 6000 0 private|anon|nonblock none 0
mmap 0 16000 0 shared|anon none 0
mmap 0 6000 0 shared|anon none 0
mmap 0 6000 0 private|anon|growsdown none 0
mmap T-233000 2000 r|w private|fixed|anon none 0
fork child
mmap 0 e000 r|w private|anon none 0
munmap T-231000 8000
mremap T-343000 4000 4000 maymove|dontunmap 0
mremap T-233000 2000 6000 0 0
