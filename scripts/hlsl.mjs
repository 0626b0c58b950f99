// Shows the HLSL of every kernel to one of Microsoft's compilers, by hlsl.exe (hlsl.c) under wine, and appends to RESULTS a
// line for each: MODULE.ENTRY, accepted or something else, seconds, what the compiler says. Many kernels are the same text,
// though their modules differ elsewhere, and FXC takes seconds for one: a text is shown once, and what has been said of it
// is kept in FOLDER/COMPILER.said, by its hash and the shader model.
// Run by portability.sh: node hlsl.mjs fxc|dxc WINE FOLDER SHADERS RESULTS
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const [compiler, wine, folder, shaders, results] = process.argv.slice(2);
// Of the processor's, for one shader.
const limit = 120;

// Shows texts, a list of { profile, entry, file }, one after the other. Calls `said(text, status, seconds, message)` of each.
async function show(name, texts, said) {
    const list = path.join(folder, `${compiler}.${name}`);
    fs.writeFileSync(list, texts.map(({ profile, entry, file }) => `${profile} ${entry} ${file}\n`).join(''));
    for (let next = 0; next < texts.length; ) {
        const program = [path.join(folder, 'hlsl.exe'), compiler, list, next, limit];
        const child = spawn(wine, program, { stdio: ['ignore', 'pipe', 'ignore'] });
        let rest = '';
        child.stdout.setEncoding('utf8').on('data', (data) => {
            const lines = (rest + data).split(/\r?\n/);
            rest = lines.pop();
            for (const line of lines) said(texts[next++], ...line.split('\t').slice(1));
        });
        const status = await new Promise((resolve) => child.on('close', resolve));
        if (status === 1 || status === 3) throw new Error(`hlsl.exe ended with ${status}`);
        // With 4 it took too long over one, and has said so; else it has died over the next.
        if (status !== 4 && next < texts.length) said(texts[next++], 'crashed', '0', `with status ${status}`);
    }
    fs.rmSync(list);
}

// A check that accepts everything, or nothing, is worth nothing.
const least = { fxc: '5_1', dxc: '6_0' }[compiler];
const body = (value) => `RWByteAddressBuffer b : register(u0); [numthreads(1, 1, 1)] void f() { b.Store(0, ${value}); }\n`;
const samples = [
    ['1', 'accepted'],
    ['c', 'rejected'],
    ['WaveActiveSum(1)', compiler === 'dxc' ? 'accepted' : 'rejected'],
].map(([value, right], i) => {
    const file = path.join(folder, `sample-${i}.hlsl`);
    fs.writeFileSync(file, body(value));
    return { profile: `cs_${least}`, entry: 'f', file, right };
});
await show('samples', samples, ({ file, right }, status, _, message) => {
    if (status === right) return;
    console.error(`the self-check failed: ${compiler} says ${status} of ${file}: ${message}`);
    process.exit(2);
});

const kept = path.join(folder, `${compiler}.said`);
const known = new Map();
if (fs.existsSync(kept)) {
    for (const line of fs.readFileSync(kept, 'utf8').split('\n').filter(Boolean)) {
        const [key, ...said] = line.split('\t');
        known.set(key, said);
    }
}
const kernels = [];
const open = new Map();
for (const line of fs.readFileSync(path.join(shaders, 'kernels.tsv'), 'utf8').split('\n').filter(Boolean)) {
    const [, module, entry, , needed] = line.split('\t');
    const file = path.join(shaders, 'hlsl', `${module}.${entry}.hlsl`);
    if (!fs.existsSync(file)) continue;
    const model = compiler === 'dxc' && needed > least ? needed : least;
    const key = `${createHash('sha256').update(fs.readFileSync(file)).digest('hex')}.${model}`;
    kernels.push({ name: `${module}.${entry}`, key });
    if (!known.has(key)) open.set(key, { key, profile: `cs_${model}`, entry, file });
}
const jobs = os.availableParallelism();
const texts = [...open.values()];
console.log(`${compiler}: ${texts.length} texts to be shown of ${new Set(kernels.map(({ key }) => key)).size}`);
await Promise.all(
    Array.from({ length: jobs }, (_, job) =>
        show(`list-${job}`, texts.filter((_, i) => i % jobs === job), ({ key }, ...said) => {
            known.set(key, said);
            if (said[0] !== 'crashed') fs.appendFileSync(kept, [key, ...said].join('\t') + '\n');
        }),
    ),
);
for (const { name, key } of kernels) {
    const [status, seconds, message] = known.get(key);
    fs.appendFileSync(results, [name, status, seconds, message].join('\t') + '\n');
    // The time once.
    known.set(key, [status, '0', message]);
}
