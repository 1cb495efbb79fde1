# What is written to while it is apart gets an identity of its own and stays apart when the page
# between comes back; what is untouched, or had one before it was cut, joins.
mmap A+0 4000 r|w private|fixed|anon|noreserve none 0
mprotect A+1000 1000 0
touch A+0 w 1
touch A+2000 w 1
mprotect A+1000 1000 r|w
mremap A+0 4000 6000 maymove 0
mmap A+10000 4000 r|w private|fixed|anon|noreserve none 0
touch A+10000 w 1
mprotect A+11000 1000 0
touch A+12000 w 1
mprotect A+11000 1000 r|w
mremap A+10000 4000 6000 maymove 0
mmap A+20000 4000 r|w private|fixed|anon|noreserve none 0
mprotect A+21000 1000 0
mprotect A+21000 1000 r|w
mremap A+20000 4000 6000 maymove 0
