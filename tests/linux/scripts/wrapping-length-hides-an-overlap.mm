# A source length that wraps passes the check of overlap; the destination then takes the source with it.
mmap 0 4b000 0 private|anon none 0
mremap T-4c000 ffffffffffff0000 4000 maymove|fixed T-4f000
mmap 0 e000 0 private|anon rw 0
mremap T-4b000 ffffffffffff0000 4000 maymove|fixed T-4e000
