# A range that ends just where addresses do wraps, for mlock.
mlock2 ffffffffffffe000 2000 0
