# Rights that become data ask the limits part by part: only the data counted so far adds up.
mmap 7ffff8000000 400000 x private|fixed|anon none 0
mmap A-1000 400000 0 private|fixed|anon none 0
mmap 0 600000 0 shared|anon none 0
limit data 1000
mmap 7ffff8400000 1000 0 private|fixed|anon none 0
limit as 1000000
mprotect 7ffff819c000 266000 w
