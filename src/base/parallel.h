/// Work shared out to LibTorch's threads.
#pragma once

#include <cstdint>

#include <c10/util/FunctionRef.h>

namespace graft::base {

/// Calls `work` for parts of [begin, end), none smaller than `grain` where there are several, on the threads that
/// LibTorch's operators use; one after the other where it is called from such a thread already. Rethrows what `work`
/// throws. Unlike at::parallel_for, which is a header that stays serial unless it is compiled with OpenMP, and so by
/// whoever links the library with OpenMP's run-time.
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  c10::function_ref<void(std::int64_t begin, std::int64_t end)> work);

}  // namespace graft::base
