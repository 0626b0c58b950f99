// One table from what portability.sh has found: a row for each kind of kernel, a column for each compiler or implementation.
// Run by it: node portability.mjs FOLDER EXPECTED COLUMN...
// FOLDER/kernels.tsv lists kernels: kind, module, entry point, what they need of a device, shader model. FOLDER/COLUMN.tsv has
// what was said of each: MODULE.ENTRY, accepted or something else, seconds, a message; FOLDER/swiftshader what dawn.sh ran. EXPECTED says what is not accepted
// for a good reason: column, kernels (a need, or a regular expression on MODULE.ENTRY), what is said (the same on it), the
// reason. Every kernel must be accepted in every column of a compiler, or expected not to be: what is refused without a reason
// is a failure, and so is what was expected to be refused and is not. Columns of what runs kernels have some of every kind.
import fs from 'node:fs';
import path from 'node:path';

const [folder, expectedFile, ...columns] = process.argv.slice(2);
const lines = (file) =>
    fs.readFileSync(file, 'utf8').split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.split('\t'));

const kernels = new Map();
for (const [kind, module, entry, needs] of lines(path.join(folder, 'kernels.tsv'))) {
    kernels.set(`${module}.${entry}`, { kind, module, needs: needs.split(',').filter(Boolean) });
}
const rules = lines(expectedFile).map(([column, which, says, reason]) => {
    if (!reason) throw new Error(`${expectedFile}: ${column} ${which}: not four fields`);
    const needs = ['f16', 'subgroup', 'cooperative'].includes(which);
    const meets = (name, { needs: all }) => (needs ? all.includes(which) : new RegExp(which).test(name));
    return { column, which, meets, says: new RegExp(says), reason, used: 0 };
});

const failures = [];
const reasons = [];
const note = (reason) => {
    if (!reasons.includes(reason)) reasons.push(reason);
    return reasons.indexOf(reason) + 1;
};
const kinds = [...new Set([...kernels.values()].map(({ kind }) => kind))].sort();
// Names begin with the kind; one kind's name can be the beginning of another's.
const kindOf = (name) => kinds.filter((kind) => name.startsWith(`${kind}_`)).sort((a, b) => b.length - a.length)[0];

// What was said of each kernel in a column. Of several forms of one, or several runs, the worst counts.
function said(column) {
    const all = new Map();
    for (const [name, status, seconds, message = ''] of lines(path.join(folder, `${column}.tsv`))) {
        const before = all.get(name);
        const time = Number(seconds) + (before ? before.seconds : 0);
        const worse = before && before.status !== 'accepted' ? before : { status, message };
        all.set(name, { ...worse, seconds: time });
    }
    return all;
}

function ruled(column, name, kernel, text) {
    const rule = rules.find((rule) => rule.column === column && rule.meets(name, kernel) && rule.says.test(text));
    if (rule) rule.used++;
    return rule;
}

// A compiler must take every kernel.
function compiled(column) {
    const all = said(column);
    for (const name of all.keys()) {
        if (!kernels.has(name)) failures.push(`${column}: ${name} is no kernel`);
    }
    const cells = new Map(kinds.map((kind) => [kind, { good: 0, all: 0, bad: 0, why: new Set() }]));
    const each = new Map();
    for (const [name, kernel] of kernels) {
        const cell = cells.get(kernel.kind);
        cell.all++;
        const { status, message } = all.get(name) ?? { status: 'nothing', message: '' };
        const text = `${status} ${message}`.trim();
        const rule = status !== 'accepted' && ruled(column, name, kernel, text);
        if (status === 'accepted') {
            cell.good++;
        } else if (rule) {
            cell.why.add(note(rule.reason));
        } else {
            cell.bad++;
            failures.push(`${column}: ${name}: ${text}`);
        }
        each.set(name, rule ? `expected: ${rule.reason}` : text);
    }
    for (const rule of rules.filter((rule) => rule.column === column)) {
        // A module is refused as soon as one of its entry points is.
        const modules = new Map();
        for (const [name, kernel] of kernels) {
            if (!rule.meets(name, kernel)) continue;
            const refused = all.get(name)?.status !== 'accepted';
            modules.set(kernel.module, (modules.get(kernel.module) ?? false) || refused);
        }
        for (const [module, refused] of modules) {
            if (!refused) failures.push(`${column}: ${module} is accepted, though it should not be: ${rule.reason}`);
        }
    }
    return { all, cells, each };
}

// The kernels that dawn.sh ran in a folder of cases. A case that is off tells against each of its kernels.
function executed(cases) {
    const text = (file) => fs.readFileSync(path.join(cases, file), 'utf8');
    const off = new Map();
    for (const line of text('log').split('\n')) {
        const [, outcome, own, message] = /^(FAILED|REFUSED) (\d+) (.*)/.exec(line) ?? [];
        if (own) off.set(own, { status: outcome, message, seconds: 0 });
    }
    const all = new Map();
    for (const { folder: own, calls } of JSON.parse(text('cases.json')).cases) {
        for (let i = 0; i < calls; i++) {
            for (const { wgsl, entry } of JSON.parse(text(path.join(own, `call-${i}.json`))).steps) {
                const name = path.basename(wgsl, 'wgsl') + entry;
                all.set(name, off.get(own) ?? all.get(name) ?? { status: 'accepted', message: '', seconds: 0 });
            }
        }
    }
    return all;
}

// An implementation must run kernels of every kind: which of them depends on the calls of the check table.
function ran(column) {
    const all = executed(path.join(folder, column));
    const cells = new Map(kinds.map((kind) => [kind, { good: 0, all: 0, bad: 0, why: new Set() }]));
    for (const [name, { status, message }] of all) {
        const kind = kindOf(name);
        if (!kind) failures.push(`${column}: ${name} is of no kind`);
        const cell = cells.get(kind) ?? {};
        cell.all++;
        if (status === 'accepted') {
            cell.good++;
        } else {
            cell.bad++;
            failures.push(`${column}: ${name}: ${status} ${message}`);
        }
    }
    for (const [kind, cell] of cells) {
        if (cell.all) continue;
        const [name, kernel] = [...kernels].find(([, kernel]) => kernel.kind === kind);
        const rule = ruled(column, name, kernel, 'nothing');
        if (rule) {
            cell.why.add(note(rule.reason));
        } else {
            cell.bad++;
            failures.push(`${column}: nothing of ${kind} has been run`);
        }
    }
    return { all, cells, each: new Map([...all].map(([name, { status }]) => [name, status])) };
}

const found = columns.map((column) => (column === 'swiftshader' ? ran(column) : compiled(column)));
for (const rule of rules.filter((rule) => columns.includes(rule.column) && !rule.used)) {
    failures.push(`${rule.column}: nothing is refused as ${rule.which} is expected to be: ${rule.reason}`);
}

const quoted = (field) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
const names = new Set([...kernels.keys(), ...found.flatMap(({ each }) => [...each.keys()])]);
const csv = [['kernel', 'kind', 'needs', ...columns]];
for (const name of [...names].sort()) {
    const needs = kernels.get(name)?.needs.join(' ') ?? '';
    csv.push([name, kindOf(name) ?? '', needs, ...found.map(({ each }) => each.get(name) ?? '')]);
}
fs.writeFileSync(path.join(folder, 'kernels.csv'), csv.map((row) => row.map(quoted).join(',') + '\n').join(''));

function shown({ good, all, bad, why }) {
    const notes = [...why].sort((a, b) => a - b).map((n) => `(${n})`).join('');
    return [good === all ? all : `${good}/${all}`, notes, bad ? `${bad} FAILED` : ''].filter(Boolean).join(' ');
}
const table = [['kernels', ...columns]];
for (const kind of kinds) table.push([kind, ...found.map(({ cells }) => shown(cells.get(kind)) || '0')]);
const total = found.map(({ cells }) => {
    const sum = (key) => [...cells.values()].reduce((n, cell) => n + cell[key], 0);
    return shown({ good: sum('good'), all: sum('all'), bad: sum('bad'), why: [] });
});
table.push(['all', ...total]);
const widths = table[0].map((_, i) => Math.max(...table.map((row) => row[i].length)));
for (const row of table) console.log(row.map((field, i) => field.padEnd(widths[i])).join('  ').trimEnd());
console.log('\nEntry points that are accepted, or run with right results; where others are not, of how many, and why:');
reasons.forEach((reason, i) => console.log(`(${i + 1}) ${reason}`));
columns.forEach((column, i) => {
    const times = [...found[i].all].map(([name, { seconds }]) => [seconds, name]).sort(([a], [b]) => b - a);
    const sum = times.reduce((n, [seconds]) => n + seconds, 0);
    if (sum) console.log(`${column}: ${sum.toFixed(0)} s in all, ${times[0][0].toFixed(1)} s the slowest, ${times[0][1]}`);
});
console.log(`Each kernel: ${path.join(folder, 'kernels.csv')}`);
for (const failure of failures.slice(0, 40)) console.log(`FAILED ${failure.slice(0, 400)}`);
if (failures.length) console.log(`${failures.length} failures`);
process.exit(failures.length || !kernels.size || !columns.length ? 1 : 0);
