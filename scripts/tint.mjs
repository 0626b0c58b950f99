// Compiles every entry point of every *.wgsl file in a folder with Tint, the WGSL compiler of Chromium, on Dawn's null
// backend: no GPU, no driver. Limits are WebGPU's defaults. Appends to RESULTS a line for each: MODULE.ENTRY, accepted or
// rejected, seconds, what Tint says. Run by portability.sh: node tint.mjs PACKAGE FOLDER RESULTS
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [packageFolder, folder, results] = process.argv.slice(2);
const { create, globals } = await import(pathToFileURL(path.join(packageFolder, 'index.js')));
Object.assign(globalThis, globals);

const gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error('no null adapter');
const device = await adapter.requestDevice({ requiredFeatures: ['shader-f16', 'subgroups'] });
device.lost.then((info) => {
    if (info.reason !== 'destroyed') console.error(`device lost: ${info.message}`);
});

// The layout of src/device/context.rs: a uniform and seven storage bindings.
const entries = [{ binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } }];
for (let binding = 1; binding <= 7; binding++) {
    entries.push({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'storage' } });
}
const layout = device.createPipelineLayout({
    bindGroupLayouts: [device.createBindGroupLayout({ entries })],
});

async function scoped(work) {
    device.pushErrorScope('validation');
    const made = work();
    const error = await device.popErrorScope();
    return [made, error && error.message];
}

// What Tint says of one module: for each entry point its name, a message where it is refused, and seconds.
async function check(text) {
    const code = text.replace(/\/\/.*$/gm, '');
    const names = [...code.matchAll(/@compute\s*@workgroup_size\([^)]*\)\s*fn\s+(\w+)/g)].map((m) => m[1]);
    // naga refuses the directive, Tint demands it.
    const enable = /\bsubgroup\w*\s*\(|@builtin\(\s*(num_)?subgroup/.test(code) && !/\benable\s+subgroups\b/.test(code);
    const [module, error] = await scoped(() =>
        device.createShaderModule({ code: enable ? `enable subgroups; ${text}` : text }),
    );
    if (error) return names.map((entry) => ({ entry, problem: error, seconds: 0 }));
    const said = [];
    for (const entryPoint of names) {
        const began = performance.now();
        // The asynchronous form hangs on some drivers.
        const [, problem] = await scoped(() => device.createComputePipeline({ layout, compute: { module, entryPoint } }));
        said.push({ entry: entryPoint, problem, seconds: (performance.now() - began) / 1000 });
    }
    return said;
}

// A check that accepts everything, or nothing, is worth nothing.
const bad = `@group(0) @binding(1) var<storage, read_write> a: array<u32>; var<workgroup> w: array<u32, 64>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
    w[i] = a[i];
    if (BAD) { workgroupBarrier(); }
    a[i] = w[63u - i];
}`;
const [refused, taken] = [await check(bad.replace('BAD', 'i < 32u')), await check(bad.replace('BAD', 'true'))];
if (!/uniform control flow/.test(refused[0]?.problem) || taken.length !== 1 || taken[0].problem) {
    console.error('the self-check failed:', refused, taken);
    process.exit(2);
}

const text = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
const files = fs.readdirSync(folder).filter((name) => name.endsWith('.wgsl')).sort();
for (const name of files) {
    // Browsers have no cooperative matrices, and naga's directive for them is a syntax error.
    if (/^enable wgpu_cooperative_matrix;/m.test(text(name))) continue;
    const said = await check(text(name));
    const lines = said.map(({ entry, problem, seconds }) =>
        [name.replace(/wgsl$/, entry), problem ? 'rejected' : 'accepted', seconds.toFixed(3), problem ?? ''].map((field) =>
            field.replace(/\s+/g, ' '),
        ),
    );
    fs.appendFileSync(results, lines.map((line) => line.join('\t') + '\n').join(''));
}
