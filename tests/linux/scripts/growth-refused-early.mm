# Growth refused for want of room gives the region no identity (and so no lasting charge).
mmap A+9f000 80000 w private|fixed|anon|growsdown rw 0
touch A+7f000 r 0
mmap A+f3000 a000 0 private|fixed|anon|growsdown rw 0
mprotect A+fd000 1000 0
