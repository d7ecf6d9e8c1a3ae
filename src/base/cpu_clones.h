/// Loops that are compiled for several processors.
#pragma once

/// In front of a function: it is compiled for AVX2, too, and the one for the processor is chosen when the program
/// starts. Where that is not to be had, GRAFT_CPU_CLONES is 0 and nothing happens; sanitizers run before the choice is
/// made.
#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define GRAFT_CPU_CLONES 1
#define GRAFT_FOR_EACH_CPU __attribute__((target_clones("avx2", "default")))
#else
#define GRAFT_CPU_CLONES 0
#define GRAFT_FOR_EACH_CPU
#endif
