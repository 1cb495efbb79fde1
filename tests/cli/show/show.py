#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""show.py VMSPACE CASE [ARGUMENTS]: what `vmspace show` shows, against what others say of the same."""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import browser

VMSPACE, CASE, ARGS = sys.argv[1], sys.argv[2], sys.argv[3:]
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = 0x7ffffffff000  # above it nothing belongs to calls
SKIP = 77


def show(*args, status=0, stdin=None):
    r = subprocess.run([VMSPACE, 'show', *args], capture_output=True, text=True, stdin=stdin, timeout=60, errors='replace')
    assert r.returncode == status, f'show {args}: status {r.returncode}, wanted {status}\n{r.stdout[-400:]}{r.stderr}'
    assert bool(r.stderr) == (status != 0), f'show {args}: on stderr: {r.stderr}'
    return r.stdout if status == 0 else r.stderr


def scene(*args):
    return json.loads(show('--json', *args))


def joined(maps):
    """Neighbours of equal rights that continue each other are one, as in `vmspace replay`."""
    out = []
    for start, end, perms, off, what in maps:
        last = out[-1] if out else None
        if last and last[1] == start and last[2] == perms and last[4] == what and (
                last[3] + last[1] - last[0] == off if what == 'file' else what in ('-', '[heap]')):
            last[1] = end
        else:
            out.append([start, end, perms, off, what])
    return out


def in_the_recordings_terms(m):
    what = m['what']
    if what.startswith('file') or what == 'shared memory':
        what = 'file'
    return [int(m['start'], 16), int(m['end'], 16), m['prot'] + ('s' if 'shared' in m['flags'] else 'p'),
            int(m['off'], 16), what or '-']


def blocks(path):
    """Each block of maps in a recording, and after how many calls it stands."""
    calls, images, maps, image = 0, 0, [], False
    for line in open(path):
        if line[0] == '#':
            image = True
        elif line[0] == 'C':
            calls += 1
        elif line[0] == 'M':
            span, perms, off, what = line[2:].split()
            start, end = (int(x, 16) for x in span.split('-'))
            if end <= TOP:
                maps.append([start, end, perms, int(off, 16), what])
        elif line[0] == 'E':
            if image:
                images += 1
                calls += images > 1  # a new image counts as a call
            yield calls, maps
            maps, image = [], False


def recording(*paths):
    """The kernel's own maps, wherever they were recorded."""
    looked = 0
    for path in paths:
        whole = scene(path)
        for at, maps in blocks(path):
            now = scene('--at', str(at), path)
            assert now['at'] == at and now['calls'] == whole['calls']
            mine = joined(in_the_recordings_terms(m) for m in now['mappings'])
            assert mine == joined(maps), f'{path} at {at}\nshow:   {mine}\nkernel: {joined(maps)}'
            looked += 1
        assert whole['mappings'] == now['mappings'] and whole['at'] == whole['calls']
        told = show(path)
        assert f'after call {whole["calls"]} of {whole["calls"]}' in told
        assert told.count('\n  ') > len(whole['mappings'])
    assert looked > 10
    print(looked, 'blocks of maps')


def page_data(path):
    page = open(path, encoding='utf-8').read()
    assert not re.search(r'(src|href)\s*=\s*"(?!data:)', page), 'it loads something'
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


FLAGS = ('shared', 'locked', 'grows down', 'sealed', 'fixed size', 'stream')
PROTS = ('---', 'r--', '-w-', 'rw-', '--x', 'r-x', '-wx', 'rwx')


def page_map(data, m):
    out = {'start': '0x' + m[0], 'end': '0x' + m[1], 'prot': PROTS[m[2]],
           'flags': [f for i, f in enumerate(FLAGS) if m[3] >> i & 1], 'off': '0x' + m[5], 'what': data['names'][m[4]]}
    for i, name in ((6, 'resident'), (7, 'shared'), (8, 'swapped')):
        if len(m) > i and m[i] is not None:
            out[name] = m[i]
    return out


def page(*paths):
    """The page's differences, put together, are what --at shows."""
    with tempfile.TemporaryDirectory() as d:
        for path in paths:
            show('--html', d + '/page.html', path)
            data = page_data(d + '/page.html')
            state = {m[0]: m for m in data['maps']}
            n = len(data['steps'])
            wanted = set(range(n + 1)) if n < 60 else {0, 1, n - 1, n} | {i * n // 25 for i in range(25)}
            for at in range(n + 1):
                if at in wanted:
                    now = scene('--at', str(at), path)
                    mine = [page_map(data, m) for m in sorted(state.values(), key=lambda m: int(m[0], 16))]
                    assert mine == now['mappings'], f'{path} at {at}'
                    assert at == 0 or now['call'] == data['steps'][at - 1][0]
                if at < n:
                    for start in data['steps'][at][1]:
                        del state[start]
                    for m in data['steps'][at][2]:
                        assert m[0] not in state
                        state[m[0]] = m
            print(path, n, 'calls,', os.path.getsize(d + '/page.html'), 'bytes')


def script(scripts):
    """A script's calls, by the rules of mmap(2)."""
    with tempfile.TemporaryDirectory() as d:
        name = d + '/a.mm'
        with open(name, 'w') as f:
            f.write('# a comment\nmmap 10000000 4000 rw private|anon|fixed none 0\nmprotect 10001000 1000 r\n'
                    'mmap 20000000 2000 r shared|fixed rw 1000\nmunmap 20001000 1000\ntouch 10001000 w 1\n'
                    'mmap 1001 1000 rw private|anon|fixed none 0\n')
        s = scene(name)
        assert [(m['start'], m['end'], m['prot'], m['flags'], m['off'], m['what']) for m in s['mappings']] == [
            ('0x10000000', '0x10001000', 'rw-', [], '0x0', ''), ('0x10001000', '0x10002000', 'r--', [], '0x0', ''),
            ('0x10002000', '0x10004000', 'rw-', [], '0x0', ''),
            ('0x20000000', '0x20001000', 'r--', ['shared'], '0x1000', 'file rw')], s['mappings']
        assert (s['at'], s['calls']) == (6, 6) and s['call'].endswith('= -EINVAL'), s
        assert scene('--at', '0', name)['mappings'] == []
        assert len(scene('--at', '1', name)['mappings']) == 1
        assert 'SIGSEGV' in scene('--at', '5', name)['call']
        assert 'line 8' in show(with_text(d, open(name).read() + 'mmap hello\n'), status=2)
    done = 0
    for f in sorted(os.listdir(scripts)):
        if f.endswith('.mm'):
            show(os.path.join(scripts, f))
            page(os.path.join(scripts, f))
            done += 1
    assert done > 10


def with_text(folder, text):
    with open(folder + '/text', 'w') as f:
        f.write(text)
    return folder + '/text'


def process():
    """A program under `vmspace run`: the kernel's maps below vmspace's own range."""
    p = subprocess.Popen([VMSPACE, 'run', '/usr/bin/perl', '-e', '$| = 1; my $x = "x" x 9000000; print "up\n"; <STDIN>'],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert p.stdout.readline() == b'up\n', 'it does not run'
        s = scene('--pid', str(p.pid))
        maps = []
        for line in open(f'/proc/{p.pid}/maps'):
            span, perms, off, _, _, *name = line.split(None, 5)
            start, end = span.split('-')
            if int(start, 16) < 0x7ff000000000:
                maps.append((int(start, 16), int(end, 16), perms, int(off, 16), name[0].rstrip('\n') if name else ''))
        assert [(*in_the_recordings_terms(m)[:4], m['what']) for m in s['mappings']] == maps
        assert sum(m['resident'] for m in s['mappings']) > 9000000
        assert all(0 <= m['shared'] <= m['resident'] <= int(m['end'], 16) - int(m['start'], 16) for m in s['mappings'])
        assert "vmspace's own" in s['note'] and 'perl' in s['title']
        assert 'resident' in show('--pid', str(p.pid))
    finally:
        p.stdin.close()
        p.wait()
    own = scene('--pid', str(os.getpid()))
    assert 'not under vmspace run' in own['note']
    assert any(m['what'] == '[stack]' for m in own['mappings'])
    assert 'there is none' in show('--pid', str(p.pid), status=2)


def dump(trace):
    """What --json wrote can be read again; what is damaged is refused with a sentence."""
    with tempfile.TemporaryDirectory() as d:
        text = show('--json', trace)
        name = with_text(d, text)
        first, again = json.loads(text), scene(name)
        assert again['mappings'] == first['mappings'] and again['vmspace'] == 'recording'
        big = {'vmspace': 'space', 'version': 1, 'page_size': 1024, 'counters': {'ok': 3, 'BAD<': 1},
               'regions': [{'start': '0x0', 'end': '0x10000000000000000', 'depth': 0, 'rights': 'rwxs'},
                           {'start': '0x1000', 'end': '0x9000', 'depth': 1, 'rights': 'rw--'}],
               'objects': [{'id': 7, 'kind': 'anon', 'name': 'a<b>\u00e4\U0001f600"', 'bytes': 8192, 'resident': 8192,
                            'own': 4096, 'parent': 3, 'snapshot': True}],
               'mappings': [{'start': '0x1000', 'end': '0x3000', 'prot': 'rw-', 'ceiling': 'rwx', 'depth': 1, 'object': 7,
                             'off': '0x0', 'what': 'anon a<b>', 'flags': ['stream']},
                            {'start': '0xfffffffffffffc00', 'end': '0x10000000000000000', 'prot': '---',
                             'what': '</script><script>alert(1)</script>'}]}
        name = with_text(d, json.dumps(big))
        s = scene(name)
        assert s['mappings'][1]['end'] == '0x10000000000000000' and s['mappings'][1]['what'] == big['mappings'][1]['what']
        assert s['mappings'][0] == {**big['mappings'][0], 'resident': 8192, 'shared': 4096}, s['mappings'][0]
        assert s['objects'] == big['objects'] and s['regions'] == big['regions'] and s['counters'] == {'ok': 3}
        told = show(name)
        assert '2^64' in told and 'region' in told and 'snapshot of 3' in told
        show('--html', d + '/page.html', name)
        data = page_data(d + '/page.html')
        assert data['names'][data['maps'][1][4]] == big['mappings'][1]['what']
        for damage, sentence in (
                ('{"vmspace":"space","mappings":[{"start":"0x1000","end":"0x1000","prot":"r--"}]}', 'start or end'),
                ('{"vmspace":"space","mappings":[{"start":"0x1000","end":"0x2000","prot":"r?-"}]}', 'prot'),
                ('{"vmspace":"space","mappings":[{"start":"0x1000","end":"0x2000","prot":"r--"},'
                 '{"start":"0x1000","end":"0x2000","prot":"r--"}]}', 'overlaps'),
                ('{"vmspace":"space","mappings":{}}', 'no list'), ('{}', 'no dump'), ('{"a":' * 100, 'too deep'),
                ('{"a":1} 2', 'more behind'), ('{"a":"\\ud800"}', 'half a character'), ('{"a":01}', 'end')):
            told = show(with_text(d, damage), status=2)
            assert sentence in told, f'{damage}: {told}'
        # Any damage: shown or refused, never a crash.
        good, r = json.dumps(big).encode(), random.Random(1)
        for _ in range(300):
            bad = bytearray(good)
            for _ in range(r.randint(1, 4)):
                at = r.randrange(len(bad))
                if r.random() < .5:
                    bad[at] = r.randrange(256)
                else:
                    del bad[at:at + r.randint(1, 9)]
            with open(d + '/bad', 'wb') as f:
                f.write(bad)
            p = subprocess.run([VMSPACE, 'show', r.choice(('--json', '--html=-')), d + '/bad'], capture_output=True)
            assert p.returncode in (0, 2), (p.returncode, bytes(bad))


def space(program):
    """A program's own space: what it dumped is what it says of its mappings, region by region."""
    r = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    wanted = []
    for line in r.stderr.splitlines():
        start, end, prot, off, obj = line.split()
        wanted.append((int(start, 16), int(end, 16) or 1 << 64, PROTS[int(prot)], int(off, 16), int(obj)))
    with tempfile.TemporaryDirectory() as d:
        name = with_text(d, r.stdout)
        s = scene(name)
        assert [(int(m['start'], 16), int(m['end'], 16), m['prot'], int(m['off'], 16), m['object'])
                for m in s['mappings']] == wanted and len(wanted) > 5
        regions = [(int(g['start'], 16), int(g['end'], 16), g['depth']) for g in s['regions']]
        assert len(regions) == 3
        for m in s['mappings']:
            assert m['depth'] == max(g[2] for g in regions if g[0] <= int(m['start'], 16) < g[1])
        by_name = {o['name']: o for o in s['objects']}
        ram, copy = by_name['guest ram'], by_name['checkpoint']
        assert 0 < ram['own'] < ram['resident'] and 0 < copy['own'] < copy['resident']
        assert copy['parent'] == ram['id'] and copy['snapshot'] and copy['resident'] >= 40 * 4096
        last = s['mappings'][-1]
        assert last['end'] == '0x10000000000000000' and last['resident'] == 4 * 4096
        told = show(name)
        for words in ('guest ram', 'snapshot of', '2^64', 'region', 'fault_ok', 'r-xp/rwx'):
            assert words in told, words
        show('--html', d + '/page.html', name)
        page_data(d + '/page.html')
        if browser.find() is not None:
            in_browser(name)


def refusals(trace):
    with tempfile.TemporaryDirectory() as d:
        for args, sentence in (
                ((), 'usage'), (('--json',), 'usage'), ((trace, trace), 'usage'), (('--json', '--html', '-', trace), 'usage'),
                (('--at', 'x', trace), 'no number'), (('--at', '-1', trace), 'no number'), (('--pid', '0'), 'no process'),
                (('--at', '99999', trace), 'nothing at 99999'), (('--at', '99999', '--html', '-', trace), 'nothing at'),
                (('--at', '1', '--pid', '1'), 'no calls'), ((d + '/none',), 'No such file'), ((d,), 'directory'),
                ((with_text(d, ''),), 'nothing in it'), (('--html', d + '/no/page', trace), 'No such file'),
                (('--at', '1', '--json', '/dev/null'), 'nothing in it'),
                (('--html', '/dev/full', trace), 'No space left')):
            told = show(*args, status=2)
            assert sentence in told, f'{args}: {told}'
        assert 'before the first block' in show(with_text(d, 'C brk 0 0 0 0 0 0 = 0\n'), status=2)
        assert "no operation" in show(with_text(d, 'hello\n'), status=2)
        assert '--html' in show('--help')


def in_browser(*paths):
    """In a real browser: no complaint, the slider moves by mouse and keys, and shows what --at says."""
    program = browser.find()
    if program is None:
        print('no Chromium on this machine')
        sys.exit(SKIP)
    try:
        b = browser.Browser(program)
    except (OSError, EOFError, TimeoutError) as e:
        print('Chromium does not start here:', e)
        sys.exit(SKIP)
    with tempfile.TemporaryDirectory() as d:
        try:
            for path in paths:
                show('--html', d + '/page.html', path)
                print(path, 'loaded in', round(b.load(d + '/page.html'), 2), 's')
                walk(b, path)
                assert b.complaints() == [], b.complaints()
        finally:
            b.close()


ROWS = '[...document.querySelectorAll("#rows .row:not(.hole)")].map(r => r.textContent)'


def walk(b, path):
    n = b.run('vmspace.calls')
    last = scene(path)
    assert b.run('document.title').startswith(path) and n == last.get('calls', 0)

    def agrees(at):
        b.run('new Promise(done => requestAnimationFrame(() => setTimeout(done)))')
        now = scene('--at', str(at), path) if n else last
        shown = b.run('vmspace.mappings()')
        keep = ('start', 'end', 'prot', 'flags', 'off', 'what')
        assert [{k: m[k] for k in keep} for m in shown] == [{k: m[k] for k in keep} for m in now['mappings']], f'{path} at {at}'
        if n:
            assert b.run('vmspace.at') == at and b.run('+document.getElementById("slider").value') == at
            assert b.run('document.getElementById("call").textContent') == now['call']
        rows, maps = b.run(ROWS), now['mappings']
        assert 0 < len(rows) <= len(maps) or not maps
        for row, m in zip(rows, maps):  # the first are in sight
            assert row.startswith(f'{m["start"][2:]}-{m["end"][2:]}') and m['prot'] in row and m['what'] in row, (row, m)
        assert b.run('document.scripts.length') == 2

    agrees(n)
    if n == 0:
        return
    b.key('ArrowLeft')
    agrees(n - 1)
    b.key('ArrowLeft')
    b.key('ArrowRight')
    agrees(n - 1)
    b.key('Home')
    agrees(0)
    b.key('ArrowRight')
    agrees(1)
    for at in {n // 3, n // 2, n}:
        b.run(f'(s => {{ s.value = {at}; s.dispatchEvent(new Event("input", {{ bubbles: true }})) }})'
              '(document.getElementById("slider"))')
        agrees(at)
    # with the mouse, on the slider itself
    box = b.run('(r => [r.left, r.top, r.width, r.height])(document.getElementById("slider").getBoundingClientRect())')
    x, y = box[0] + box[2] / 4, box[1] + box[3] / 2
    b.call('Input.dispatchMouseEvent', type='mousePressed', x=x, y=y, button='left', clickCount=1)
    b.call('Input.dispatchMouseEvent', type='mouseReleased', x=x, y=y, button='left', clickCount=1)
    at = b.run('vmspace.at')
    assert 0 < at < n / 2, at
    agrees(at)
    # details where the mouse is on the axis
    box = b.run('(r => [r.left, r.top])(document.getElementById("axis").getBoundingClientRect())')
    b.call('Input.dispatchMouseEvent', type='mouseMoved', x=box[0] + 122, y=box[1] + 30)
    tip = b.run('document.getElementById("tip").hidden ? "" : document.getElementById("tip").textContent')
    assert scene('--at', str(at), path)['mappings'][0]['start'] in tip, tip


CASES = {f.__name__.replace('_', '-'): f for f in (recording, page, script, process, dump, space, refusals, in_browser)}
CASES[CASE](*ARGS)
