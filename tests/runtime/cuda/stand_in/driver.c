// A stand-in for NVIDIA's driver library: one device of compute capability 9.0 whose memory is the host's.
//
// cuda.core loads it as it loads the real one, so that all of Python's side of a launch runs as it is. A launch
// copies its parameters as a driver does, and hands them to a function that the process registers.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
enum { OK = 0, INVALID_VALUE = 1, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NOT_SUPPORTED = 801 };

typedef struct { int count; int *sizes; } Kernel;
typedef struct { unsigned grid[3], block[3], shared; void *stream; void *attributes; unsigned count; } Config;
typedef int (*Launched)(void *kernel, const unsigned *grid, const unsigned *block, void *stream, void **parameters);

static Launched launched = 0;
static int context = 1;
static __thread void *current = 0;

// --- for the process that loads this

void stand_in_register(Launched f) { launched = f; }

void stand_in_parameters(void *kernel, int count, const int *sizes) {
  Kernel *k = kernel;
  k->count = count;
  k->sizes = malloc(count * sizeof(int));
  memcpy(k->sizes, sizes, count * sizeof(int));
}

// --- devices, contexts, streams

Result cuInit(unsigned flags) { return OK; }
Result cuDriverGetVersion(int *version) { *version = 13000; return OK; }
Result cuDeviceGetCount(int *count) { *count = 1; return OK; }
Result cuDeviceGet(int *device, int number) { *device = 0; return number ? INVALID_DEVICE : OK; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1;  // compute capability, major and minor
  return OK;
}
Result cuDevicePrimaryCtxRetain(void **found, int device) { *found = &context; return OK; }
Result cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
Result cuCtxSetCurrent(void *given) { current = given; return OK; }
Result cuCtxGetCurrent(void **found) { *found = current; return OK; }
Result cuCtxGetDevice(int *device) { *device = 0; return current ? OK : INVALID_CONTEXT; }
Result cuCtxSynchronize(void) { return OK; }
Result cuStreamGetCtx(void *stream, void **found) { *found = &context; return OK; }
Result cuStreamSynchronize(void *stream) { return OK; }

// --- code

Result cuLibraryLoadData(void **library, const void *code, void *a, void *b, unsigned n, void *c, void *d, unsigned m) {
  *library = malloc(1);
  return memcmp(code, "\177ELF", 4) ? INVALID_IMAGE : OK;
}
Result cuLibraryUnload(void *library) { return OK; }
Result cuLibraryGetKernel(void **kernel, void *library, const char *name) {
  *kernel = calloc(1, sizeof(Kernel));
  return OK;
}
Result cuKernelGetFunction(void **function, void *kernel) { *function = kernel; return OK; }

// --- launches

static void **copy(Kernel *k, void **given) {
  void **copied = malloc((k->count + 1) * sizeof(void *));
  for (int i = 0; i < k->count; i++) {
    copied[i] = malloc(k->sizes[i]);
    memcpy(copied[i], given[i], k->sizes[i]);
  }
  return copied;
}

static void release(Kernel *k, void **copied) {
  for (int i = 0; i < k->count; i++) free(copied[i]);
  free(copied);
}

static Result run(Kernel *k, const unsigned *grid, const unsigned *block, void *stream, void **given) {
  if (!current) return INVALID_CONTEXT;
  if (!grid[0] || block[0] * block[1] * block[2] > 1024) return INVALID_VALUE;
  if (!launched) return OK;
  void **copied = copy(k, given);
  Result result = launched(k, grid, block, stream, copied);
  release(k, copied);
  return result;
}

Result cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **parameters, void **extra) {
  unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  return run(f, grid, block, stream, parameters);
}
Result cuLaunchKernelEx(const Config *c, void *f, void **parameters, void **extra) {
  return run(f, c->grid, c->block, c->stream, parameters);
}

// --- graphs of kernels

typedef struct { void *f; unsigned grid[3], block[3], shared; void **parameters, **extra; void *kernel, *context; } Node;
typedef struct { int count; Node nodes[256]; } Graph;

static void keep(Node *kept, const Node *given) {
  *kept = *given;
  if (!kept->f) kept->f = kept->kernel;
  kept->parameters = copy(kept->f, given->parameters);
}

Result cuGraphCreate(void **graph, unsigned flags) { *graph = calloc(1, sizeof(Graph)); return OK; }
Result cuGraphDestroy(void *graph) { return OK; }
Result cuGraphAddKernelNode_v2(void **node, Graph *graph, void **after, size_t count, const Node *given) {
  // A chain: what this library runs in the order of the nodes must have been asked for in that order.
  if (graph->count && (count != 1 || after[0] != (void *)(intptr_t)graph->count)) return INVALID_VALUE;
  keep(&graph->nodes[graph->count++], given);
  *node = (void *)(intptr_t)graph->count;
  return OK;
}
Result cuGraphInstantiateWithFlags(void **made, Graph *graph, unsigned long long flags) {
  *made = malloc(sizeof(Graph));
  memcpy(*made, graph, sizeof(Graph));
  return OK;
}
Result cuGraphExecKernelNodeSetParams_v2(Graph *made, void *node, const Node *given) {
  keep(&made->nodes[(intptr_t)node - 1], given);
  return OK;
}
Result cuGraphExecDestroy(void *made) { return OK; }
Result cuGraphLaunch(Graph *made, void *stream) {
  for (int i = 0; i < made->count; i++) {
    Node *n = &made->nodes[i];
    Result result = run(n->f, n->grid, n->block, stream, n->parameters);
    if (result) return result;
  }
  return OK;
}

// --- errors, and how functions are found

Result cuGetErrorName(int error, const char **text) { *text = "CUDA_ERROR_OF_THE_STAND_IN"; return OK; }
Result cuGetErrorString(int error, const char **text) { *text = "refused by the stand-in driver"; return OK; }
static Result missing(void) { fprintf(stderr, "the stand-in driver lacks a function\n"); return NOT_SUPPORTED; }

Result cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
  static const char *const tails[] = {"_v2", ""};
  Dl_info here;
  dladdr((void *)cuInit, &here);
  void *self = dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  *found = (void *)missing;
  for (int i = 0; i < 2; i++) {
    char full[256];
    snprintf(full, sizeof full, "%s%s", name, tails[i]);
    void *f = dlsym(self, full);
    if (f) { *found = f; break; }
  }
  if (status) *status = 0;
  return OK;
}
