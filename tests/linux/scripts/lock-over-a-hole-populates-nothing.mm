# mlock over a hole locks what comes before it, but populates nothing: no identity comes of it.
mmap T-455000 e000 w private|fixed|anon|200000 none 0
mlock T-449000 4000
mremap T-44f000 10000 10000 maymove|fixed|dontunmap A-1000
munlockall
