#include "base/translate.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace graft::base {
namespace {

TEST(Translate, KnowsWhatSaysThatThereIsNoMemory) {
  for (const char* words :
       {"CUDA out of memory. Tried to allocate 2.00 GiB", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory"})
    EXPECT_GRAFT_ERROR(translated("training", [&] { TORCH_CHECK(false, words); }), kOutOfMemory, words);
  EXPECT_GRAFT_ERROR(translated("training", [&] { TORCH_CHECK(false, "CUDNN_STATUS_BAD_PARAM"); }), kInternal,
                     "training");
}

}  // namespace
}  // namespace graft::base
