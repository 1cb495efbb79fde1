# To seal what is sealed already takes no region: the child's area is, as a fixed foreign region is.
fill 0
mseal 7ffffc000000 1000 0
