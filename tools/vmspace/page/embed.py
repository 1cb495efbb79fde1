#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""embed.py PAGE CSS JS: the page of `vmspace show --html` as C, in two parts: before its data and
behind it. Each is an array of bytes, so that nothing depends on a compiler's limit on strings."""
import sys

page, css, js = (open(name, encoding='utf-8').read() for name in sys.argv[1:4])
for text, what in ((css, '</style'), (js, '</script')):
    if what in text.lower():
        sys.exit(f'embed.py: {what} would end the element')
before, behind = page.replace('@CSS@', css.strip()).split('@DATA@')
behind = behind.replace('@JS@', js.strip())
print('/* Made by embed.py. */\n#include "show.h"\n')
for name, text in (('show_page_before', before), ('show_page_behind', behind)):
    data = text.encode()
    print(f'const size_t {name}_size = {len(data)};\nconst unsigned char {name}[] = {{')
    for i in range(0, len(data), 24):
        print('\t' + ''.join(f'{b},' for b in data[i:i + 24]))
    print('};')
