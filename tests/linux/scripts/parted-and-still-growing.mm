# A growing region that a refused mapping left in parts still grows at its lowest.
mmap A-1000 80000 0 private|fixed|anon|growsdown none 0
munmap A+7000 1000
mmap A+3f000 1000000000 w private|fixed|anon none 0
touch A+7000 w 0
