// SPDX-License-Identifier: MIT
/*
 * show.js: the page of `vmspace show --html`.
 *
 * Terms
 *	map	a mapping: start and end are hexadecimal without 0x, key is start with 16 digits, so
 *		that keys sort as numbers do, beyond 2^53 too
 *	step	a call: the maps that went and those that came. Steps are undone by the same lists.
 *	item	what the list shows a row for: a map or a hole
 *
 * The page holds one state and moves it step by step; a jump over all steps of a long recording is
 * some ten thousand changes of a Map. Rows are made only for what is in sight.
 */
'use strict';
(() => {
const data = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const FLAGS = ['shared', 'locked', 'grows down', 'sealed', 'fixed size', 'stream'];
const SHARED = 1, ROW = 26;
const PROTS = ['---', 'r--', '-w-', 'rw-', '--x', 'r-x', '-wx', 'rwx'];

/* ---- the model ---- */

function decode(a) {
	return {
		start: a[0], end: a[1], prot: a[2], flags: a[3], what: a[4], off: a[5],
		resident: a[6] ?? null, shared: a[7] ?? null, swapped: a[8] ?? null,
		ceiling: a[9] ?? null, object: a[10] ?? 0, depth: a[11] ?? 0,
		key: a[0].padStart(16, '0'),
	};
}
const big = hex => BigInt('0x' + hex);
const bytesOf = m => m.bytes ??= Number(big(m.end) - big(m.start));

const steps = [];	/* {call, gone, came} */
const history = [];	/* mapped bytes after so many calls */
const state = new Map();
let at = 0;

function apply(gone, came) {
	for (const m of gone)
		state.delete(m.key);
	for (const m of came)
		state.set(m.key, m);
}
function go(n) {
	n = Math.max(0, Math.min(steps.length, Math.round(n) || 0));
	for (; at < n; at++)
		apply(steps[at].gone, steps[at].came);
	for (; at > n; at--)
		apply(steps[at - 1].came, steps[at - 1].gone);
}
function load() {
	const sum = list => list.reduce((n, m) => n + bytesOf(m), 0);
	let mapped = 0;

	for (const a of data.maps) {
		const m = decode(a);
		state.set(m.key, m);
		mapped += bytesOf(m);
	}
	history.push(mapped);
	for (const [call, gone, came] of data.steps) {
		const step = { call, gone: gone.map(k => state.get(k.padStart(16, '0'))), came: came.map(decode) };
		apply(step.gone, step.came);
		mapped += sum(step.came) - sum(step.gone);
		history.push(mapped);
		steps.push(step);
		at++;
	}
}
const sorted = () => [...state.values()].sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

/* ---- words ---- */

function size(n) {
	if (n === null || n === undefined)
		return '?';
	if (n === 0)
		return '0';
	const u = Math.min(6, Math.floor(Math.log2(n) / 10)), v = n / 2 ** (10 * u);
	return (v < 9.95 && u ? v.toFixed(1) : Math.round(v)) + 'BKMGTPE'[u];
}
const look = p => (p & 4 ? (p & 2 ? 4 : 3) : p & 2 ? 2 : p & 1 ? 1 : 0);
const rights = m => PROTS[m.prot] + (m.flags & SHARED ? 's' : 'p');
const nameOf = m => data.names[m.what] || 'anonymous';
const flagsOf = m => FLAGS.filter((_, i) => i > 0 && m.flags & 1 << i).join(', ');
const offsetOf = m => m.off !== '0' ? ' +' + m.off : '';
const brief = m => `${m.start}-${m.end}  ${rights(m)}  ${nameOf(m)}${offsetOf(m)}${m.flags >> 1 ? ', ' + flagsOf(m) : ''}`;

function el(tag, cls, text) {
	const e = document.createElement(tag);
	if (cls)
		e.className = cls;
	if (text !== undefined)
		e.textContent = text;
	return e;
}

/* ---- the list ---- */

let maps = [], items = [], shown = [], came = new Set(), flashed = null;

function build() {
	maps = sorted();
	items = [];
	for (let i = 0; i < maps.length; i++) {
		const before = maps[i - 1];
		if (before && before.end !== maps[i].start)
			items.push({ hole: Number(big(maps[i].start) - big(before.end)) });
		items.push(maps[i]);
	}
	came = new Set(at > 0 ? steps[at - 1].came : []);
	filter();
}
function filter() {
	const want = $('find').value.trim().toLowerCase(), hex = want.replace(/^0x/, '');
	const addr = /^[0-9a-f]{3,16}$/.test(hex) ? big(hex) : null;
	const fits = m => brief(m).toLowerCase().includes(want) ||
		(addr !== null && big(m.start) <= addr && addr < big(m.end));

	shown = want === '' ? items : items.filter(m => m.hole === undefined && fits(m));
	$('found').textContent = want === '' ? '' : `${shown.length} of ${maps.length} mappings`;
	$('rows').style.height = shown.length * ROW + 'px';
	rows();
}
function residency(m) {
	const cell = el('span', 'share');
	if (m.resident === null) {
		cell.append(el('span', 'dim', '?'));
		return cell;
	}
	const whole = el('span', 'whole'), part = n => Math.min(100, 100 * n / bytesOf(m)) + '%';
	const all = el('i');
	all.style.width = part(m.resident);
	whole.append(all);
	if (m.shared) {
		const others = el('i', 'others');
		others.style.width = part(m.shared);
		whole.append(others);
	}
	cell.append(whole, el('span', '', size(m.resident) + (m.shared ? `, ${size(m.shared)} shared` : '')));
	return cell;
}
function row(m) {
	if (m.hole !== undefined) {
		const r = el('div', 'row hole');
		r.append(el('span', '', '        ┊'), el('span', '', size(m.hole).padStart(7) + '  hole'));
		return r;
	}
	const r = el('div', 'row' + (came.has(m) ? ' came' : '') + (m === flashed ? ' flash' : ''));
	const bar = el('span', 'size'), meter = el('span', 'meter r' + look(m.prot));

	bar.append(el('b', '', size(bytesOf(m))), meter);
	meter.style.width = Math.max(4, Math.min(100, 7 * (Math.log2(Math.max(bytesOf(m), 1)) - 10))) + '%';
	r.append(el('span', '', m.start + '-' + m.end), bar);
	const letters = el('span');
	letters.append(el('span', 'rights r' + look(m.prot), rights(m)));
	if (data.ceilings)
		letters.append(el('span', 'dim', ' /' + PROTS[m.ceiling]));
	r.append(letters);
	if (data.residency)
		r.append(residency(m));
	const what = el('span', '', '· '.repeat(m.depth) + nameOf(m));
	what.append(el('span', 'dim', offsetOf(m) + (m.flags >> 1 ? ', ' + flagsOf(m) : '')));
	r.append(what);
	r.map = m;
	return r;
}
function rows() {
	const list = $('list'), first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
	const end = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 10);
	const made = [];

	for (let i = first; i < end; i++) {
		const r = row(shown[i]);
		r.style.top = i * ROW + 'px';
		made.push(r);
	}
	$('rows').replaceChildren(...made);
}
function reveal(m) {
	let i = shown.indexOf(m);
	if (i < 0) {
		$('find').value = '';
		filter();
		i = shown.indexOf(m);
	}
	flashed = m;
	$('list').scrollTop = i * ROW - $('list').clientHeight / 2;
	rows();
}

/* ---- the axis ---- */

let spots = [];	/* {x, y, w, m} of what is drawn, by line */
const LINE = 46, BOX = 24, GUTTER = 118, MOST_LINES = 14;

function colours() {
	const style = getComputedStyle(document.documentElement), c = name => style.getPropertyValue('--' + name).trim();
	return { fill: [c('none'), c('read'), c('write'), c('exec'), c('both')], ink: c('ink'), dim: c('dim'), text: c('text'),
		line: c('line'), come: c('come'), focus: c('focus') };
}
function prepare(canvas, width, height) {
	const scale = devicePixelRatio || 1, g = canvas.getContext('2d');
	canvas.width = Math.round(width * scale);
	canvas.height = Math.round(height * scale);
	canvas.style.height = height + 'px';
	g.setTransform(scale, 0, 0, scale, 0, 0);
	g.font = '11px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace';
	g.textBaseline = 'middle';
	return g;
}
/* Widths by the logarithm of the size; smaller when there are many, so that the lines stay few. */
function place(width) {
	const natural = m => 16 + 5.5 * Math.max(0, Math.log2(bytesOf(m) / 4096));
	const fold = 22, room = width - GUTTER - 4;
	let holes = 0, total = 0;

	for (const m of items)
		m.hole !== undefined ? holes++ : total += natural(m) + 2;
	const scale = Math.min(1, MOST_LINES * room / (total + holes * fold));
	let x = 0, y = 0, before = null;

	spots = [];
	for (const m of items) {
		const w = scale * (m.hole !== undefined ? fold : natural(m));
		if (x + w > room && x > 0) {
			x = 0;
			y += LINE;
		}
		spots.push({ x: GUTTER + x, y, w, m, first: x === 0 || before === null || before.hole !== undefined });
		x += w + 2 * scale;
		before = m;
	}
	return y + LINE;
}
function hatch(g, s, colour) {
	g.save();
	g.beginPath();
	g.rect(s.x, s.y + 18, s.w, BOX);
	g.clip();
	g.strokeStyle = colour;
	g.lineWidth = 1;
	g.beginPath();
	for (let x = s.x - BOX; x < s.x + s.w; x += 6) {
		g.moveTo(x, s.y + 18 + BOX);
		g.lineTo(x + BOX, s.y + 18);
	}
	g.stroke();
	g.restore();
}
function axis() {
	const canvas = $('axis'), width = canvas.parentElement.clientWidth - 28, c = colours();
	const g = prepare(canvas, width, maps.length ? place(width) : 20);
	let line = -1, label = 0;

	if (!maps.length) {
		g.fillStyle = c.dim;
		g.fillText('nothing is mapped', 4, 10);
		return;
	}
	for (const [i, s] of spots.entries()) {
		const m = s.m, mid = s.y + 18 + BOX / 2;

		if (s.y !== line) {
			line = s.y;
			label = 0;
			g.fillStyle = c.dim;
			/* A line that begins with a hole: what is behind it. */
			const from = m.hole === undefined ? m : spots[i + 1].m;
			g.fillText(from.start.padStart(13), 2, mid);
		}
		if (m.hole !== undefined) {
			g.fillStyle = c.dim;
			g.textAlign = 'center';
			if (s.w > 8)
				g.fillText('┊', s.x + s.w / 2, mid);
			if (s.w > 20)
				g.fillText(size(m.hole), s.x + s.w / 2, s.y + 9);
			g.textAlign = 'left';
			continue;
		}
		g.fillStyle = c.fill[look(m.prot)];
		g.fillRect(s.x, s.y + 18, s.w, BOX);
		if (look(m.prot) === 0 && s.w > 3)
			hatch(g, s, c.line);
		if (m.flags & SHARED) {		/* shared: a double rule below */
			g.fillStyle = c.ink;
			g.fillRect(s.x, s.y + 18 + BOX - 5, s.w, 1);
			g.fillRect(s.x, s.y + 18 + BOX - 3, s.w, 1);
		}
		if (m.resident !== null && s.w > 3) {	/* residency: a bar on top */
			g.fillStyle = c.text;
			g.fillRect(s.x, s.y + 14, s.w * Math.min(1, m.resident / bytesOf(m)), 3);
		}
		if (came.has(m)) {
			g.strokeStyle = c.come;
			g.lineWidth = 2;
			g.strokeRect(s.x + 1, s.y + 17, Math.max(1, s.w - 2), BOX + 2);
		}
		g.fillStyle = c.ink;
		g.textAlign = 'center';
		if (s.w >= 26)
			g.fillText(PROTS[m.prot], s.x + s.w / 2, mid);
		else if (s.w >= 10)
			g.fillText('·rwwxxXX'[m.prot], s.x + s.w / 2, mid);
		else if (s.w >= 3) {	/* too narrow for a letter: a dot for w, a stroke for x */
			if (m.prot & 2)
				g.fillRect(s.x + s.w / 2 - 1, mid - 5, 2, 2);
			if (m.prot & 4)
				g.fillRect(s.x + s.w / 2 - 1, mid - 1, 2, 7);
		}
		g.textAlign = 'left';
		/* Where a cluster starts, its address, as far as the last label leaves room. */
		if (s.first && s.x > GUTTER && s.x >= label) {
			const text = m.start;
			const room = 7 * text.length + 2;
			if (clusterRoom(i, room) >= room) {
				g.fillStyle = c.dim;
				g.fillText(text, s.x + 2, s.y + 8);
				label = s.x + room + 8;
			}
		}
	}
}
/* How far the line goes on before the next fold's size is written, as far as that matters. */
function clusterRoom(i, enough) {
	const { x, y } = spots[i];
	let end = x;
	for (; i < spots.length && spots[i].y === y && spots[i].m.hole === undefined && end - x < enough; i++)
		end = spots[i].x + spots[i].w;
	return end - x;
}
function spotAt(e) {
	const box = $('axis').getBoundingClientRect(), x = e.clientX - box.left, y = e.clientY - box.top;
	return spots.find(s => x >= s.x && x <= s.x + s.w && y >= s.y && y < s.y + LINE);
}

/* ---- details on hover ---- */

function words(p) {
	return [[1, 'read'], [2, 'write'], [4, 'execute']].filter(([b]) => p & b).map(([, w]) => w).join(', ') || 'no access';
}
function details(m) {
	const list = [], n = bytesOf(m), pages = n / data.page;

	if (m.hole !== undefined)
		return [['hole', size(m.hole)]];
	list.push(['from', '0x' + m.start], ['up to', '0x' + m.end]);
	list.push(['size', `${size(n)}, ${n.toLocaleString('en')} bytes, ${pages.toLocaleString('en')} page${pages === 1 ? '' : 's'}`]);
	list.push(['rights', words(m.prot)]);
	if (m.ceiling !== null)
		list.push(['at most', words(m.ceiling)]);
	list.push(['shows', nameOf(m)]);
	if (m.off !== '0' || /file/.test(nameOf(m)))
		list.push(['from offset', '0x' + m.off]);
	if (data.kind === 'space')
		list.push(['a branch', m.flags & SHARED ? 'shows the same object' : 'gets a copy']);
	else
		list.push(['writes', m.flags & SHARED ? 'are seen by others' : 'stay private']);
	if (flagsOf(m))
		list.push(['also', flagsOf(m)]);
	if (m.resident !== null)
		list.push(['in memory', `${size(m.resident)}, ${Math.round(100 * m.resident / n)} %` +
			(m.shared === null ? '' : `; shared with others: ${size(m.shared)}`)]);
	if (m.swapped)
		list.push(['swapped out', size(m.swapped)]);
	const o = data.objects.find(x => x[0] === m.object);
	if (o)
		list.push(['object', `${o[0]}, ${data.names[o[1]]} ${data.names[o[2]]}`.trim()],
			['of it there', `${size(o[4])} of ${size(o[3])}; its own: ${size(o[5])}`]);
	return list;
}
function tip(e, m) {
	const t = $('tip');
	if (!m) {
		t.hidden = true;
		return;
	}
	t.replaceChildren(...details(m).flatMap(([k, v]) => [el('dt', '', k), el('dd', '', v)]));
	t.hidden = false;
	const x = Math.min(e.clientX + 14, innerWidth - t.offsetWidth - 8);
	const y = e.clientY + 18 + t.offsetHeight > innerHeight ? e.clientY - t.offsetHeight - 10 : e.clientY + 18;
	t.style.left = Math.max(4, x) + 'px';
	t.style.top = Math.max(4, y) + 'px';
}

/* ---- calls ---- */

function changes() {
	const list = $('changes'), step = at > 0 ? steps[at - 1] : null, most = 200;
	const lines = [];

	if (step) {
		for (const m of step.gone)
			lines.push(el('li', 'gone', '− ' + brief(m)));
		for (const m of step.came)
			lines.push(el('li', 'came', '+ ' + brief(m)));
	}
	if (!lines.length)
		lines.push(el('li', 'none', step ? 'no mapping changed' : 'before the first call'));
	if (lines.length > most)
		lines.splice(most, lines.length, el('li', 'none', `and ${lines.length - most} more`));
	list.replaceChildren(...lines);
	$('call').textContent = step ? step.call : '';
	$('slider').value = at;
	$('slider').setAttribute('aria-valuetext', `call ${at}: ${step ? step.call : 'none'}`);
	if (document.activeElement !== $('number'))
		$('number').value = at;
}
function drawHistory() {
	const canvas = $('history'), width = canvas.parentElement.clientWidth - 28, height = 44, c = colours();
	const g = prepare(canvas, width, height), inset = 8, wide = width - 2 * inset;
	let most = 1;

	for (const n of history)
		most = Math.max(most, n);
	g.fillStyle = c.fill[1];
	g.beginPath();
	g.moveTo(inset, height);
	for (let x = 0; x <= wide; x++) {
		const i = Math.round(x / wide * (history.length - 1));
		g.lineTo(inset + x, height - 2 - (height - 6) * history[i] / most);
	}
	g.lineTo(inset + wide, height);
	g.fill();
	const x = inset + wide * at / Math.max(1, steps.length);
	g.fillStyle = c.focus;
	g.fillRect(x - 1, 0, 2, height);
	g.fillStyle = c.dim;
	g.textAlign = at > steps.length / 2 ? 'right' : 'left';
	g.fillText(size(history[at]) + ' mapped', x + (at > steps.length / 2 ? -6 : 6), 8);
	g.textAlign = 'left';
}

/* ---- the whole ---- */

function heading() {
	const cells = ['addresses', 'size', 'rights', ...(data.residency ? ['in memory'] : []), 'what'];
	const digits = maps.length ? 2 * maps[maps.length - 1].end.length + 1 : 20;

	document.body.style.setProperty('--columns', `${Math.max(20, digits) + 1}ch 190px ${data.ceilings ? 112 : 64}px ` +
		(data.residency ? '230px ' : '') + '1fr');
	$('heading').replaceChildren(...cells.map(t => el('span', '', t)));
}
function summary() {
	let total = 0, there = 0;
	for (const m of maps) {
		total += bytesOf(m);
		there += m.resident ?? 0;
	}
	$('summary').textContent = `${maps.length} mapping${maps.length === 1 ? '' : 's'}, ${size(total)} mapped` +
		(data.residency ? `, ${size(there)} of it in memory` : '');
}
let wanted = null;	/* a frame is asked for already */
function draw() {
	wanted = null;
	build();
	heading();
	summary();
	axis();
	if (data.has_calls) {
		changes();
		drawHistory();
	}
}
function show(n) {
	go(n);
	wanted ??= requestAnimationFrame(draw);
}
function legend() {
	const names = ['no access', 'read', 'write', 'execute', 'write and execute'];
	const letters = ['---', 'r--', 'rw-', 'r-x', 'rwx'];
	const add = (mark, text) => {
		const s = el('span');
		s.append(mark, text);
		$('legend').append(s);
	};

	names.forEach((n, i) => add(el('span', 'rights r' + i, letters[i]), n));
	add(el('b', '', '· ı'), 'where narrow: a dot for w, a stroke for x');
	add(el('b', '', '┊'), 'hole, folded');
	add(el('b', '', '═'), 'double rule, letter s: ' + (data.kind === 'space' ? 'shared with branches' : 'writes are shared'));
	if (data.residency)
		add(el('b', '', '▔'), 'bar on top: in memory; hatched: shared with others');
}
function table(title, head, list) {
	const box = el('div'), t = el('table'), tr = el('tr');

	box.append(el('h2', '', title), t);
	tr.append(...head.map(h => el('th', '', h)));
	t.append(tr);
	for (const cells of list.slice(0, 2000)) {
		const line = el('tr');
		line.append(...cells.map(x => el('td', typeof x === 'number' ? 'n' : '', String(x))));
		t.append(line);
	}
	if (list.length > 2000)
		box.append(el('p', 'dim', `and ${list.length - 2000} more`));
	$('more').append(box);
}
function tables() {
	if (data.regions.length > 1)
		table('Regions', ['addresses', 'rights', 'size'], data.regions.map(([start, end, depth, r]) =>
			['· '.repeat(depth) + start + '-' + end, r, size(Number(big(end) - big(start)))]));
	if (data.objects.length)
		table('Objects', ['id', 'kind', 'name', 'size', 'there', 'own', 'parent'], data.objects.map(
			([id, kind, name, bytes, there, own, parent, snap]) => [id, data.names[kind], data.names[name],
				size(bytes), size(there), size(own), parent ? `${parent}${snap ? ', snapshot' : ''}` : '']));
	const counts = Object.entries(data.counts).filter(([, n]) => n);
	if (counts.length)
		table('Counters', ['', ''], counts.map(([k, n]) => [k, n]));
}
let timer = null;
function play() {
	const stop = timer !== null;
	clearInterval(timer);
	timer = stop ? null : setInterval(() => at < steps.length ? show(at + 1) : play(), 120);
	if (!stop && at === steps.length)
		show(0);
	$('play').textContent = timer === null ? 'play' : 'stop';
}
function theme() {
	const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === 'dark'
		: matchMedia('(prefers-color-scheme: dark)').matches;
	root.dataset.theme = dark ? 'light' : 'dark';
	draw();
}
function keys(e) {
	const text = e.target.matches('input[type=search], input[type=number]');
	if (text || e.altKey || e.ctrlKey || e.metaKey)
		return;
	if (e.key === 't') {
		theme();
		return;
	}
	if (!data.has_calls)
		return;
	const far = Math.max(10, Math.round(steps.length / 100));
	const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -far, PageDown: far }[e.key];
	if (e.target === $('list') && e.key.startsWith('Page'))
		return;
	if (by !== undefined)
		show(at + by * (e.shiftKey ? 10 : 1));
	else if (e.key === 'Home')
		show(0);
	else if (e.key === 'End')
		show(steps.length);
	else if (e.key === ' ' && !e.target.matches('button'))
		play();
	else
		return;
	e.preventDefault();
}

load();
go(data.at);
document.title = `${data.title} · vmspace`;
$('title').textContent = data.title;
$('note').textContent = data.note;
$('note').hidden = data.note === '';
legend();
if (data.has_calls) {
	$('calls').hidden = false;
	$('total').textContent = steps.length;
	$('slider').max = $('number').max = steps.length;
	$('slider').addEventListener('input', () => show($('slider').valueAsNumber));
	$('number').addEventListener('input', () => show($('number').valueAsNumber));
	$('first').addEventListener('click', () => show(0));
	$('back').addEventListener('click', () => show(at - 1));
	$('next').addEventListener('click', () => show(at + 1));
	$('last').addEventListener('click', () => show(steps.length));
	$('play').addEventListener('click', play);
	const jump = e => {
		const box = $('history').getBoundingClientRect();
		show((e.clientX - box.left - 8) / (box.width - 16) * steps.length);
	};
	$('history').addEventListener('pointerdown', jump);
	$('history').addEventListener('pointermove', e => e.buttons & 1 && jump(e));
}
document.addEventListener('keydown', keys);
$('theme').addEventListener('click', theme);
$('find').addEventListener('input', filter);
$('list').addEventListener('scroll', rows);
$('rows').addEventListener('pointermove', e => tip(e, e.target.closest('.row')?.map));
$('rows').addEventListener('pointerleave', e => tip(e, null));
$('axis').addEventListener('pointermove', e => tip(e, spotAt(e)?.m));
$('axis').addEventListener('pointerleave', e => tip(e, null));
$('axis').addEventListener('click', e => {
	const s = spotAt(e);
	if (s && s.m.hole === undefined)
		reveal(s.m);
});
addEventListener('resize', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
draw();
tables();

/* For tests and for the curious: the state after n calls as `vmspace show --at n --json` has it. */
window.vmspace = {
	calls: steps.length,
	get at() { return at; },
	show(n) { go(n); draw(); },
	mappings: () => maps.map(m => ({
		start: '0x' + m.start, end: '0x' + m.end, prot: PROTS[m.prot], off: '0x' + m.off, what: data.names[m.what],
		flags: FLAGS.filter((_, i) => m.flags & 1 << i),
		...(m.ceiling !== null && { ceiling: PROTS[m.ceiling] }),
		...(m.resident !== null && { resident: m.resident }), ...(m.shared !== null && { shared: m.shared }),
		...(m.swapped !== null && { swapped: m.swapped }), ...(m.object && { object: m.object }),
	})),
};
})();
