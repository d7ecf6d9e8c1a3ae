/// How a convolution goes over its pictures.
#pragma once

#include <cstdint>
#include <vector>

namespace graft::engine {

/// Over height and width, in this order.
struct Geometry {
  std::vector<std::int64_t> stride, padding, dilation;
  std::int64_t groups = 1;
  bool with_relu = false;  ///< it ends with one
};

}  // namespace graft::engine
