/// Two classifiers' right and wrong answers to the same examples.
#pragma once

#include <cstdint>

#include <graft/compare.h>

namespace graft::train {

/// McNemar's test for `b` examples that only one is right about and `c` that only the other is.
McNemar mcnemar(std::int64_t b, std::int64_t c);

}  // namespace graft::train
