/* Shows HLSL to Microsoft's compilers as wgpu 30 does: FXC (d3dcompiler_47.dll) or DXC (dxcompiler.dll), which lie beside
   the program. One process for many shaders, since starting one under wine takes longer than most of them.

   hlsl.exe fxc|dxc LIST FIRST SECONDS < nothing
   Each line of LIST is "PROFILE ENTRY FILE"; those before number FIRST, counted from 0, are passed over. For each one line
   comes out: FILE, accepted or rejected, seconds of the processor's, what the compiler says, with tabs between them. A
   compiler that takes longer than SECONDS cannot be stopped: the shader is "out of time", and the program ends with 4, to
   be started again behind it. 3: there is no such compiler. */
#define COBJMACROS
#define INITGUID
#include <windows.h>
#include <d3dcompiler.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The parts of DXC's COM interfaces (dxcapi.h) that are used, in the order of their tables. */
typedef struct { const void *text; SIZE_T size; UINT encoding; } DxcBuffer;
typedef struct DxcBlob { struct {
    HRESULT (WINAPI *query)(struct DxcBlob *, const GUID *, void **);
    ULONG (WINAPI *add)(struct DxcBlob *);
    ULONG (WINAPI *release)(struct DxcBlob *);
    const void *(WINAPI *pointer)(struct DxcBlob *);
    SIZE_T (WINAPI *size)(struct DxcBlob *);
} *table; } DxcBlob;
typedef struct DxcResult { struct {
    HRESULT (WINAPI *query)(struct DxcResult *, const GUID *, void **);
    ULONG (WINAPI *add)(struct DxcResult *);
    ULONG (WINAPI *release)(struct DxcResult *);
    HRESULT (WINAPI *status)(struct DxcResult *, HRESULT *);
    HRESULT (WINAPI *result)(struct DxcResult *, DxcBlob **);
    HRESULT (WINAPI *errors)(struct DxcResult *, DxcBlob **);
} *table; } DxcResult;
typedef struct DxcCompiler { struct {
    HRESULT (WINAPI *query)(struct DxcCompiler *, const GUID *, void **);
    ULONG (WINAPI *add)(struct DxcCompiler *);
    ULONG (WINAPI *release)(struct DxcCompiler *);
    HRESULT (WINAPI *compile)(struct DxcCompiler *, const DxcBuffer *, LPCWSTR *, UINT, void *, const GUID *, void **);
} *table; } DxcCompiler;
static const GUID dxc_compiler = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID dxc_compiler3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const GUID dxc_result = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};

static pD3DCompile fxc;
static DxcCompiler *dxc;

/* A shader, and what became of it. */
static char *text;
static SIZE_T length;
static char profile[16], entry[128], file[1024], said[4000];
static int accepted;

static void keep(const char *message, SIZE_T size) { /* on one line; what is no error does not matter */
    const char *error = strstr(message, "error");
    const char *from = error && error < message + size ? error : message;
    SIZE_T n = 0;
    while (n < sizeof said - 1 && from + n < message + size && from[n]) {
        said[n] = from[n] == '\n' || from[n] == '\r' || from[n] == '\t' ? ' ' : from[n];
        n++;
    }
    said[n] = 0;
}

static void compile_fxc(void) {
    ID3DBlob *code = NULL, *errors = NULL;
    HRESULT status =
        fxc(text, length, NULL, NULL, NULL, entry, profile, D3DCOMPILE_ENABLE_STRICTNESS, 0, &code, &errors);
    accepted = SUCCEEDED(status) && code;
    if (errors && !accepted) keep(ID3D10Blob_GetBufferPointer(errors), ID3D10Blob_GetBufferSize(errors));
    if (code) ID3D10Blob_Release(code);
    if (errors) ID3D10Blob_Release(errors);
}

static void compile_dxc(void) {
    WCHAR wide_entry[128], wide_profile[16];
    MultiByteToWideChar(CP_UTF8, 0, entry, -1, wide_entry, 128);
    MultiByteToWideChar(CP_UTF8, 0, profile, -1, wide_profile, 16);
    LPCWSTR arguments[] = {L"-E", wide_entry, L"-T", wide_profile, L"-HV", L"2018", L"-no-warnings", L"-Ges",
                           L"-enable-16bit-types"};
    /* wgpu asks for the last where the device has f16, whose kernels are written for 6.2. */
    UINT count = strcmp(profile, "cs_6_2") ? 8 : 9;
    DxcBuffer buffer = {text, length, CP_UTF8};
    DxcResult *result = NULL;
    HRESULT status = dxc->table->compile(dxc, &buffer, arguments, count, NULL, &dxc_result, (void **)&result);
    if (FAILED(status) || !result) return;
    DxcBlob *errors = NULL, *code = NULL;
    /* Any word of the compiler's is an error to wgpu. */
    if (SUCCEEDED(result->table->errors(result, &errors)) && errors && errors->table->size(errors) > 1)
        keep(errors->table->pointer(errors), errors->table->size(errors));
    if (SUCCEEDED(result->table->status(result, &status)) && SUCCEEDED(status) && !said[0] &&
        SUCCEEDED(result->table->result(result, &code)) && code)
        accepted = code->table->size(code) > 0;
    if (code) code->table->release(code);
    if (errors) errors->table->release(errors);
    result->table->release(result);
}

static double seconds(HANDLE thread) { /* of the processor's: other work on the machine does not count */
    FILETIME made, ended, kernel, user;
    if (!GetThreadTimes(thread, &made, &ended, &kernel, &user)) return 0;
    return (kernel.dwLowDateTime + user.dwLowDateTime) / 1e7 + (kernel.dwHighDateTime + user.dwHighDateTime) * 429.4967296;
}

static double spent;

static DWORD WINAPI compile(void *which) {
    (void)which;
    if (dxc) compile_dxc(); else compile_fxc();
    spent = seconds(GetCurrentThread()); /* wine knows it of no thread that has ended */
    return 0;
}

int main(int count, char **arguments) {
    if (count != 5) return 1;
    if (!strcmp(arguments[1], "fxc")) {
        HMODULE library = LoadLibraryA("d3dcompiler_47.dll");
        if (library) fxc = (pD3DCompile)(void *)GetProcAddress(library, "D3DCompile");
    } else {
        HMODULE library = LoadLibraryA("dxcompiler.dll");
        HRESULT(WINAPI * make)(const GUID *, const GUID *, void **) =
            library ? (void *)GetProcAddress(library, "DxcCreateInstance") : NULL;
        if (make) make(&dxc_compiler, &dxc_compiler3, (void **)&dxc);
    }
    if (!fxc && !dxc) return 3;
    FILE *list = fopen(arguments[2], "r");
    if (!list) return 1;
    int first = atoi(arguments[3]), limit = atoi(arguments[4]);
    for (int i = 0; fscanf(list, "%15s %127s %1023s", profile, entry, file) == 3; i++) {
        if (i < first) continue;
        FILE *source = fopen(file, "rb");
        if (!source) return 1;
        fseek(source, 0, SEEK_END);
        length = ftell(source);
        rewind(source);
        text = malloc(length + 1);
        if (!text || fread(text, 1, length, source) != length) return 1;
        text[length] = 0;
        fclose(source);
        accepted = 0;
        said[0] = 0;
        /* As much stack as a thread of Windows has in a program of Rust, where wgpu compiles. */
        HANDLE thread = CreateThread(NULL, 2 << 20, compile, NULL, 0, NULL);
        if (!thread) return 1;
        int waits = 1;
        for (int waited = 0; waits && waited < 10 * limit && (waited == 0 || seconds(thread) < limit); waited++)
            waits = WaitForSingleObject(thread, 1000) == WAIT_TIMEOUT;
        if (waits) spent = limit;
        printf("%s\t%s\t%.2f\t%s\n", file, waits ? "out of time" : accepted ? "accepted" : "rejected", spent,
               waits ? "" : said);
        fflush(stdout);
        if (waits) ExitProcess(4);
        CloseHandle(thread);
        free(text);
    }
    fclose(list);
    return 0;
}
