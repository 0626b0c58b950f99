// Compiles every entry point of every *.wgsl file in a folder with Tint, the WGSL compiler of Chromium, on Dawn's null
// backend: no GPU, no driver. Limits are WebGPU's defaults. Run by tint.sh: node tint.mjs PACKAGE FOLDER
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [packageFolder, folder] = process.argv.slice(2);
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

// The problems of one module, each with the entry point it belongs to.
async function check(text) {
    const code = text.replace(/\/\/.*$/gm, '');
    // naga refuses the directive, Tint demands it.
    const enable = /\bsubgroup\w*\s*\(|@builtin\(\s*(num_)?subgroup/.test(code) && !/\benable\s+subgroups\b/.test(code);
    const [module, error] = await scoped(() =>
        device.createShaderModule({ code: enable ? `enable subgroups; ${text}` : text }),
    );
    if (error) return { entries: 0, problems: [error] };
    const problems = [];
    const names = [...code.matchAll(/@compute\s*@workgroup_size\([^)]*\)\s*fn\s+(\w+)/g)].map((m) => m[1]);
    for (const entryPoint of names) {
        // The asynchronous form hangs on some drivers.
        const [, wrong] = await scoped(() => device.createComputePipeline({ layout, compute: { module, entryPoint } }));
        if (wrong) problems.push(`${entryPoint}: ${wrong}`);
    }
    return { entries: names.length, problems };
}

// A check that accepts everything, or nothing, is worth nothing.
const bad = `@group(0) @binding(1) var<storage, read_write> a: array<u32>; var<workgroup> w: array<u32, 64>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
    w[i] = a[i];
    if (BAD) { workgroupBarrier(); }
    a[i] = w[63u - i];
}`;
const self = [await check(bad.replace('BAD', 'i < 32u')), await check(bad.replace('BAD', 'true'))];
if (!/uniform control flow/.test(self[0].problems.join()) || self[1].problems.length || self[1].entries !== 1) {
    console.error('the self-check failed:', self);
    process.exit(2);
}

const text = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
const all = fs.readdirSync(folder).filter((name) => name.endsWith('.wgsl')).sort();
// Browsers have no cooperative matrices.
const files = all.filter((name) => !/^enable wgpu_cooperative_matrix;/m.test(text(name)));
console.log(`tint: ${all.length - files.length} modules of cooperative matrices left out, which are wgpu's own`);
let pipelines = 0;
let failed = 0;
for (const name of files) {
    const { entries, problems } = await check(text(name));
    pipelines += entries;
    if (problems.length || entries === 0) {
        failed++;
        console.log(`${name}: ${problems.join('\n    ') || 'no entry point'}`);
    }
}
console.log(`tint: ${files.length} modules, ${pipelines} entry points, ${failed} modules with problems`);
process.exit(failed || !files.length ? 1 : 0);
