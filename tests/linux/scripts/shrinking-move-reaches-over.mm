# A move that shrinks may reach past its region: the tail is only unmapped, and is gone even
# when the move is refused then (address below the lowest).
mmap A+9000 8000 0 private|noreplace|anon none 0
mremap A+f000 4000 1000 maymove|fixed 0
